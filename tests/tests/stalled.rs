//! A disk that stands still under the server's own files holds up who needs these, and nobody else: not the
//! connections, not what runs, not the end of the server.

use std::fs;

use rcmd_tests::disk::StalledDisk;
use rcmd_tests::fuse::{FuseMount, Manner};
use rcmd_tests::raw::{Echo, RawPeer, Start, frame};
use rcmd_tests::{World, require};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Starts that wait, more than the runtime has workers.
const MANY: u64 = 40;
/// Beats of an echo that show that a connection is served.
const BEATS: usize = 3;

/// Returns the channels of the starts that wait.
fn waiting() -> Vec<u64> {
    (2..2 + MANY).collect()
}

/// Reads frames until each of these channels has its exit; returns these in the order of the channels.
fn exits(peer: &mut RawPeer, channels: &[u64]) -> Vec<Value> {
    let mut exits = vec![Value::Null; channels.len()];
    while exits.iter().any(Value::is_null) {
        let (header, _) = peer.read_frame().unwrap().expect("an exit");
        let at = channels.iter().position(|ch| header["ch"] == *ch);
        if let (Some(at), true) = (at, header["type"] == "exit") {
            exits[at] = header;
        }
    }
    exits
}

/// Asserts that a connection is served beside channels that get no frame, and a new one as well.
#[track_caller]
fn assert_served_beside(world: &World, echo: &mut Echo, silent: &[u64]) {
    for _ in 0..BEATS {
        echo.beat_beside(silent);
    }
    let ping = frame(&json!({"type": "ping", "number": 7}), &[]);
    let mut other = RawPeer::greeted(world);
    other.send(&ping).unwrap();
    other.expect_frame("pong");
}

fn assert_audit_holds_up_starts_alone(config: &str) {
    let disk = require!(StalledDisk::new());
    let world = World::builder().config(config).server_env("LD_PRELOAD", disk.library());
    let world = world.server_env("RCMD_TEST_STALL", disk.part()).start();
    let mut echo = Echo::start(&world);
    disk.stop("/audit-0");
    let channels = waiting();
    for &ch in &channels {
        echo.peer.send(&Start::exec(ch, &["true"]).frame()).unwrap();
    }
    disk.await_waiting();
    assert_served_beside(&world, &mut echo, &channels);
    echo.peer.send(&frame(&json!({"type": "cancel", "ch": channels[0]}), &[])).unwrap();
    echo.beat_beside(&channels);
    disk.go_on();
    let ended = exits(&mut echo.peer, &channels);
    assert_eq!(ended[0]["outcome"], "not_started", "{}", ended[0]);
    assert!(ended[1..].iter().all(|exit| exit["code"] == 0), "{ended:?}");
    echo.end();
    rcmd_tests::audit::assert_whole(&world, None);
}

#[test]
fn an_audit_that_does_not_take_a_line_holds_up_starts_alone() {
    assert_audit_holds_up_starts_alone("");
}

#[test]
fn so_it_does_when_each_line_is_synced_and_processes_are_started_portably() {
    assert_audit_holds_up_starts_alone("spawn = \"portable\"\naudit.sync = \"each\"");
}

#[test]
fn a_folder_of_locks_that_does_not_answer_holds_up_who_wants_a_lock_alone() {
    let mut world = World::builder().prepare();
    let folder = world.dir().join("server/locks");
    fs::create_dir_all(&folder).unwrap();
    let mount = require!(FuseMount::at(&folder, 0, Manner::Deaf));
    world.start_server();
    let mut echo = Echo::start(&world);
    let channels = waiting();
    for &ch in &channels {
        let start = Start::exec(ch, &["true"]).lock(&format!("lock-{ch}"), 0);
        echo.peer.send(&start.frame()).unwrap();
    }
    assert_served_beside(&world, &mut echo, &channels);
    world.exec(["true"]).run().assert_code(0);
    for exit in exits(&mut echo.peer, &channels) {
        assert_eq!((&exit["outcome"], &exit["kind"]), (&json!("not_started"), &json!("resources")));
        assert!(exit["message"].as_str().unwrap().ends_with("timed out"), "{exit}");
    }
    drop(mount);
    world.exec(["true"]).options(["--lock", "lock-2"]).run().assert_code(0);
    echo.end();
}

#[test]
fn a_policy_that_can_not_be_read_again_keeps_nobody_waiting() {
    let disk = require!(StalledDisk::new());
    let world = World::builder().server_env("LD_PRELOAD", disk.library());
    let mut world = world.server_env("RCMD_TEST_STALL", disk.part()).start();
    disk.stop("/policy.cedar");
    world.signal_server(Signal::HUP);
    disk.await_waiting();
    world.exec(["true"]).run().assert_code(0);
    assert!(world.stop_server().success());
}
