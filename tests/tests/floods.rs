//! Floods: more frames than any honest peer sends, from one that reads nothing back. The server's memory
//! stays bounded, and the honest peer beside it is served.

use std::io::{self, Write as _};

use rcmd_tests::proc::{self, Snapshot};
use rcmd_tests::raw::{Echo, Start, frame};
use rcmd_tests::{RawPeer, World, eventually};
use serde_json::json;

/// One identity may have all that the host has.
const OWN: &str = "peer = { running = 9, queued = 100 }";

/// A server with an honest peer, whose memory is watched.
struct Flood {
    world: World,
    before: Snapshot,
    honest: Echo,
    resident: u64,
    mark: String,
}

impl Flood {
    /// `name` tells the commands of this test from all others.
    fn rises(name: u32, config: &[&str]) -> Self {
        let builder = World::builder().config("grace = \"1h\"");
        let world = config.iter().fold(builder, |builder, line| builder.config(line)).start();
        let before = world.settled_snapshot();
        let mut honest = Echo::start(&world);
        honest.beat();
        assert!(proc::forget_peak(world.pid()));
        let resident = world.resident_kib();
        let mark = format!("601.{}{name:03}", std::process::id());
        Self { world, before, honest, resident, mark }
    }

    /// A peer with a command that must end with it.
    fn peer(&self) -> RawPeer {
        let mut peer = RawPeer::greeted(&self.world);
        peer.send(&Start::exec(1, &["sleep", &self.mark]).stdin().frame()).unwrap();
        peer.expect_frame("started");
        peer
    }

    /// Sends `frames(n)` for n from 0 below `count`, many at a time, until they are sent or the server
    /// has closed the connection. Says whether all were sent.
    fn pour(&mut self, peer: &mut RawPeer, count: u64, frames: impl Fn(u64) -> Vec<u8>) -> bool {
        // Few enough that the honest peer has its turn in between.
        let at_once = (1 << 16) / frames(0).len() as u64 + 1;
        for first in (0..count).step_by(at_once as usize) {
            let bytes: Vec<_> = (first..count.min(first + at_once)).map(&frames).collect();
            self.honest.beat();
            match peer.send(&bytes.concat()) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("it hangs"),
                Err(_) => return false,
            }
        }
        true
    }

    fn ebbs(self, name: &str, bound_kib: u64) {
        let mut honest = self.honest;
        honest.beat();
        eventually("its commands are killed", || {
            !proc::marked(&self.mark).iter().any(proc::Process::runs)
        });
        let peak = proc::peak_kib(self.world.pid()).unwrap();
        let growth = peak.saturating_sub(self.resident);
        let _ = writeln!(io::stderr(), "{name}: peak growth {growth} KiB");
        assert!(growth <= bound_kib, "grew by {growth} KiB, more than {bound_kib}");
        let mut peer = honest.end();
        peer.close().unwrap();
        peer.expect_closed();
        self.world.assert_settles_to(&self.before);
    }
}

#[test]
fn a_flood_of_empty_frames_ends_with_the_first_of_them() {
    let mut flood = Flood::rises(1, &[]);
    let mut peer = flood.peer();
    flood.pour(&mut peer, 1000, |_| vec![0; 4000]);
    assert!(peer.expect_protocol_error().contains("empty header"));
    flood.ebbs("empty frames", 8 * 1024);
}

#[test]
fn a_flood_of_pings_is_answered_by_what_fits() {
    let mut flood = Flood::rises(2, &[]);
    let mut peer = flood.peer();
    let ping = |number| frame(&json!({"type": "ping", "number": number}), &[]);
    assert!(flood.pour(&mut peer, 200_000, ping));
    loop {
        if peer.expect_frame("pong").0["number"] == 199_999 {
            break;
        }
    }
    // It did nothing wrong: its command ends when it goes.
    peer.send(&frame(&json!({"type": "cancel", "ch": 1}), &[])).unwrap();
    drop(peer);
    flood.ebbs("pings", 8 * 1024);
}

