//! The audit of a world's server, as `rcmd-server audit` reads it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;

use crate::wait::eventually_some;
use crate::{Finished, World};

/// Returns the folder of the log.
#[must_use]
pub fn folder(world: &World) -> PathBuf {
    world.dir().join("server/audit")
}

/// Runs `rcmd-server audit` with these arguments on the world's log, as the owner of its settings.
///
/// # Panics
///
/// When it can't be run.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a test may fork")]
pub fn run(world: &World, args: &[&str]) -> Output {
    let mut command = world.server_tool();
    command.arg("audit").args(args).arg("--dir").arg(world.dir());
    let owner = fs::metadata(world.dir().join("server.toml")).expect("the server's settings").uid();
    if owner != rustix::process::geteuid().as_raw() {
        command.uid(owner);
    }
    command.output().expect("rcmd-server runs")
}

/// Asserts that the log is whole, also up to a head that a client was given.
///
/// # Panics
///
/// With what `rcmd-server audit verify` says.
#[track_caller]
pub fn assert_whole(world: &World, head: Option<&str>) {
    let head: Vec<_> = head.into_iter().flat_map(|head| ["--head", head]).collect();
    let done = run(world, &[&["verify"], head.as_slice()].concat());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Returns all records, oldest first.
///
/// # Panics
///
/// When they can't be read.
#[must_use]
#[track_caller]
pub fn records(world: &World) -> Vec<Value> {
    let done = run(world, &["show", "--json"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let lines = done.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).expect("a record")).collect()
}

/// Returns the names of the events of one job, oldest first.
#[must_use]
pub fn events(records: &[Value], job: &str) -> Vec<String> {
    let of_job = records.iter().filter(|record| record["job"] == job);
    of_job.map(|record| record["event"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Waits until a start is refused because nothing can be written of it, and gives how.
///
/// # Panics
///
/// When it is refused in another way than one that is safe to try again, or not at all.
#[must_use]
#[track_caller]
pub fn eventually_refused(world: &World) -> Finished {
    let refused = eventually_some("a start is refused", || {
        let done = world.exec(["true"]).with_result().run();
        (done.result()["error"]["kind"] == "resources").then_some(done)
    });
    refused.assert_code(125);
    let result = refused.result();
    assert_eq!(result["outcome"], "not_started");
    assert_eq!(result["retry_safe"], true);
    refused
}
