//! Storms: hundreds of clients at once, also on a server with few descriptors or few processes, and
//! thousands of connections that never become anything. Every honest client is served, nothing runs
//! twice or is lost, and afterwards the server holds what it held before.

use std::io::{self, Write as _};

use rcmd_tests::raw::Start;
use rcmd_tests::soak::connections::{Kind, onslaught};
use rcmd_tests::soak::storms::{rounds, storm};
use rcmd_tests::{RawPeer, World, eventually, proc, require, skip};

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
    assert!(line.contains("running=16") && line.contains("connections=75"), "{line}");
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
