//! Commands that have not started: what ends them, what waits for them, and that nothing is kept of one
//! that never will.

use std::fs;

use rcmd_tests::hanging::HangingPrograms;
use rcmd_tests::raw::{Echo, RawPeer, Start, frame};
use rcmd_tests::sink::Sink;
use rcmd_tests::{NameService, World, eventually, require, skip};
use rustix::process::Signal;
use serde_json::json;

/// Starts a world on whose host one command runs at a time.
fn one_at_a_time() -> World {
    World::builder().config("[limits]").config("running = 1").start()
}

fn done(ch: u64) -> Vec<u8> {
    frame(&json!({"type": "done", "ch": ch}), &[])
}

fn signal(ch: u64, number: u64, name: &str) -> Vec<u8> {
    frame(&json!({"type": "signal", "ch": ch, "number": number, "signal": name}), &[])
}

#[test]
fn signals_that_end_nothing_leave_a_waiting_command_waiting() {
    let world = one_at_a_time();
    let honest = Echo::start(&world);
    let mut peer = RawPeer::greeted(&world);
    peer.send(&Start::exec(1, &["echo", "ran"]).frame()).unwrap();
    peer.expect_of(1, &["queued"]);
    for (number, name) in ["SIGCONT", "SIGWINCH", "SIGURG", "SIGCHLD"].into_iter().enumerate() {
        peer.send(&signal(1, 1 + number as u64, name)).unwrap();
    }
    peer.send(&Start::exec(2, &["true"]).frame()).unwrap();
    // Heard by now, as the next start was.
    peer.expect_of(2, &["queued"]);
    honest.end();
    assert_eq!(peer.finish(1).unwrap().stdout, b"ran\n");
}

#[test]
fn signals_that_end_a_process_end_a_waiting_command() {
    let world = one_at_a_time();
    let honest = Echo::start(&world);
    let mut peer = RawPeer::greeted(&world);
    for (ch, name) in [(1, "SIGTERM"), (2, "SIGUSR1")] {
        peer.send(&Start::exec(ch, &["true"]).frame()).unwrap();
        peer.expect_of(ch, &["queued"]);
        peer.send(&signal(ch, 1, name)).unwrap();
        assert_eq!(peer.expect_of(ch, &["exit"])["outcome"], "not_started", "{name}");
    }
    honest.end();
}

#[test]
fn an_input_that_is_corrupt_before_the_start_is_told_as_that() {
    let world = one_at_a_time();
    let honest = Echo::start(&world);
    let mut peer = RawPeer::greeted(&world);
    peer.send(&Start::exec(1, &["cat"]).stdin().frame()).unwrap();
    peer.expect_of(1, &["queued"]);
    let digest = format!("sha256:{:064}", 0);
    let end = json!({"type": "end", "ch": 1, "stream": "stdin", "total": 0, "digest": digest});
    peer.send(&frame(&end, &[])).unwrap();
    let exit = peer.expect_of(1, &["exit"]);
    assert_eq!(
        (&exit["outcome"], &exit["kind"]),
        (&"not_started".into(), &"corrupt".into()),
        "{exit}"
    );
    honest.end();
}

#[test]
fn a_done_before_the_end_is_remembered() {
    let world = World::start();
    let mut peer = RawPeer::greeted(&world);
    let start = Start::exec(1, &["sleep", "600"]);
    peer.send(&start.frame()).unwrap();
    peer.expect_of(1, &["started"]);
    peer.send(&done(1)).unwrap();
    let known = start.header();
    let attach = json!({
        "type": "attach", "ch": 9, "key": known["key"], "generation": 2, "digest": known["digest"],
        "stdout": 0, "stderr": 0,
    });
    peer.expect_of(1, &["exit"]);
    // Its connection lives, and yet nobody wants its end.
    let mut other = RawPeer::greeted(&world);
    other.send(&frame(&attach, &[])).unwrap();
    let answer = other.expect_of(9, &["attached", "refused"]);
    assert_eq!(answer["reason"], "gone", "{answer}");
}

fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn nothing_is_kept_of_a_start_that_failed() {
    let world = World::start();
    let mut holder = RawPeer::greeted(&world);
    holder.send(&Start::exec(1, &["sleep", "600"]).lock("held", 0).frame()).unwrap();
    holder.expect_of(1, &["started"]);
    let mut peer = RawPeer::greeted(&world);
    let mut fail = |channels: std::ops::Range<u64>| {
        for ch in channels {
            peer.send(&Start::exec(ch, &["true"]).lock("held", 0).frame()).unwrap();
            let exit = peer.expect_of(ch, &["exit"]);
            assert_eq!((&exit["outcome"], &exit["kind"]), (&"not_started".into(), &"busy".into()));
        }
    };
    // A client that never says `done` to what it was told.
    fail(1..500);
    let before = resident(world.pid());
    fail(500..3500);
    let grown = resident(world.pid()).saturating_sub(before);
    assert!(grown < 8 << 10, "3,000 failed starts left {grown} KiB");
}

#[test]
fn a_start_that_comes_again_while_it_is_judged_is_told_what_comes_of_it() {
    require!(skip::need_mount_namespace());
    let names = NameService::start();
    let world = World::builder().name_service(&names).start();
    if !names.was_asked() {
        return skip::skip("a C library that asks nscd(8)");
    }
    // It permits nothing here, which only a look at the program tells.
    let rules = format!(
        "permit (principal, action, resource)\n\
         when {{ context has digest && context.digest == \"sha256:{}\" }};\n",
        "0".repeat(64)
    );
    fs::write(world.dir().join("policy.cedar"), rules).unwrap();
    world.signal_server(Signal::HUP);
    world.wait_for_log("policy reloaded");
    let mut peer = RawPeer::greeted(&world);
    names.hold();
    // It is judged as long as the account is looked up.
    let start = Start::exec(1, &["true"]).user("nobody");
    let mut again = start.clone().channel(2).header();
    again["generation"] = json!(2);
    let both = [start.frame(), frame(&again, &start.payload())].concat();
    peer.send(&both).unwrap();
    names.await_look_up();
    peer.send(&frame(&json!({"type": "ping", "number": 7}), &[])).unwrap();
    // Both were heard by now.
    peer.expect_frame("pong");
    names.release();
    let exit = peer.expect_of(2, &["exit"]);
    assert_eq!((&exit["outcome"], &exit["kind"]), (&"not_started".into(), &"denied".into()));
}

#[test]
fn what_is_being_started_goes_on_under_another_policy_that_keeps_what_runs() {
    let programs = require!(HangingPrograms::mount());
    let world = World::start();
    let client = world.exec([programs.program()]).stdout(Sink::Keep).spawn();
    eventually("it is being started", || programs.waiting() == 1);
    fs::write(world.dir().join("policy.cedar"), "").unwrap();
    world.signal_server(Signal::HUP);
    // What runs was told of the policy by then.
    world.wait_for_log("certificates reloaded");
    programs.answer();
    let done = client.wait();
    done.assert_code(0);
    assert_eq!(done.stdout, b"executed\n");
    drop(programs);
}

#[test]
fn what_is_being_started_is_given_up_when_another_policy_ends_what_runs() {
    let programs = require!(HangingPrograms::mount());
    let world = World::builder().config("policy.on_reload = \"end\"").start();
    let client = world.exec([programs.program()]).with_result().spawn();
    eventually("it is being started", || programs.waiting() == 1);
    fs::write(world.dir().join("policy.cedar"), "").unwrap();
    world.signal_server(Signal::HUP);
    let done = client.wait();
    let result = done.result();
    assert_eq!(result["outcome"], "not_started", "{}", done.story());
    assert_eq!(result["error"]["kind"], "denied", "{}", done.story());
    drop(programs);
}
