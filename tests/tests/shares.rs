//! One identity's share of what all use: however many connections it has and whatever comes over them,
//! another's commands take as long as before, and there is room for them.

use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rcmd_tests::attack::AttackHarness;
use rcmd_tests::pki::{Authority, Leaf};
use rcmd_tests::raw::{CompressedPings, Dial, Echo, Start, frame, hello};
use rcmd_tests::skip::need_tool;
use rcmd_tests::{RawPeer, World, eventually, proc, require};
use rustix::thread::gettid;
use serde_json::json;

/// Connections of the identity that floods.
const CONNECTIONS: usize = 256;
/// Connections of one that compresses: as many as are compressed, each of which counts in what it may hold.
const COMPRESSED: usize = 40;
/// Frames of each that wait for their answers.
const AT_ONCE: u64 = 16;
/// Commands of the neighbour of which the median is taken.
const COMMANDS: usize = 15;
/// The largest ratio that the neighbour's median may have to its quiet value.
const SLOWDOWN: u32 = 3;
/// The number of times that the median is measured at most, since others use this machine too.
const TRIES: usize = 3;

/// Makes the folder of another identity. A user in the group `admin` may do everything, and others
/// nothing.
fn identity(world: &World, user: &str, groups: &[&str]) -> PathBuf {
    let groups = groups.iter().map(|group| format!("rcmd://group/{group}"));
    let uris: Vec<_> = std::iter::once(format!("rcmd://user/{user}")).chain(groups).collect();
    let uris: Vec<_> = uris.iter().map(String::as_str).collect();
    let folder = world.scratch(user);
    Authority::of(world.dir()).issue(&Leaf::client_uris(&uris)).write(&folder);
    folder
}

fn greeted(dial: &Dial) -> RawPeer {
    let mut peer = dial.connect().expect("a connection");
    peer.send(&hello()).expect("hello is taken");
    peer.expect_frame("hello");
    peer
}

fn run_by(tool: &Path, words: &[&str]) {
    let thread = gettid().as_raw_nonzero().to_string();
    let done = Command::new(tool).args(words).arg(thread).output().expect("a tool");
    assert!(done.status.success(), "{done:?}");
}

/// The tools by which threads are bound to processors.
struct Processors {
    taskset: PathBuf,
    chrt: PathBuf,
}

impl Processors {
    fn find() -> Result<Self, String> {
        match thread::available_parallelism() {
            Ok(count) if count.get() >= 2 => {}
            _ => return Err("two processors".to_owned()),
        }
        Ok(Self { taskset: need_tool("taskset")?, chrt: need_tool("chrt")? })
    }

    /// Binds this thread, and what it starts, to the processor of the server and its neighbours.
    fn take_first(&self) {
        run_by(&self.taskset, &["-p", "-c", "0"]);
    }

    /// Binds this thread to the other processor, and to what nobody else wants of it (sched(7)).
    fn take_second_when_idle(&self) {
        run_by(&self.taskset, &["-p", "-c", "1"]);
        run_by(&self.chrt, &["--idle", "-p", "0"]);
    }
}

/// A kind of request that an identity sends over each of its connections, without end.
#[derive(Debug, Clone, Copy)]
enum Flood {
    Asks,
    DeniedStarts,
    UnknownKeys,
    Pings,
    CompressedPings,
}

impl Flood {
    fn frame(self, number: u64) -> Vec<u8> {
        let ch = number + 1;
        match self {
            Self::Asks => Start::exec(ch, &["true"]).ask(),
            Self::DeniedStarts => Start::exec(ch, &["true"]).frame(),
            Self::UnknownKeys => attach(ch, u128::from(number)),
            Self::Pings | Self::CompressedPings => {
                frame(&json!({"type": "ping", "number": number}), &[]).repeat(100)
            }
        }
    }

