//! The faults that a host can have for a while: a full disk, a folder that is gone, a name service
//! that does not answer, a clock that is off, descriptors and processes used up. While one lasts,
//! what needs the missing thing is refused with the reason and all else goes on; when it has passed
//! all works again without a restart, and the log has it once.

use std::fs;
use std::path::Path;
use std::process::Command;

use rcmd_tests::disk::SmallDisk;
use rcmd_tests::proc::{self, Snapshot};
use rcmd_tests::raw::Echo;
use rcmd_tests::{Finished, NameService, World, eventually, eventually_some, require, skip};
use rustix::process::Signal;

/// Counts the lines of the log that contain a text.
fn times_logged(world: &World, needle: &str) -> usize {
    world.log().iter().filter(|line| line.contains(needle)).count()
}

#[track_caller]
fn assert_runs(world: &World) {
    world.exec(["true"]).run().assert_code(0);
}

/// Asserts that nothing ran for want of something, so that it may be tried again.
#[track_caller]
fn assert_lacks(done: &Finished, kind: &str, why: &str) {
    done.assert_code(125).assert_says(why);
    let result = done.result();
    assert_eq!((&result["error"]["kind"], &result["retry_safe"]), (&kind.into(), &true.into()));
}

/// Starts a server whose folder is on a small disk, and its audit on another, so that the one can
/// be full without the other.
fn on_small_disks() -> Result<(World, SmallDisk, SmallDisk), String> {
    let mut world = World::builder().prepare();
    let server = world.dir().join("server");
    let kept = world.scratch("kept");
    copy(&server, &kept);
    let disk = SmallDisk::mount(&server, 512)?;
    copy(&kept, &server);
    let audit = SmallDisk::mount(&server.join("audit"), 8192)?;
    world.start_server();
    Ok((world, disk, audit))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn a_full_disk_refuses_keys_and_locks_alone_until_there_is_room() {
    let (mut world, disk, audit) = require!(on_small_disks());
    let under = |key: &str| world.shell("echo ran").options(["--key", key]).with_result().run();
    let locked = || world.exec(["true"]).options(["--lock", "l"]).with_result().run();
    under("before").assert_code(0);
    locked().assert_code(0);
    disk.fill();
    // The last page of the file may have room for some more.
    let mut keys = (0..).map(|number| format!("meanwhile-{number}"));
    let refused = eventually_some("a key is refused", || {
        let key = keys.next()?;
        (under(&key).code() != 0).then_some(key)
    });
    for _ in 0..3 {
        assert_lacks(&under(&refused), "resources", " space");
        assert_lacks(&locked(), "resources", "No space left on device");
        assert_runs(&world);
    }
    disk.free();
    eventually("a key is taken", || under(&keys.next().unwrap_or_default()).code() == 0);
    let now = under(&refused);
    assert_eq!((now.code(), &*now.stdout_text()), (0, "ran\n"), "{}", now.story());
    locked().assert_code(0);
    let again = under("before");
    assert_eq!((again.code(), &*again.stdout_text()), (0, ""), "{}", again.story());
    // What was written before, between and after is whole.
    world.restart();
    assert_eq!(world.shell("echo ran").options(["--key", &refused]).run().stdout_text(), "");
    world.stop_server();
    drop((audit, disk));
}

#[test]
fn a_folder_of_locks_that_is_gone_is_made_again() {
    let world = World::start();
    let locked = || world.exec(["true"]).options(["--lock", "l"]).run();
    locked().assert_code(0);
    fs::remove_dir_all(world.dir().join("server/locks")).unwrap();
    locked().assert_code(0);
}

#[test]
fn a_policy_that_is_gone_for_a_while_leaves_the_one_in_use() {
    let world = World::start();
    let policy = world.dir().join("policy.cedar");
    let aside = world.scratch("aside");
    fs::rename(&policy, &aside).unwrap();
    fs::create_dir(&policy).unwrap();
    world.signal_server(Signal::HUP);
    world.wait_for_log("policy not reloaded");
    assert_runs(&world);
    fs::remove_dir(&policy).unwrap();
    fs::rename(&aside, &policy).unwrap();
    world.signal_server(Signal::HUP);
    world.wait_for_log("policy reloaded");
    assert_runs(&world);
    assert_eq!(times_logged(&world, "policy not reloaded"), 1);
}

#[test]
fn a_home_that_is_gone_for_a_while_is_noted_and_entered_again() {
    require!(skip::need_root());
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("home");
    fs::create_dir(&folder).unwrap();
    // The account is looked up again for each start.
    let names = NameService::start();
    let world = World::builder().name_service(&names).start();
    if !names.was_asked() {
        return skip::skip("a C library that asks nscd(8)");
    }
    names.set_home("nobody", &folder);
    let runs_in = || {
        let done = world.exec(["pwd"]).options(["-l", "nobody"]).run();
        done.assert_code(0);
        done.stdout_text().trim_end().to_owned()
    };
    fs::set_permissions(home.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(runs_in(), folder.to_str().unwrap());
    fs::remove_dir(&folder).unwrap();
    assert_eq!(runs_in(), "/");
    fs::create_dir(&folder).unwrap();
    assert_eq!(runs_in(), folder.to_str().unwrap());
}

#[test]
fn a_name_service_that_is_dead_for_a_while_refuses_what_asks_it_and_passes() {
    require!(skip::need_mount_namespace());
    let names = NameService::start();
    let world = World::builder().name_service(&names).start();
    if !names.was_asked() {
        return skip::skip("a C library that asks nscd(8)");
    }
    let as_nobody = || {
        let client = world.exec(["true"]).options(["-l", "nobody", "--busy-wait", "1ms"]);
        client.with_result().run()
    };
    as_nobody().assert_code(0);
    names.hold();
    // After the same 5 s the C library asks the host's files instead: either comes first.
    let done = as_nobody();
    if done.code() != 0 {
        assert_lacks(&done, "busy", "name service");
    }
    assert_runs(&world);
    names.release();
    eventually("the name service is asked again", || as_nobody().code() == 0);
    assert_runs(&world);
}

#[test]
fn a_clock_that_was_off_for_a_while_refuses_who_comes_then_and_passes() {
    let library = require!(skip::need_faketime());
    let dir = tempfile::tempdir().unwrap();
    let clock = dir.path().join("clock");
    let set = |off: &str| {
        let next = dir.path().join("next");
        fs::write(&next, off).unwrap();
        fs::rename(next, &clock).unwrap();
    };
    set("+0");
    let world = World::builder()
        .server_env("LD_PRELOAD", &library)
        .server_env("FAKETIME_TIMESTAMP_FILE", &clock)
        .server_env("FAKETIME_NO_CACHE", "1")
        .server_env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .start();
    assert_runs(&world);
    for off in ["+800d", "-800d"] {
        set(off);
        let refused = world.exec(["true"]).with_result().run();
        assert_lacks(&refused, "tls", "clock");
        set("+0");
        assert_runs(&world);
    }
    assert_eq!(times_logged(&world, "refused"), 2);
    rcmd_tests::audit::assert_whole(&world, None);
}

/// Sets a limit of the running server, whose user is this: a name of prlimit(1), and what both become.
fn limit(world: &World, uid: u32, name: &str, value: &str) {
    let mut prlimit = Command::new(skip::need_tool("setpriv").unwrap());
    prlimit.args([format!("--reuid={uid}"), format!("--regid={uid}"), "--clear-groups".into()]);
    prlimit
        .arg(skip::need_tool("prlimit").unwrap())
        .arg("--pid")
        .arg(world.pid().to_string())
        .arg(format!("--{name}={value}"));
    assert!(prlimit.status().unwrap().success());
}

#[test]
fn descriptors_used_up_for_a_while_keep_newcomers_waiting_and_pass() {
    require!(skip::need_root());
    let world = World::builder().limit("nofile", 1024).start();
    let before = world.settled_snapshot();
    let mut echo = Echo::start(&world);
    // What is open stays so.
    limit(&world, 0, "nofile", "3:1024");
    let mut waiting = world.exec(["true"]).spawn();
    world.wait_for_log("out of descriptors");
    for _ in 0..50 {
        echo.beat();
    }
    assert!(waiting.runs());
    limit(&world, 0, "nofile", "1024:1024");
    waiting.wait().assert_code(0);
    assert_eq!(times_logged(&world, "out of descriptors"), 1);
    world.wait_for_log("connections are accepted again");
    let mut peer = echo.end();
    peer.close().unwrap();
    peer.expect_closed();
    world.assert_settles_to(&before);
}

#[test]
fn processes_used_up_for_a_while_refuse_starts_and_pass() {
    require!(skip::need_root());
    // The limit counts all that a user has: this user is the test's own.
    const UID: u32 = 61_319;
    let world = World::builder().server_uid(UID).limit("nproc", 400).start();
    let before: Snapshot = world.settled_snapshot();
    let mut echo = Echo::start(&world);
    limit(&world, UID, "nproc", "1:400");
    for _ in 0..3 {
        let refused = world.exec(["true"]).with_result().run();
        assert_lacks(&refused, "resources", "process");
        echo.beat();
    }
    limit(&world, UID, "nproc", "400:400");
    assert_runs(&world);
    // Also the ends of trees take a process or a thread of nobody.
    let mark = format!("605.{}", std::process::id());
    let client = world.exec(["sleep", &mark]).spawn();
    // Not its client, which has the same arguments.
    eventually("it runs", || {
        let below = proc::descendants(world.pid());
        proc::marked(&mark).iter().any(|one| below.iter().any(|process| process.pid == one.pid))
    });
    limit(&world, UID, "nproc", "1:400");
    client.signal(Signal::TERM);
    assert_eq!(client.wait().code(), 143);
    limit(&world, UID, "nproc", "400:400");
    let mut peer = echo.end();
    peer.close().unwrap();
    peer.expect_closed();
    world.assert_settles_to(&before);
}
