//! Locks: one command on the host holds one at a time, whoever starts it, and gives it back however it
//! ends.

use std::fs;
use std::path::PathBuf;

use rcmd_tests::client::ClientCommand;
use rcmd_tests::pki::{Authority, Leaf};
use rcmd_tests::raw::{Dial, Echo, Start, frame, hello};
use rcmd_tests::sink::Sink;
use rcmd_tests::soak::Judged as _;
use rcmd_tests::soak::locks;
use rcmd_tests::{RawPeer, World, eventually};
use rustix::process::Signal;
use serde_json::json;

/// The number of holders that are killed here; `soak locks` kills more.
const ROUNDS: u64 = 30;

fn greeted(world: &World, uris: &[&str]) -> RawPeer {
    let folder = world.scratch("other");
    Authority::of(world.dir()).issue(&Leaf::client_uris(uris)).write(&folder);
    let mut peer = Dial::to(world).identity(&folder).connect().unwrap();
    peer.send(&hello()).unwrap();
    peer.expect_frame("hello");
    peer
}

fn locked(command: ClientCommand, wait: &str) -> ClientCommand {
    command.option("--lock").option("deploy").option("--lock-wait").option(wait)
}

/// Returns the marks of held locks.
fn marks(world: &World) -> Vec<PathBuf> {
    let folder = fs::read_dir(world.dir().join("server/locks")).into_iter().flatten();
    folder.map(|entry| entry.unwrap().path()).collect()
}

/// Starts a holder on channel 1 of a connection of its own.
fn hold(world: &World) -> RawPeer {
    let mut peer = RawPeer::greeted(world);
    peer.send(&Start::exec(1, &["cat"]).stdin().lock("deploy", 0).frame()).unwrap();
    peer.expect_frame("started");
    peer
}

fn cancel(ch: u64) -> Vec<u8> {
    frame(&json!({"type": "cancel", "ch": ch}), &[])
}

#[test]
fn the_server_says_that_it_knows_locks() {
    let world = World::start();
    let mut peer = RawPeer::connect(&world);
    let hello = peer.expect_frame("hello").0;
    assert!(hello["capabilities"].as_array().unwrap().contains(&json!("lock")), "{hello}");
}

#[test]
fn turns_for_a_lock_go_round_and_are_in_order_within_an_identity() {
    let world = World::start();
    let before = world.settled_snapshot();
    let ledger = world.scratch("ledger");
    let start = |ch, name: &str| {
        let line = format!("echo {name} >> {}", ledger.display());
        Start::shell(ch, &line).lock("deploy", 600_000).frame()
    };
    let mut holder = hold(&world);
    assert_eq!(marks(&world).len(), 1);
    let mut bob = greeted(&world, &["rcmd://user/bob", "rcmd://group/admin"]);
    let mut admin = RawPeer::greeted(&world);
    let wait = |peer: &mut RawPeer, ch, name, position| {
        peer.send(&start(ch, name)).unwrap();
        assert_eq!(peer.expect_frame("queued").0["position"], position);
    };
    wait(&mut bob, 1, "bob 1", 0);
    wait(&mut bob, 2, "bob 2", 1);
    wait(&mut bob, 3, "bob 3", 2);
    wait(&mut admin, 1, "admin 1", 1);
    wait(&mut admin, 2, "admin 2", 3);
    // Who leaves the queue is passed over; another lock is nobody's business.
    bob.send(&cancel(2)).unwrap();
    assert_eq!(bob.expect_frame("exit").0["outcome"], "not_started");
    let other = Start::exec(3, &["true"]).lock("other", 0);
    assert_eq!(admin.run(&other).unwrap().exit["code"], 0);
    holder.send(&cancel(1)).unwrap();
    assert_eq!(bob.finish(1).unwrap().exit["code"], 0);
    assert_eq!(bob.finish(3).unwrap().exit["code"], 0);
    assert_eq!(admin.finish(2).unwrap().exit["code"], 0);
    assert_eq!(fs::read_to_string(&ledger).unwrap(), "bob 1\nadmin 1\nbob 3\nadmin 2\n");
    assert_eq!(marks(&world), [] as [PathBuf; 0]);
    drop((holder, bob, admin));
    world.assert_settles_to(&before);
}

#[test]
fn a_held_lock_is_busy_at_once_and_its_holder_named_to_whom_it_concerns() {
    let world = World::start();
    let holder = hold(&world);
    let done = locked(world.exec(["true"]), "0").with_result().run();
    done.assert_code(125).assert_says("the lock deploy is held by admin, job ");
    assert_eq!(done.result()["error"]["kind"], "busy");
    assert_eq!(done.result()["retry_safe"], true);
    let refused = |uris: &[&str]| {
        let start = Start::exec(1, &["true"]).lock("deploy", 0);
        let exit = greeted(&world, uris).run(&start).unwrap().exit;
        // Nobody knows when it is free.
        assert_eq!((&exit["kind"], &exit["retry_after_ms"]), (&json!("busy"), &json!(null)));
        exit["message"].as_str().unwrap().to_owned()
    };
    assert!(refused(&["rcmd://user/bob", "rcmd://group/admin"]).contains("held by admin, job "));
    drop(holder);
}

