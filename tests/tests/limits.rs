//! Limits of the host and of each identity: turns go round, nobody takes all, and whoever is told to come
//! again does, on its own.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rcmd_tests::pki::{Authority, Leaf};
use rcmd_tests::raw::{Dial, Echo, Start, hello};
use rcmd_tests::sink::Sink;
use rcmd_tests::{RawPeer, World, audit};
use rustix::process::Signal;
use serde_json::json;

fn world(limits: &[&str]) -> World {
    let builder = World::builder().config("[limits]");
    limits.iter().fold(builder, |builder, line| builder.config(line)).start()
}

/// Makes the folder of another identity that may do what the first may.
fn bob(world: &World) -> PathBuf {
    let leaf = Leaf::client_uris(&["rcmd://user/bob", "rcmd://group/admin"]);
    let folder = world.scratch("bob");
    Authority::of(world.dir()).issue(&leaf).write(&folder);
    folder
}

fn greeted(world: &World, identity: &Path) -> RawPeer {
    let mut peer = Dial::to(world).identity(identity).connect().unwrap();
    peer.send(&hello()).unwrap();
    peer.expect_frame("hello");
    peer
}

#[test]
fn another_s_command_has_its_turn_although_five_hundred_wait_already() {
    let world = world(&["running = 1"]);
    let bob = bob(&world);
    let ledger = world.scratch("ledger");
    let line = |name: &str| format!("echo {name} >> {}", ledger.display());
    let honest = Echo::start(&world);
    let mut others = RawPeer::greeted(&world);
    for ch in 1..=500 {
        others.send(&Start::shell(ch, &line("other")).frame()).unwrap();
        others.expect_frame("queued");
    }
    let mut peer = greeted(&world, &bob);
    peer.send(&Start::shell(1, &line("bob")).frame()).unwrap();
    peer.expect_frame("queued");
    honest.end();
    assert_eq!(peer.finish(1).unwrap().exit["code"], 0);
    let order = fs::read_to_string(&ledger).unwrap();
    let before = order.lines().position(|name| name == "bob").unwrap();
    assert!(before <= 1, "{before} of the others went before");
}

#[test]
fn one_identity_never_takes_the_whole_host() {
    let world = world(&["running = 4", "queued = 4", "connections = 4"]);
    let bob = bob(&world);
    let mut others = RawPeer::greeted(&world);
    for ch in 1..=7 {
        others.send(&Start::exec(ch, &["sleep", "600"]).frame()).unwrap();
    }
    let answer = |_| {
        let (header, _) = others.read_frame().unwrap().unwrap();
        header["type"].as_str().unwrap().to_owned()
    };
    let mut told: Vec<_> = (1..=7).map(answer).collect();
    told.sort();
    assert_eq!(told, ["exit", "queued", "queued", "queued", "started", "started", "started"]);
    let _second = RawPeer::greeted(&world);
    let _third = RawPeer::greeted(&world);
    let refused = Dial::to(&world).connect().unwrap().expect_frame("error").0;
    assert_eq!(refused["kind"], "busy", "{refused}");
    assert!(refused["retry_after_ms"].is_u64(), "{refused}");
    // There is room for another, at once.
    let ran = greeted(&world, &bob).run(&Start::exec(1, &["echo", "bob"])).unwrap();
    assert_eq!(ran.stdout, b"bob\n");
}

#[test]
fn the_client_comes_again_while_the_host_is_busy() {
    let world = world(&["running = 1", "queued = 0"]);
    let honest = Echo::start(&world);
    let patient = world.exec(["cat"]).option("--busy-wait").option("1h").with_result();
    let mut patient = patient.stdin("its input").stderr(Sink::Pipe).spawn();
    // It says so when it takes long, and then once.
    let mut said = BufReader::new(patient.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.starts_with("rcmd: ") && line.contains("busy (1 commands"), "{line}");
    assert!(patient.runs());
    honest.end();
    let done = patient.wait();
    done.assert_code(0);
    assert_eq!(done.stdout_text(), "its input");
    assert_eq!(done.result()["outcome"], "exited");
    assert_eq!(said.read_line(&mut line).unwrap(), 0, "{line}");
}

#[test]
fn the_client_does_not_come_again_when_it_is_not_to() {
    let world = world(&["running = 1", "queued = 0", "starts = \"3/h\""]);
    let honest = Echo::start(&world);
    for wait in ["0", "1ms"] {
        let done = world.exec(["true"]).option("--busy-wait").option(wait).with_result().run();
        done.assert_code(125).assert_says("1 commands of this identity run and 0 wait already");
        assert_eq!(done.result()["error"]["kind"], "busy");
        assert_eq!(done.result()["retry_safe"], true);
    }
    honest.end();
    // What was refused for want of a turn did not count as a start.
    world.exec(["true"]).run().assert_code(0);
    world.exec(["true"]).run().assert_code(0);
    // The next start is there later than anybody waits for.
    let done = world.exec(["true"]).with_result().run();
    done.assert_code(125)
        .assert_says("the host has reached the limit on starting commands (3 in 1h)");
    let wait = done.result()["error"]["retry_after_ms"].as_u64().unwrap();
    assert!((1_000_000..=1_200_000).contains(&wait), "{wait}");
}

