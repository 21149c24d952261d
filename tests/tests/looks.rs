//! The places at which the server looks for a request: a pipe, a device, a file that another holds,
//! a file system that answers nobody. The request that names one waits alone, and not for ever.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rcmd_tests::fuse::{FuseMount, Manner};
use rcmd_tests::hostile::{InTheWay, pipe, script};
use rcmd_tests::proc::{bytes_read, descendants};
use rcmd_tests::raw::{Echo, RawPeer, Start};
use rcmd_tests::world::own_folder;
use rcmd_tests::{World, eventually, require, skip};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::{Value, json};

/// The number of asks for one thing, more than the server has threads that look.
const MANY: u64 = 12;
/// The number of an account that no host has.
const UID: u32 = 54_399;

/// Asks for a program many times at once.
fn ask_often(peer: &mut RawPeer, program: &Path) {
    for ch in 2..2 + MANY {
        peer.send(&Start::exec(ch, &[program.to_str().unwrap()]).ask()).unwrap();
    }
}

/// Waits for all of these answers, in whatever order they come.
#[track_caller]
fn verdicts(peer: &mut RawPeer) -> Vec<Value> {
    (0..MANY).map(|_| peer.expect_frame("verdict").0).collect()
}

/// Runs a command of another client, which must not notice anything.
#[track_caller]
fn assert_serves(world: &World) {
    world.exec(["true"]).run().assert_code(0);
}

#[test]
fn an_interpreter_that_is_a_pipe_or_a_device_is_never_opened() {
    let world = World::start();
    let folder = own_folder();
    let pipe = pipe(folder.path().join("pipe"));
    for interpreter in [pipe.as_path(), Path::new("/dev/ptmx"), Path::new("/dev/zero")] {
        let program = script(folder.path().join("script"), interpreter);
        let mut echo = Echo::start(&world);
        ask_often(&mut echo.peer, &program);
        verdicts(&mut echo.peer);
        let start = Start::exec(2 + MANY, &[program.to_str().unwrap()]);
        echo.peer.send(&start.frame()).unwrap();
        let exit = echo.peer.expect_of(2 + MANY, &["exit"]);
        assert_eq!(exit["outcome"], "not_started", "{exit}");
        echo.beat();
        echo.end();
        assert_serves(&world);
    }
}

#[test]
fn a_file_that_another_holds_is_not_waited_for() {
    let world = World::start();
    let folder = own_folder();
    let held = folder.path().join("held");
    fs::copy(skip::need_tool("true").unwrap(), &held).unwrap();
    let program = script(folder.path().join("script"), &held);
    let _lease = require!(InTheWay::lease(&held));
    let mut echo = Echo::start(&world);
    ask_often(&mut echo.peer, &program);
    verdicts(&mut echo.peer);
    echo.end();
    assert_serves(&world);
}

/// Asks many times for a program on a file system that answers nobody.
fn asks_for_what_never_answers(manner: Manner) {
    let world = World::start();
    let folder = own_folder();
    let mount = require!(FuseMount::at(folder.path(), 0, manner));
    let program = folder.path().join("program");
    let mut echo = Echo::start(&world);
    ask_often(&mut echo.peer, &program);
    assert_serves(&world);
    for verdict in verdicts(&mut echo.peer) {
        assert_eq!(verdict["kind"], "busy", "{verdict}");
    }
    echo.beat();
    assert_serves(&world);
    drop(mount);
    // Now there is a folder without that program, and nothing else is left of it.
    echo.peer.send(&Start::exec(99, &[program.to_str().unwrap()]).ask()).unwrap();
    assert_eq!(echo.peer.expect_of(99, &["verdict"])["kind"], "not_found");
    echo.end();
    eventually("nobody looks any more", || descendants(world.pid()).is_empty());
}

#[test]
fn a_file_system_that_takes_no_request_keeps_nobody_but_who_named_it() {
    asks_for_what_never_answers(Manner::Deaf);
}

#[test]
fn a_file_system_whose_waiters_can_not_be_killed_keeps_nobody_else() {
    asks_for_what_never_answers(Manner::Mute);
}

#[test]
fn the_server_stops_beside_a_file_system_that_answers_nobody() {
    let mut world = World::start();
    let folder = own_folder();
    let _mount = require!(FuseMount::at(folder.path(), 0, Manner::Deaf));
    let mut peer = RawPeer::greeted(&world);
    let program = folder.path().join("program");
    peer.send(&Start::exec(1, &[program.to_str().unwrap()]).frame()).unwrap();
    eventually("a helper looks", || !descendants(world.pid()).is_empty());
    assert!(world.stop_server().success());
}