#[test]
fn who_has_waited_long_enough_is_told_so_and_nothing_ran() {
    let world = World::start();
    let mut holder = hold(&world);
    let trace = world.scratch("trace");
    let done = locked(world.exec(["touch".as_ref(), trace.as_os_str()]), "100ms").run();
    done.assert_code(125)
        .assert_says("waiting for its turn or its lock")
        .assert_says("is held by admin");
    // Nor does it run later.
    holder.send(&cancel(1)).unwrap();
    holder.expect_frame("exit");
    locked(world.exec(["true"]), "0").run().assert_code(0);
    assert!(!trace.exists());
}

#[test]
fn a_lock_is_not_given_on_before_the_whole_tree_of_its_holder_is_gone() {
    let world = World::builder().config("grace = \"100ms\"").start();
    let line = "trap '' TERM HUP PIPE; setsid sh -c 'echo $$; exec sleep 600' & wait";
    let mut holder = locked(world.shell(line), "0").stdout(Sink::Pipe).spawn();
    let child: u32 = holder.read_line().parse().unwrap();
    let probe = format!("test ! -d /proc/{child} || grep -q '^State:.Z' /proc/{child}/status");
    let next = locked(world.shell(&probe), "1h").spawn();
    holder.signal(Signal::KILL);
    next.wait().assert_code(0);
}

#[test]
fn the_tree_of_a_killed_holder_ends_before_the_lock_is_given_on() {
    let world = World::start();
    let line = "echo $$; (setsid sh -c 'echo $$; exec sleep 600 >/dev/null 2>&1' & wait)";
    let mut holder = locked(world.shell(line), "0").stdout(Sink::Pipe).spawn();
    let [leader, child] = [(); 2].map(|()| holder.read_line().parse::<u32>().unwrap());
    rcmd_tests::proc::signal(leader, Signal::KILL);
    holder.wait().assert_code(137);
    locked(world.exec(["true"]), "0").run().assert_code(0);
    assert!(!rcmd_tests::proc::Process::find(child).is_some_and(|child| child.runs()));
}

#[test]
fn after_a_server_was_killed_the_lock_is_free_when_nothing_of_its_holder_lives() {
    let mut world = World::start();
    let line =
        "trap '' TERM HUP PIPE; setsid sh -c 'echo $$; exec sleep 600' & sleep 600; sleep 600";
    let mut holder = locked(world.shell(line), "0").stdout(Sink::Pipe).spawn();
    let child: u32 = holder.read_line().parse().unwrap();
    let lives = || rcmd_tests::proc::Process::find(child).is_some_and(|child| child.runs());
    world.kill_server();
    assert_eq!(marks(&world).len(), 1);
    world.start_server();
    locked(world.exec(["true"]), "0").run().assert_code(0);
    assert!(!lives());
    assert_eq!(marks(&world), [] as [PathBuf; 0]);
    drop(holder);
}

#[test]
fn a_command_that_can_not_be_started_gives_its_lock_back() {
    let world = World::builder().config("[limits]").config("running = 1").start();
    locked(world.exec(["/nonexistent/program"]), "0").run().assert_code(127);
    let honest = Echo::start(&world);
    let waits = locked(world.exec(["true"]), "0").spawn();
    eventually("it has the lock and waits for its turn", || marks(&world).len() == 1);
    waits.signal(Signal::TERM);
    waits.wait().assert_code(125);
    eventually("the lock is free", || marks(&world).is_empty());
    honest.end();
    locked(world.exec(["true"]), "0").run().assert_code(0);
}

#[test]
fn a_name_that_is_none_is_refused_on_both_sides() {
    let world = World::start();
    for name in ["", "a b", "a\u{1b}[2J", &"x".repeat(129)] {
        let done = world.exec(["true"]).option("--lock").option(name).run();
        let says = if name.is_empty() { "--lock is empty" } else { "can't be the name of a lock" };
        done.assert_code(125).assert_says(says);
        let start = Start::exec(1, &["true"]).lock(name, 0);
        let exit = RawPeer::greeted(&world).run(&start).unwrap().exit;
        assert_eq!(exit["kind"], "usage", "{exit}");
    }
    world.exec(["true"]).option("--lock-wait").option("1s").run().assert_code(125);
}

#[test]
fn a_lock_s_name_leads_to_no_other_file() {
    let world = World::start();
    let folder = world.dir().join("server/locks");
    let line = format!("ls {}", folder.display());
    for name in ["../../policy.cedar", "..", ".", "/etc/passwd", "a/b"] {
        let policy = fs::read(world.dir().join("policy.cedar")).unwrap();
        let held = world.shell(&line).options(["--lock", name]).run();
        held.assert_code(0);
        // The one file is named by a digest, whatever the lock is called.
        let listed = held.stdout_text();
        let file = listed.trim_end();
        assert!(file.len() == 64 && file.bytes().all(|b| b.is_ascii_hexdigit()), "{listed:?}");
        assert_eq!(fs::read(world.dir().join("policy.cedar")).unwrap(), policy);
    }
}

#[test]
fn killed_holders_never_leave_two() {
    let figures = locks::run(ROUNDS, 1);
    println!("{figures}");
    assert!(figures.are_good(), "{figures}");
}