#[test]
fn the_client_comes_again_when_it_finds_no_seat() {
    let world = world(&["peer.connections = 1"]);
    let held = RawPeer::greeted(&world);
    let done = world.exec(["true"]).option("--busy-wait").option("0").with_result().run();
    done.assert_code(125).assert_says("this identity has 1 connections already");
    let patient = world.exec(["true"]).option("--busy-wait").option("1h").spawn();
    world.wait_for_log_lines("refused", 2);
    drop(held);
    patient.wait().assert_code(0);
}

#[test]
fn a_user_s_own_limits_go_before_its_group_s_and_these_before_everybody_s() {
    let world = world(&[
        "peer.starts = \"1/h\"",
        "[limits.group.admin]",
        "starts = \"2/h\"",
        "[limits.user.bob]",
        "starts = \"unlimited\"",
    ]);
    let bob = bob(&world);
    let runs = |peer: &mut RawPeer, ch| {
        let exit = peer.run(&Start::exec(ch, &["true"])).unwrap().exit;
        exit["outcome"] == json!("exited")
    };
    let (mut admin, mut bob) = (RawPeer::greeted(&world), greeted(&world, &bob));
    assert_eq!([1, 2, 3].map(|ch| runs(&mut admin, ch)), [true, true, false]);
    assert!((1..=20).all(|ch| runs(&mut bob, ch)));
}

#[test]
fn a_key_that_was_turned_away_is_free_again() {
    let world = world(&["running = 1", "queue_wait = \"100ms\""]);
    let honest = Echo::start(&world);
    let keyed = world.exec(["echo", "once"]).option("--key").option("deploy");
    let patient = keyed.option("--busy-wait").option("1h").with_result().spawn();
    world.wait_for_log_lines("outcome=not_started", 2);
    honest.end();
    let done = patient.wait();
    done.assert_code(0);
    assert_eq!(done.stdout_text(), "once\n");
}

#[test]
fn who_asks_again_and_again_is_answered_ever_later_while_a_neighbour_is_served() {
    const STARTS: u64 = 2000;
    let world = world(&["running = 2", "peer = { running = 1, queued = 0 }"]);
    let bob = bob(&world);
    let honest = Echo::start(&world);
    let mut others = RawPeer::greeted(&world);
    let began = Instant::now();
    for ch in 1..=STARTS {
        others.send(&Start::exec(ch, &["true"]).frame()).unwrap();
    }
    for _ in 0..320 {
        let exit = others.expect_frame("exit").0;
        assert_eq!(exit["kind"], "busy", "{exit}");
        assert!(exit["retry_after_ms"].is_u64(), "{exit}");
    }
    // 256 at once, then 100 a second, and as many for what is read meanwhile.
    assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
    let mut bob = greeted(&world, &bob);
    for ch in 1..=10 {
        assert_eq!(bob.run(&Start::exec(ch, &["echo", "bob"])).unwrap().stdout, b"bob\n");
    }
    // What it has sent beyond is not even read, and each refusal has its line.
    let records = audit::records(&world);
    let count = |event: &str| records.iter().filter(|record| record["event"] == event).count();
    assert!((320..STARTS as usize).contains(&count("refusal")), "{}", count("refusal"));
    // A connection that is held up is not lost: what it was started with goes on.
    let mut honest = honest;
    honest.beat();
    honest.end();
}

#[test]
fn a_hangup_reads_what_identities_may_have_again_and_a_mistake_leaves_the_old() {
    let world = world(&["running = 2", "peer.running = 1", "peer.queued = 0"]);
    let honest = Echo::start(&world);
    let run = || world.exec(["true"]).option("--busy-wait").option("0").run().code();
    assert_eq!(run(), 125);
    let file = world.dir().join("server.toml");
    let reload = |from: &str, to: &str| {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(&file, text.replace(from, to)).unwrap();
        world.signal_server(Signal::HUP);
    };
    reload("peer.running = 1", "peer.running = 2");
    world.wait_for_log("limits of identities reloaded");
    assert_eq!(run(), 0);
    reload("peer.running = 2", "peer.running = 'many'");
    world.wait_for_log("limits not reloaded");
    assert_eq!(run(), 0);
    honest.end();
    let records = audit::records(&world);
    let reloads = records.iter().filter(|record| record["what"] == "limits");
    let failed: Vec<_> = reloads.map(|record| record["failure"].is_string()).collect();
    assert_eq!(failed, [false, true]);
}