/// Returns a line of passwd(5).
fn entry(name: &str, uid: u32, home: &Path) -> String {
    format!("{name}:x:{uid}:{uid}::{}:/bin/sh", home.display())
}

/// The home that only its user can enter, as one on a server of files that trusts no root.
#[test]
fn a_home_is_entered_as_the_user_that_is_meant() {
    require!(skip::need_mount_namespace());
    let folder = tempfile::tempdir_in("/var/lib").unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let [closed, remote] = ["closed", "remote"].map(|name| folder.path().join(name));
    for home in [&closed, &remote] {
        fs::create_dir(home).unwrap();
        chown(home, Some(UID), Some(UID)).unwrap();
    }
    fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
    let _mount = require!(FuseMount::at(&remote, UID, Manner::Empty));
    assert!(fs::metadata(&remote).is_err(), "root may not look into it");
    let world = World::builder()
        .account(&entry("roamer", UID, &remote), "roamer:*:20000::::::")
        .account(&entry("locked-out", UID + 1, &closed), "locked-out:*:20000::::::")
        .start();
    let pwd = |user| world.exec(["pwd"]).options(["-l", user]).run();
    let done = pwd("roamer");
    done.assert_code(0);
    assert_eq!(done.stdout_text().trim_end(), remote.to_str().unwrap());
    let done = pwd("locked-out");
    done.assert_code(0).assert_says("started in / instead");
    assert_eq!(done.stdout_text(), "/\n");
    // Who named the folder is told that it can't be entered.
    let done = world.exec(["pwd"]).options(["-l", "locked-out", "--cwd", "."]).with_result().run();
    done.assert_code(125);
    assert_eq!(done.result()["error"]["kind"], "no_such_dir");
}

/// A peer that may run something as a user is not told what that user may not see.
#[test]
fn as_another_user_nothing_is_told_of_what_that_user_can_not_see() {
    require!(skip::need_root());
    let world = World::start();
    let folder = own_folder();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
    let mut peer = RawPeer::greeted(&world);
    let mut ask = |ch, path: &Path| {
        peer.send(&Start::exec(ch, &[path.to_str().unwrap()]).user("nobody").ask()).unwrap();
        peer.expect_of(ch, &["verdict"])["kind"].clone()
    };
    let there = folder.path().join("there");
    fs::copy(skip::need_tool("true").unwrap(), &there).unwrap();
    let missing = folder.path().join("missing");
    assert_eq!(
        (ask(1, &there), ask(2, &missing)),
        ("not_executable".into(), "not_executable".into())
    );
}

#[test]
fn a_folder_that_is_swapped_while_a_command_waits_is_judged_anew() {
    let folder = own_folder();
    let [permitted, secret, named] =
        ["permitted", "secret", "named"].map(|name| folder.path().join(name));
    fs::create_dir(&permitted).unwrap();
    fs::create_dir(&secret).unwrap();
    symlink(&permitted, &named).unwrap();
    let mut world = World::builder().prepare();
    let rules = format!(
        "permit (principal, action == Action::\"attach\", resource);\n\
         permit (principal, action == Action::\"run\", resource)\n\
         when {{ context.cwd == \"{}\" || context.program like \"*/cat\" }};\n",
        permitted.display()
    );
    fs::write(world.dir().join("policy.cedar"), rules).unwrap();
    world.start_server();
    let mut holder = RawPeer::greeted(&world);
    holder.send(&Start::exec(1, &["cat"]).stdin().lock("L", 0).frame()).unwrap();
    holder.expect_of(1, &["started"]);
    let cwd = named.to_str().unwrap().to_owned();
    let mut waiting = RawPeer::greeted(&world);
    let start = Start::exec(1, &["pwd", "-P"]).cwd(&cwd).lock("L", 60_000);
    waiting.send(&start.frame()).unwrap();
    waiting.expect_of(1, &["queued"]);
    fs::remove_file(&named).unwrap();
    symlink(&secret, &named).unwrap();
    holder.send(&rcmd_tests::raw::frame(&json!({"type": "cancel", "ch": 1}), &[])).unwrap();
    let exit = waiting.expect_of(1, &["exit"]);
    assert_eq!((&exit["outcome"], &exit["kind"]), (&json!("not_started"), &json!("denied")));
}

