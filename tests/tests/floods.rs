//! Floods: more frames than any honest peer sends, from one that reads nothing back. The server's memory
//! stays bounded, and the honest peer beside it is served.

use rcmd_tests::RawPeer;
use rcmd_tests::attack::AttackHarness;
use rcmd_tests::pki::{Authority, Leaf};
use rcmd_tests::raw::{Dial, Start, frame, hello};
use serde_json::json;

/// The limits by which one identity may have all that the host has.
const OWN: &str = "peer = { running = 9, queued = 100 }";

#[test]
fn a_flood_of_empty_frames_ends_with_the_first_of_them() {
    let mut harness = AttackHarness::new(&[]);
    let mut attacker = harness.attacker();
    harness.flood(&mut attacker.peer, 1000, |_| vec![0; 4000]);
    assert!(attacker.peer.expect_protocol_error().contains("empty header"));
    attacker.expect_killed();
    harness.finish("empty frames", 8 * 1024);
}

#[test]
fn a_flood_of_pings_is_answered_by_what_fits() {
    let mut harness = AttackHarness::new(&[]);
    let mut attacker = harness.attacker();
    let ping = |number| frame(&json!({"type": "ping", "number": number}), &[]);
    assert!(harness.flood(&mut attacker.peer, 200_000, ping));
    loop {
        if attacker.peer.expect_frame("pong").0["number"] == 199_999 {
            break;
        }
    }
    // It did nothing wrong: its command ends when it goes.
    attacker.peer.send(&frame(&json!({"type": "cancel", "ch": 1}), &[])).unwrap();
    attacker.expect_killed();
    harness.finish("pings", 8 * 1024);
}

#[test]
fn a_flood_of_frames_that_are_answered_one_by_one_is_cut_off() {
    let mut harness = AttackHarness::new(&[]);
    let mut attacker = harness.attacker();
    // Each is answered `refused`, and the answers are not read.
    let attach = |n: u64| {
        let header = json!({
            "type": "attach", "ch": n + 2, "key": format!("{n:032x}"), "generation": 1,
            "digest": "0".repeat(64), "stdout": 0, "stderr": 0,
        });
        frame(&header, &[])
    };
    assert!(!harness.flood(&mut attacker.peer, 500_000, attach), "it may go on for ever");
    attacker.peer.expect_closed();
    attacker.expect_killed();
    harness.finish("attaches", 16 * 1024);
}

#[test]
fn a_flood_of_starts_without_a_request_is_read_as_it_is_recorded() {
    let mut harness = AttackHarness::new(&[]);
    let mut peer = RawPeer::greeted(&harness.world);
    // The name of a user that is empty: refused, recorded, and no job.
    let start = |n: u64| Start::exec(n + 2, &["true"]).user("").frame();
    assert!(harness.flood(&mut peer, 1_000, start));
    harness.honest.beat();
    drop(peer);
    harness.finish("starts without a request", 16 * 1024);
}

#[test]
fn a_flood_of_attaches_that_are_denied_is_read_no_faster_than_it_is_written_down() {
    let mut harness = AttackHarness::new(&[]);
    let folder = harness.world.scratch("eve");
    let leaf = Leaf::client_uris(&["rcmd://user/eve"]);
    Authority::of(harness.world.dir()).issue(&leaf).write(&folder);
    let mut peer = Dial::to(&harness.world).identity(folder).connect().unwrap();
    peer.send(&hello()).unwrap();
    peer.expect_frame("hello");
    let attach = |n: u64| {
        let header = json!({
            "type": "attach", "ch": n + 1, "key": format!("{n:032x}"), "generation": 1,
            "digest": "0".repeat(64), "stdout": 0, "stderr": 0,
        });
        frame(&header, &[])
    };
    assert!(harness.flood(&mut peer, 1_000, attach));
    harness.honest.beat();
    drop(peer);
    harness.finish("denied attaches", 16 * 1024);
}

#[test]
fn a_flood_of_frames_without_an_answer_costs_nothing() {
    let mut harness = AttackHarness::new(&[]);
    let mut attacker = harness.attacker();
    let frames = |n: u64| {
        let window = json!({"type": "window", "ch": 1, "stream": "stdout", "got": 0, "upto": n});
        let signal = json!({"type": "signal", "ch": 1, "number": n, "signal": "SIGCONT"});
        let digest = json!({"type": if n.is_multiple_of(2) { "suspend" } else { "resume" }});
        [window, signal, digest].iter().flat_map(|header| frame(header, &[])).collect()
    };
    assert!(harness.flood(&mut attacker.peer, 50_000, frames));
    attacker.peer.send(&frame(&json!({"type": "ping", "number": 7}), &[])).unwrap();
    attacker.peer.expect_frame("pong");
    attacker.peer.send(&frame(&json!({"type": "cancel", "ch": 1}), &[])).unwrap();
    attacker.peer.expect_frame("exit");
    attacker.expect_killed();
    harness.finish("windows, signals and suspends", 8 * 1024);
}

#[test]
fn thousands_of_starts_on_one_connection_run_wait_or_are_told_to_come_again() {
    const STARTS: u64 = 2000;
    let mut harness = AttackHarness::new(&["[limits]", "running = 9", "queued = 100", OWN]);
    let mut attacker = harness.attacker();
    let mark = attacker.mark.clone();
    let start = |n: u64| Start::exec(n + 2, &["sleep", &mark]).frame();
    assert!(harness.flood(&mut attacker.peer, STARTS, start));
    let (mut started, mut queued, mut busy) = (0, 0, 0);
    while started + queued + busy < STARTS {
        let (header, _) = attacker.peer.read_frame().unwrap().expect("an answer to each");
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
    harness.honest.beat();
    attacker.peer.send(&[0; 4]).unwrap();
    assert!(attacker.peer.expect_protocol_error().contains("empty header"));
    attacker.expect_killed();
    harness.finish("starts", 32 * 1024);
}

#[test]
fn thousands_of_starts_whose_answers_are_not_read_are_held_up() {
    let mut harness = AttackHarness::new(&["[limits]", "running = 9", "queued = 100", OWN]);
    let mut attacker = harness.attacker();
    let mark = attacker.mark.clone();
    let start = |n: u64| Start::exec(n + 2, &["sleep", &mark]).frame();
    // What is not read yet lies in the socket, and costs the server nothing.
    assert!(harness.flood(&mut attacker.peer, 1000, start));
    harness.honest.beat();
    attacker.peer.send(&[0; 4]).unwrap();
    assert!(attacker.peer.expect_protocol_error().contains("empty header"));
    attacker.expect_killed();
    harness.finish("starts without a reader", 48 * 1024);
}

#[test]
fn starts_as_large_as_they_may_be_cost_what_is_allowed() {
    let mut harness = AttackHarness::new(&["[limits]", "running = 9", "queued = 4096"]);
    let mut attacker = harness.attacker();
    let mark = attacker.mark.clone();
    let word = "x".repeat(100_000);
    let start = |n: u64| {
        let mut words = vec!["sh", "-c", "sleep \"$0\"", &mark];
        words.extend([&word[..]; 10]);
        Start::exec(n + 2, &words).frame()
    };
    assert!(harness.flood(&mut attacker.peer, 500, start));
    attacker.peer.send(&[0; 4]).unwrap();
    assert!(attacker.peer.expect_protocol_error().contains("empty header"));
    attacker.expect_killed();
    harness.finish("large starts", 400 * 1024);
}