    /// Floods until the connection has ended, and counts what was taken or answered.
    fn run(self, mut peer: RawPeer, served: &AtomicU64) {
        let count = || served.fetch_add(1, Ordering::Relaxed);
        if let Self::CompressedPings = self {
            let pings = CompressedPings::new();
            let mut goes_on = peer.send(&pings.begin).is_ok();
            while goes_on {
                goes_on = peer.send(&pings.again).is_ok();
                count();
            }
            return;
        }
        let mut number = 0;
        let mut more = |peer: &mut RawPeer| {
            number += 1;
            peer.send(&self.frame(number)).is_ok()
        };
        if let Self::Pings = self {
            while more(&mut peer) {
                count();
            }
            return;
        }
        // As many as are answered: who lets answers pile up is cut off.
        if (0..AT_ONCE).all(|_| more(&mut peer)) {
            while let Ok(Some(_)) = peer.read_frame() {
                count();
                if !more(&mut peer) {
                    return;
                }
            }
        }
    }
}

fn attach(ch: u64, key: u128) -> Vec<u8> {
    let header = json!({
        "type": "attach", "ch": ch, "key": format!("{key:032x}"), "generation": 1,
        "digest": "0".repeat(64), "stdout": 0, "stderr": 0,
    });
    frame(&header, &[])
}

/// An attack that goes on until it is dropped.
struct Attack {
    sockets: Vec<TcpStream>,
    served: Arc<AtomicU64>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Attack {
    /// Floods from `count` connections of one identity, in threads that `prepare` has made ready.
    fn begin(
        dial: &Dial,
        flood: Flood,
        count: usize,
        prepare: impl FnOnce() + Send + 'static,
    ) -> Self {
        let (connected, sockets) = mpsc::channel();
        let dial = dial.clone();
        let served = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&served);
        let thread = thread::spawn(move || {
            let served = &counted;
            let connect = |_| match flood {
                Flood::CompressedPings => {
                    CompressedPings::connect(&dial).expect("a connection that compresses")
                }
                _ => greeted(&dial),
            };
            let peers: Vec<_> = (0..count).map(connect).collect();
            // Only now, since what is idle may not run at all on a machine that has other work.
            prepare();
            thread::scope(|scope| {
                for peer in peers {
                    connected.send(peer.socket().try_clone().expect("a socket")).expect("a test");
                    scope.spawn(move || flood.run(peer, served));
                }
            });
        });
        let sockets = sockets.into_iter().take(count).collect();
        Self { sockets, served, thread: Some(thread) }
    }

    /// Returns how much of it was taken or answered so far.
    fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        for socket in &self.sockets {
            let _ = socket.shutdown(Shutdown::Both);
        }
        let ended = self.thread.take().map(thread::JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))) || thread::panicking(), "the attack has failed");
    }
}

/// Measures the median time of a neighbour's `true`, its connection included.
fn median(world: &World) -> Duration {
    let mut times: Vec<_> = (0..COMMANDS)
        .map(|_| {
            let began = Instant::now();
            let ran = RawPeer::greeted(world).run(&Start::exec(1, &["true"])).expect("a command");
            assert_eq!(ran.exit["code"], 0, "{}", ran.exit);
            began.elapsed()
        })
        .collect();
    times.sort();
    times[COMMANDS / 2]
}

/// Asserts that a neighbour's commands take hardly longer beside a flood of one identity that may do nothing.
fn assert_neighbour_is_served(flood: Flood) {
    let processors = require!(Processors::find());
    processors.take_first();
    let world = World::builder().config("[limits]").config("running = 64").start();
    let dial = Dial::to(&world).identity(identity(&world, "eve", &[]));
    let connections = if let Flood::CompressedPings = flood { COMPRESSED } else { CONNECTIONS };
    let mut measured = Vec::new();
    for _ in 0..TRIES {
        let quiet = median(&world);
        let (taskset, chrt) = (processors.taskset.clone(), processors.chrt.clone());
        let idle = move || Processors { taskset, chrt }.take_second_when_idle();
        let attack = Attack::begin(&dial, flood, connections, idle);
        // What runs when idle may not have run at all yet, and would prove nothing.
        eventually("the attack is under way", || attack.served() >= connections as u64);
        let beside = median(&world);
        drop(attack);
        measured.push((quiet, beside));
        if beside < SLOWDOWN * quiet {
            break;
        }
    }
    let (quiet, beside) = *measured.last().expect("a measurement");
    println!("{flood:?}: {quiet:.2?} quiet, {beside:.2?} beside {connections} connections");
    assert!(beside < SLOWDOWN * quiet, "{flood:?}: {measured:.2?}");
}

