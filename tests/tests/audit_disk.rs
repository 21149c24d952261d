//! The audit on a disk that breaks: a sync that failed is final, and the log goes on in another file.

use std::fs;
use std::process::Command;

use rcmd_tests::audit::{assert_whole, events, eventually_refused, folder, records, run};
use rcmd_tests::{World, eventually, require, skip};

/// The source of a library that takes the place of the calls that bring a file to the disk, and
/// fails as a broken disk does while the file of `RCMD_TEST_FAULT` is there.
const BROKEN_DISK: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int synced(long call, int fd) {
    if (access(getenv("RCMD_TEST_FAULT"), F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    return syscall(call, fd);
}

int fsync(int fd) { return synced(SYS_fsync, fd); }
int fdatasync(int fd) { return synced(SYS_fdatasync, fd); }
"#;

fn assert_refused_for_want_of_a_disk(world: &World) {
    eventually_refused(world).assert_says("the log could not be synced: Input/output error");
}

#[test]
fn after_a_sync_that_failed_nothing_starts_until_another_file_can_be_synced() {
    let cc = require!(skip::need_tool("cc"));
    let dir = tempfile::tempdir().unwrap();
    let [source, library, fault] = ["sync.c", "sync.so", "fault"].map(|name| dir.path().join(name));
    fs::write(&source, BROKEN_DISK).unwrap();
    let mut compile = Command::new(cc);
    let compiled = compile.args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    assert!(compiled.unwrap().success());
    let world = World::builder().server_env("LD_PRELOAD", library.to_str().unwrap());
    let mut world = world.server_env("RCMD_TEST_FAULT", fault.to_str().unwrap()).start();
    let gate = world.scratch("gate");
    let waits = format!("until [ -e {} ]; do sleep 0.05; done", gate.display());
    let client = world.shell(&waits).with_result().spawn();
    world.wait_for_log("started job");

    fs::write(&fault, "").unwrap();
    assert_refused_for_want_of_a_disk(&world);
    // What runs goes on, and its end waits.
    fs::write(&gate, "").unwrap();
    let ended = client.wait();
    ended.assert_code(0);
    assert!(ended.result()["audit"].is_null());
    fs::remove_file(&fault).unwrap();
    eventually("a start is let through", || world.exec(["true"]).run().code() == 0);
    assert_whole(&world, None);
    let all = records(&world);
    let job = ended.result()["job"].as_str().unwrap().to_owned();
    assert_eq!(events(&all, &job), ["attempt", "start", "end"]);
    assert!(all.iter().any(|record| record["reason"] == "sync_failed"));
    assert!(all.iter().any(|record| record["event"] == "gap"));

    // The same ended by its operator.
    fs::write(&fault, "").unwrap();
    assert_refused_for_want_of_a_disk(&world);
    world.kill_server();
    fs::remove_file(&fault).unwrap();
    world.start_server();
    world.exec(["true"]).run().assert_code(0);
    assert_whole(&world, None);
}

fn assert_gap_is_shown(world: &World) {
    let done = run(world, &["verify"]);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(
        !done.status.success() && said.contains("are missing, and no record says why"),
        "{said}"
    );
}

fn times(world: &World, text: &str) -> usize {
    world.log().iter().filter(|line| line.contains(text)).count()
}

#[test]
fn what_runs_after_the_folder_was_removed_is_recorded_in_a_new_one() {
    // Synced together, the lines of 100 ms may go with the folder.
    let mut world = World::builder().config("audit.sync = \"each\"").start();
    world.exec(["true"]).run().assert_code(0);
    // All at once, so that nothing new is put into what is being removed.
    let removed = world.scratch("removed");
    fs::rename(folder(&world), &removed).unwrap();
    fs::remove_dir_all(removed).unwrap();
    let done = world.exec(["true", "after"]).with_result().run();
    done.assert_code(0);
    let all = records(&world);
    let job = done.result()["job"].as_str().unwrap().to_owned();
    assert_eq!(events(&all, &job), ["attempt", "start", "end"]);
    assert_eq!((&all[0]["event"], &all[0]["reason"]), (&"open".into(), &"lost".into()));
    assert_gap_is_shown(&world);
    world.restart();
    assert_gap_is_shown(&world);
    assert_eq!(times(&world, "written records were removed"), 1);
}

#[test]
fn a_file_that_is_moved_away_under_a_server_is_missed_until_it_is_back() {
    let world = World::builder().config("audit.sync = \"each\"").start();
    world.exec(["true"]).run().assert_code(0);
    let (file, away) = (folder(&world).join("audit-00000001.jsonl"), world.scratch("away"));
    fs::rename(&file, &away).unwrap();
    let done = world.exec(["true"]).with_result().run();
    done.assert_code(0);
    assert_gap_is_shown(&world);
    fs::rename(&away, &file).unwrap();
    assert_whole(&world, done.result()["audit"].as_str());
}

#[test]
fn without_a_place_for_the_audit_nothing_starts_until_there_is_one_again() {
    let world = World::start();
    world.exec(["true"]).run().assert_code(0);
    let away = world.scratch("away");
    fs::rename(folder(&world), &away).unwrap();
    fs::write(folder(&world), "in its place").unwrap();
    eventually_refused(&world).assert_says("the host's audit can't be written");
    fs::remove_file(folder(&world)).unwrap();
    eventually("a start is let through", || world.exec(["true"]).run().code() == 0);
    assert_gap_is_shown(&world);
    assert_eq!(times(&world, "written records were removed"), 1);
    assert_eq!(times(&world, "it can be written again"), 1);
}
