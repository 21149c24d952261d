//! Storms: hundreds of clients at once, also on a server with few descriptors or few processes, and
//! thousands of connections that never become anything. Every honest client is served, nothing runs
//! twice or is lost, and afterwards the server holds what it held before.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rcmd_tests::authority::Serving;
use rcmd_tests::raw::{Dial, Start, hello};
use rcmd_tests::soak::connections::{Kind, onslaught};
use rcmd_tests::soak::storms::{rounds, storm};
use rcmd_tests::{Proxy, RawPeer, World, eventually, proc, require, skip};
use socket2::{Domain, Socket, Type};

/// Rounds of a storm here; the whole is `soak storms`.
const ROUNDS: usize = 2;
/// Connections of an onslaught here; the whole is `soak connections`.
const CONNECTIONS: usize = 1000;

fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

#[test]
fn hundreds_of_clients_at_once_are_all_served() {
    let world = World::start();
    rounds(&world, ROUNDS, &mut say);
}

#[test]
fn a_server_with_few_descriptors_serves_hundreds_one_after_another() {
    let world = World::builder().limit("nofile", 256).start();
    let line = world.wait_for_log(" limits running=");
    assert!(line.contains("running=12") && line.contains("connections=62"), "{line}");
    let before = world.settled_snapshot();
    for clients in [128, 500] {
        say(&format!("under 256 descriptors: {clients} clients: {:?}", storm(&world, clients)));
        world.assert_settles_to(&before);
    }
}

#[test]
fn a_server_with_few_processes_serves_hundreds_one_after_another() {
    require!(skip::need_root());
    // The limit counts all that a user has: this user is the test's own.
    const UID: u32 = 61_317;
    let world = World::builder().server_uid(UID).limit("nproc", 400).start();
    let before = world.settled_snapshot();
    let user = RawPeer::greeted(&world).run(&Start::exec(1, &["id", "-u"])).unwrap();
    assert_eq!(user.stdout, format!("{UID}\n").as_bytes());
    for clients in [128, 500] {
        say(&format!("under 400 processes: {clients} clients: {:?}", storm(&world, clients)));
        world.assert_settles_to(&before);
    }
}

#[test]
fn a_process_that_can_not_be_made_is_said_to_be_a_matter_of_resources() {
    require!(skip::need_root());
    const UID: u32 = 61_318;
    let world = World::builder().server_uid(UID).limit("nproc", 60).start();
    let before = world.settled_snapshot();
    let mut peer = RawPeer::greeted(&world);
    let mark = format!("602.{}", std::process::id());
    let mut refused = 0;
    for ch in 1..=100 {
        peer.send(&Start::exec(ch, &["sleep", &mark]).frame()).unwrap();
    }
    for _ in 1..=100 {
        let (header, _) = loop {
            let frame = peer.read_frame().unwrap().unwrap();
            if frame.0["type"] == "started" || frame.0["type"] == "exit" {
                break frame;
            }
        };
        if header["type"] == "exit" {
            assert_eq!(header["outcome"], "not_started", "{header}");
            assert_eq!(header["kind"], "resources", "{header}");
            assert!(header["hint"].is_string(), "{header}");
            refused += 1;
        }
    }
    assert!((40..100).contains(&refused), "{refused} of 100 were refused");
    eventually("what was started runs", || proc::marked(&mark).len() == 100 - refused);
    drop(peer);
    // The grace ends what is left.
    world.assert_settles_to(&before);
}

#[test]
fn thousands_of_silent_connections_keep_nobody_out() {
    let world = World::start();
    say(&format!("silent: {:?}", onslaught(&world, Kind::Silent, CONNECTIONS)));
}

#[test]
fn thousands_of_connections_full_of_garbage_keep_nobody_out() {
    let world = World::start();
    say(&format!("garbage: {:?}", onslaught(&world, Kind::Garbage, CONNECTIONS)));
}

#[test]
fn hundreds_of_greeted_connections_that_say_nothing_keep_nobody_out() {
    let world = World::start();
    say(&format!("greeted: {:?}", onslaught(&world, Kind::Greeted, CONNECTIONS / 4)));
}

#[test]
fn silent_connections_on_a_server_with_few_descriptors_keep_nobody_out() {
    let world = World::builder().limit("nofile", 256).start();
    say(&format!("silent, 256 descriptors: {:?}", onslaught(&world, Kind::Silent, CONNECTIONS)));
}

/// The time from the honest peers to the server: 200 ms there and back.
const FAR: Duration = Duration::from_millis(100);

/// Silent connections from another network than the proxy's, as fast as they can be made, until dropped.
struct SilentFlood {
    over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<usize>>,
}

impl SilentFlood {
    fn begin(address: SocketAddr) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (stop, began) = (Arc::clone(&over), mpsc::channel());
        let thread = thread::spawn(move || {
            let (mut held, mut made) = (VecDeque::new(), 0);
            while !stop.load(Ordering::SeqCst) {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                socket.bind(&SocketAddr::from(([127, 0, 9, 1], 0)).into()).unwrap();
                socket.connect(&address.into()).unwrap();
                held.push_back(socket);
                made += 1;
                // More than there are places, and fewer than there are descriptors.
                if held.len() > 700 {
                    held.pop_front();
                    let _ = began.0.send(());
                }
            }
            made
        });
        began.1.recv().expect("a flood");
        Self { over, thread: Some(thread) }
    }
}

impl Drop for SilentFlood {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let made = self.thread.take().map(thread::JoinHandle::join);
        say(&format!("silent connections: {made:?}"));
    }
}

#[test]
fn silent_connections_without_end_keep_nobody_out_who_is_far_away() {
    let world = World::start();
    let proxy = Proxy::to(world.address());
    proxy.delay(FAR);
    let flood = SilentFlood::begin(world.address());
    for _ in 0..5 {
        let mut peer = Dial::to(&world).address(proxy.address()).connect().unwrap();
        peer.send(&hello()).unwrap();
        peer.expect_frame("hello");
        assert_eq!(peer.run(&Start::exec(1, &["echo", "far"])).unwrap().stdout, b"far\n");
    }
    drop(flood);
}

#[test]
fn silent_connections_keep_nobody_out_of_the_authority_who_is_far_away() {
    let authority = Serving::start();
    let proxy = Proxy::to(authority.address());
    proxy.delay(FAR);
    let flood = SilentFlood::begin(authority.address());
    let dial = Dial::at(authority.layout().dir(), proxy.address()).without_identity();
    for _ in 0..5 {
        let mut peer =
            dial.clone().alpn(&[b"rcmd-authority/1"]).connect_as("rcmd-authority.invalid").unwrap();
        peer.send(&[&2_u32.to_be_bytes()[..], b"{}"].concat()).unwrap();
        // It is answered that this is no request: nobody was sent away before.
        let mut length = [0; 4];
        peer.read_exact(&mut length).unwrap();
    }
    drop(flood);
}