#[test]
fn asks_over_256_connections_leave_a_neighbour_its_time() {
    assert_neighbour_is_served(Flood::Asks);
}

#[test]
fn denied_starts_over_256_connections_leave_a_neighbour_its_time() {
    assert_neighbour_is_served(Flood::DeniedStarts);
}

#[test]
fn unknown_keys_over_256_connections_leave_a_neighbour_its_time() {
    assert_neighbour_is_served(Flood::UnknownKeys);
}

#[test]
fn pings_over_256_connections_leave_a_neighbour_its_time() {
    assert_neighbour_is_served(Flood::Pings);
}

#[test]
fn compressed_pings_over_connections_of_one_leave_a_neighbour_its_time() {
    assert_neighbour_is_served(Flood::CompressedPings);
}

#[test]
fn what_expands_takes_a_part_of_a_processor_and_no_more() {
    let world = World::start();
    let dial = Dial::to(&world);
    let attack = Attack::begin(&dial, Flood::CompressedPings, 4, || {});
    // What is let through at once is over by then.
    wait(Duration::from_secs(3));
    let (used, began) = (proc::processor_time(world.pid()).unwrap(), Instant::now());
    wait(Duration::from_secs(3));
    let used = proc::processor_time(world.pid()).unwrap() - used;
    let part = used.as_secs_f64() / began.elapsed().as_secs_f64();
    assert!(attack.served() > 0, "the attack is under way");
    drop(attack);
    println!("compressed pings: {:.0} % of a processor", 100.0 * part);
    assert!(part < 0.5, "{part}");
    assert_eq!(world.exec(["true"]).run().code(), 0);
}

/// Lets an attack go on for so long.
fn wait(time: Duration) {
    let (_never, nothing) = mpsc::channel::<()>();
    let _ = nothing.recv_timeout(time);
}

#[test]
fn payloads_that_never_end_hold_a_bounded_memory_and_others_are_read() {
    const PAYLOAD: usize = 1 << 20;
    let mut harness = AttackHarness::new(&[]);
    let eve = Dial::to(&harness.world).identity(identity(&harness.world, "eve", &[]));
    let header = json!({
        "type": "start", "ch": 1, "key": "0".repeat(32), "generation": 1, "digest": "0".repeat(64),
        "mode": "exec", "argc": 8, "len": PAYLOAD,
    });
    let begun = [frame(&header, &[]), vec![b'x'; PAYLOAD - 1]].concat();
    let mut peers: Vec<_> = (0..200).map(|_| greeted(&eve)).collect();
    for peer in &mut peers {
        // What the server does not read for want of room stays in the socket.
        peer.socket().set_write_timeout(Some(Duration::from_millis(50))).unwrap();
        let _ = peer.send(&begun);
    }
    harness.honest.beat();
    let large = Start::exec(1, &["true", &"x".repeat(100_000), &"y".repeat(100_000)]);
    let ran = RawPeer::greeted(&harness.world).run(&large).unwrap();
    assert_eq!(ran.exit["code"], 0, "{}", ran.exit);
    drop(peers);
    harness.finish("payloads without an end", 64 * 1024);
}