/// The link and the folder change places all the time; whatever is judged is what is entered.
#[test]
fn a_folder_that_is_swapped_at_any_moment_is_entered_as_it_was_judged() {
    let folder = own_folder();
    let [permitted, secret, named] =
        ["permitted", "secret", "named"].map(|name| folder.path().join(name));
    for made in [&permitted, &secret, &named] {
        fs::create_dir(made).unwrap();
    }
    let mut world = World::builder().prepare();
    // Whatever is typed begins like this; without links only the permitted folder does.
    let rules = format!(
        "permit (principal, action, resource);\n\
         forbid (principal, action == Action::\"run\", resource)\n\
         when {{ context.cwd like \"{}*\" }};\n",
        secret.display()
    );
    fs::write(world.dir().join("policy.cedar"), rules).unwrap();
    world.start_server();
    let over = Arc::new(AtomicBool::new(false));
    let swapping = {
        let (over, named, secret) = (Arc::clone(&over), named.clone(), secret.clone());
        std::thread::spawn(move || {
            let other = named.with_extension("other");
            symlink(&secret, &other).unwrap();
            while !over.load(Ordering::Relaxed) {
                renameat_with(CWD, &other, CWD, &named, RenameFlags::EXCHANGE).unwrap();
            }
        })
    };
    let cwd = named.to_str().unwrap();
    let mut peer = RawPeer::greeted(&world);
    let mut ran = 0;
    for ch in 1..=400 {
        let start = Start::exec(ch, &["/bin/pwd", "-P"]).cwd(cwd);
        let done = peer.run(&start).unwrap();
        if done.exit["outcome"] == "exited" {
            ran += 1;
            let entered = String::from_utf8_lossy(&done.stdout).into_owned();
            assert!(!entered.starts_with(secret.to_str().unwrap()), "{entered}");
        }
    }
    over.store(true, Ordering::Relaxed);
    swapping.join().unwrap();
    assert!(ran > 0, "none of them ran");
}

/// The size of a large program, in bytes.
const LARGE: u64 = 256 << 20;

/// Makes a program in this folder that takes a while to read.
fn large_program(folder: &Path) -> PathBuf {
    let large = folder.join("large");
    fs::copy(skip::need_tool("true").unwrap(), &large).unwrap();
    fs::File::options().write(true).open(&large).unwrap().set_len(LARGE).unwrap();
    fs::set_permissions(&large, Permissions::from_mode(0o755)).unwrap();
    large
}

#[test]
fn a_program_is_digested_once_as_long_as_it_does_not_change() {
    let mut world = World::builder().prepare();
    let rules = "permit (principal, action, resource)\n\
        when { context has digest && context.digest like \"sha256:*\" };\n";
    fs::write(world.dir().join("policy.cedar"), rules).unwrap();
    world.start_server();
    let folder = own_folder();
    let large = large_program(folder.path());
    let mut peer = RawPeer::greeted(&world);
    let mut channels = 1..;
    // Whether the server reads the program, which is larger than anything else that it reads.
    let mut reads = || {
        let ch = channels.next().unwrap();
        let before = bytes_read(world.pid()).unwrap();
        peer.send(&Start::exec(ch, &[large.to_str().unwrap()]).ask()).unwrap();
        assert_eq!(peer.expect_of(ch, &["verdict"])["permitted"], true);
        bytes_read(world.pid()).unwrap() - before >= LARGE
    };
    assert!(reads());
    // A file that has just changed is not remembered: it could change again in the same tick.
    eventually("its digest is remembered", || !reads());
    // It is another file now, and read again.
    fs::set_permissions(&large, Permissions::from_mode(0o711)).unwrap();
    assert!(reads());
}

#[test]
fn what_no_digest_could_permit_is_denied_without_reading_the_program() {
    let mut world = World::builder().prepare();
    let rules = format!(
        "permit (principal, action, resource)\n\
         when {{ context has digest && context.digest == \"sha256:{}\" && context.argc == 1 }};\n",
        "0".repeat(64)
    );
    fs::write(world.dir().join("policy.cedar"), rules).unwrap();
    world.start_server();
    let folder = own_folder();
    let large = large_program(folder.path());
    let mut peer = RawPeer::greeted(&world);
    let mut reads = |ch, words: &[&str]| {
        let before = bytes_read(world.pid()).unwrap();
        peer.send(&Start::exec(ch, words).ask()).unwrap();
        let verdict = peer.expect_of(ch, &["verdict"]);
        assert_eq!(verdict["kind"], "denied", "{verdict}");
        bytes_read(world.pid()).unwrap() - before >= LARGE
    };
    let large = large.to_str().unwrap();
    assert!(reads(1, &[large]));
    assert!(!reads(2, &[large, "x"]));
}