#[test]
fn a_flood_of_frames_that_are_answered_one_by_one_is_cut_off() {
    let mut flood = Flood::rises(3, &[]);
    let mut peer = flood.peer();
    // Each is answered `refused`, and the answers are not read.
    let attach = |n: u64| {
        let header = json!({
            "type": "attach", "ch": n + 2, "key": format!("{n:032x}"), "generation": 1,
            "digest": "0".repeat(64), "stdout": 0, "stderr": 0,
        });
        frame(&header, &[])
    };
    assert!(!flood.pour(&mut peer, 500_000, attach), "it may go on for ever");
    peer.expect_closed();
    flood.ebbs("attaches", 16 * 1024);
}

#[test]
fn a_flood_of_frames_without_an_answer_costs_nothing() {
    let mut flood = Flood::rises(4, &[]);
    let mut peer = flood.peer();
    let frames = |n: u64| {
        let window = json!({"type": "window", "ch": 1, "stream": "stdout", "got": 0, "upto": n});
        let signal = json!({"type": "signal", "ch": 1, "number": n, "signal": "SIGCONT"});
        let digest = json!({"type": if n.is_multiple_of(2) { "suspend" } else { "resume" }});
        [window, signal, digest].iter().flat_map(|header| frame(header, &[])).collect()
    };
    assert!(flood.pour(&mut peer, 50_000, frames));
    peer.send(&frame(&json!({"type": "ping", "number": 7}), &[])).unwrap();
    peer.expect_frame("pong");
    peer.send(&frame(&json!({"type": "cancel", "ch": 1}), &[])).unwrap();
    peer.expect_frame("exit");
    drop(peer);
    flood.ebbs("windows, signals and suspends", 8 * 1024);
}

#[test]
fn thousands_of_starts_on_one_connection_run_wait_or_are_told_to_come_again() {
    const STARTS: u64 = 2000;
    let mut flood = Flood::rises(5, &["[limits]", "running = 9", "queued = 100", OWN]);
    let mut peer = flood.peer();
    let mark = flood.mark.clone();
    let start = |n: u64| Start::exec(n + 2, &["sleep", &mark]).frame();
    assert!(flood.pour(&mut peer, STARTS, start));
    let (mut started, mut queued, mut busy) = (0, 0, 0);
    while started + queued + busy < STARTS {
        let (header, _) = peer.read_frame().unwrap().expect("an answer to each");
        match header["type"].as_str().unwrap() {
            "started" => started += 1,
            "queued" => queued += 1,
            "exit" => {
                assert_eq!(
                    (&header["outcome"], &header["kind"]),
                    (&"not_started".into(), &"busy".into())
                );
                assert!(header["retry_after_ms"].as_u64().unwrap() > 0, "{header}");
                busy += 1;
            }
            other => panic!("{other}"),
        }
    }
    // One turn is the honest peer's, one was taken by the first command.
    assert_eq!((started, queued), (7, 100));
    flood.honest.beat();
    peer.send(&[0; 4]).unwrap();
    assert!(peer.expect_protocol_error().contains("empty header"));
    flood.ebbs("starts", 32 * 1024);
}

#[test]
fn thousands_of_starts_whose_answers_are_not_read_are_held_up() {
    let mut flood = Flood::rises(6, &["[limits]", "running = 9", "queued = 100", OWN]);
    let mut peer = flood.peer();
    let mark = flood.mark.clone();
    let start = |n: u64| Start::exec(n + 2, &["sleep", &mark]).frame();
    // What is not read yet lies in the socket, and costs the server nothing.
    assert!(flood.pour(&mut peer, 1000, start));
    flood.honest.beat();
    peer.send(&[0; 4]).unwrap();
    assert!(peer.expect_protocol_error().contains("empty header"));
    flood.ebbs("starts without a reader", 48 * 1024);
}

#[test]
fn starts_as_large_as_they_may_be_cost_what_is_allowed() {
    let mut flood = Flood::rises(7, &["[limits]", "running = 9", "queued = 4096"]);
    let mut peer = flood.peer();
    let mark = flood.mark.clone();
    let word = "x".repeat(100_000);
    let start = |n: u64| {
        let mut words = vec!["sh", "-c", "sleep \"$0\"", &mark];
        words.extend([&word[..]; 10]);
        Start::exec(n + 2, &words).frame()
    };
    assert!(flood.pour(&mut peer, 500, start));
    peer.send(&[0; 4]).unwrap();
    assert!(peer.expect_protocol_error().contains("empty header"));
    flood.ebbs("large starts", 400 * 1024);
}