#[test]
fn who_waits_for_a_lock_with_large_requests_leaves_others_their_memory() {
    let world = World::start();
    let bob = identity(&world, "bob", &["admin"]);
    let mut holder = RawPeer::greeted(&world);
    holder.send(&Start::exec(1, &["sleep", "600"]).lock("own", 0).frame()).unwrap();
    holder.expect_frame("started");
    let words = ["x".repeat(130_000), "y".repeat(130_000), "z".repeat(130_000)];
    let large = |ch| {
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        Start::exec(ch, &[&["true"], &words[..]].concat())
    };
    let mut told_busy = None;
    for ch in 2..1000 {
        holder.send(&large(ch).lock("own", 3_600_000).frame()).unwrap();
        let (header, _) = holder.read_frame().unwrap().unwrap();
        if header["type"] == "exit" {
            told_busy = Some(header);
            break;
        }
        assert_eq!(header["type"], "queued", "{header}");
    }
    let told = told_busy.expect("an end of what one may hold");
    assert_eq!(told["kind"], "busy", "{told}");
    assert!(told["message"].as_str().unwrap().contains("for this identity"), "{told}");
    let other = greeted(&Dial::to(&world).identity(bob)).run(&large(1)).unwrap();
    assert_eq!(other.exit["code"], 0, "{}", other.exit);
}

#[test]
fn who_waits_for_a_lock_counts_among_those_that_wait() {
    let limits = ["[limits]", "queued = 8", "lock_wait = \"1s\"", "[limits.peer]", "queued = 2"];
    let world = limits.iter().fold(World::builder(), |world, line| world.config(line)).start();
    let mut holder = RawPeer::greeted(&world);
    holder.send(&Start::exec(1, &["sleep", "600"]).lock("own", 0).frame()).unwrap();
    holder.expect_frame("started");
    let mut waits = |ch| {
        holder.send(&Start::exec(ch, &["true"]).lock("own", 600_000).frame()).unwrap();
        holder.read_frame().unwrap().unwrap().0
    };
    for ch in 2..4 {
        assert_eq!(waits(ch)["type"], "queued");
    }
    let full = waits(4);
    assert_eq!(full["kind"], "busy", "{full}");
    // Nobody waits for longer than the server lets it, and is told so.
    let (late, _) = holder.read_frame().unwrap().unwrap();
    assert_eq!(late["kind"], "busy", "{late}");
    assert!(late["hint"].as_str().unwrap().contains("longer than 1s here"), "{late}");
    let ran = Echo::start(&world).end().run(&Start::exec(2, &["true"])).unwrap();
    assert_eq!(ran.exit["code"], 0, "{}", ran.exit);
}

#[test]
fn kept_keys_have_a_number_for_each_identity_and_none_is_forgotten() {
    let mut world = World::builder().config("[limits.peer]").config("keys = 3").start();
    let bob = identity(&world, "bob", &["admin"]);
    let kept = |ch, key| Start::exec(ch, &["true"]).key(key).keep();
    let mut admin = RawPeer::greeted(&world);
    for key in 1..=3 {
        assert_eq!(admin.run(&kept(key, u128::from(key))).unwrap().exit["code"], 0);
    }
    let full = admin.run(&kept(4, 4)).unwrap().exit;
    assert_eq!((&full["outcome"], &full["kind"]), (&"not_started".into(), &"busy".into()));
    assert!(full["message"].as_str().unwrap().contains("has 3 keys here already"), "{full}");
    assert!(full["retry_after_ms"].as_u64().unwrap() > 6 * 24 * 3_600_000, "{full}");
    // A start whose key is not written down needs none.
    assert_eq!(admin.run(&Start::exec(5, &["true"])).unwrap().exit["code"], 0);
    let other = greeted(&Dial::to(&world).identity(&bob)).run(&kept(1, 4)).unwrap();
    assert_eq!(other.exit["code"], 0, "another identity has its own: {}", other.exit);
    world.restart();
    let mut admin = RawPeer::greeted(&world);
    let again = admin.run(&kept(1, 1)).unwrap().exit;
    assert_eq!((&again["outcome"], &again["code"]), (&"exited".into(), &0.into()), "{again}");
    assert_eq!(admin.run(&kept(2, 5)).unwrap().exit["kind"], "busy");
}
