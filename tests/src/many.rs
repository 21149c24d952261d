//! Many hosts of one server, for runs over sets.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::client::{ClientCommand, Finished};
use crate::world::World;

pub mod commands;

/// Starts a world with a `hosts.toml` of so many hosts, as [`write_hosts`] writes it.
///
/// # Panics
///
/// When it can't be made.
#[must_use]
pub fn world(hosts: usize) -> World {
    let world = World::start();
    write_hosts(&world, hosts);
    world
}

/// Writes a `hosts.toml` with so many hosts `a1`, `a2` and so on, which are all the world's server, and
/// one, `dead`, where nobody listens.
///
/// # Panics
///
/// When it can't be written.
pub fn write_hosts(world: &World, count: usize) {
    let mut text = String::new();
    for number in 1..=count {
        put_host(&mut text, &format!("a{number}"), world.address());
    }
    let closed = SocketAddr::from(([127, 0, 0, 1], 1));
    put_host(&mut text, "dead", closed);
    write_hosts_toml(&world.client_dir().join("hosts.toml"), &text);
}

/// Adds a host at this address, whose certificate names `localhost`.
pub fn put_host(text: &mut String, name: &str, address: SocketAddr) {
    let (ip, port) = (address.ip(), address.port());
    // Writing to a String does not fail.
    let _ = writeln!(
        text,
        "[hosts.{name}]\naddress = \"{ip}\"\nport = {port}\ncertificate = \"localhost\""
    );
}

/// Writes a `hosts.toml` that nobody else may change.
///
/// # Panics
///
/// When it can't be written.
pub fn write_hosts_toml(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

/// Returns a client that runs a program on a set (`--exec`).
pub fn exec(world: &World, hosts: &str, words: &[&str]) -> ClientCommand {
    world.client().option("--exec").target(hosts).words(words)
}

/// Returns a client that runs a line in the shells of a set (`--shell`).
pub fn shell(world: &World, hosts: &str, line: &str) -> ClientCommand {
    world.client().option("--shell").target(hosts).words([line])
}

/// Runs `run --resume last`, with these options.
pub fn resume(world: &World, options: &[&str]) -> Finished {
    let client = world.client().options(["run", "--resume", "last"]).options(options);
    client.without_target().run()
}

/// Returns the path of a file that commands wait for, and a line that does so.
#[must_use]
pub fn gate(world: &World, name: &str) -> (PathBuf, String) {
    let file = world.scratch(name);
    let wait = format!("until [ -e {} ]; do sleep 0.02; done", file.display());
    (file, wait)
}

/// Opens the gate of those who wait.
///
/// # Panics
///
/// When the file can't be written.
pub fn open(gate: &Path) {
    fs::write(gate, "").unwrap();
}

/// Returns the lines of standard output, sorted: those of several hosts come in any order.
#[must_use]
pub fn sorted_lines(done: &Finished) -> Vec<String> {
    let mut lines: Vec<_> = done.stdout_text().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Returns the events of `--json`.
///
/// # Panics
///
/// When a line is none.
#[must_use]
pub fn events(done: &Finished) -> Vec<Value> {
    let text = done.stdout_text();
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// Returns the account of a run, which is its last event. Asserts that it has one end for each
/// target and numbers that add up.
///
/// # Panics
///
/// When it does not.
#[must_use]
pub fn account(done: &Finished, total: u64) -> Value {
    let events = events(done);
    let summary = events.last().expect("an event").clone();
    assert_eq!(summary["event"], "summary", "{}", done.story());
    let mut ends: Vec<_> = events
        .iter()
        .filter(|event| event["event"] == "end")
        .map(|event| event["index"].as_u64().unwrap())
        .collect();
    ends.sort_unstable();
    assert_eq!(ends, (0..total).collect::<Vec<_>>(), "one end each: {}", done.story());
    let kinds = ["exited", "failed", "timed_out", "not_started", "unknown"];
    let sum: u64 = kinds.iter().map(|kind| summary[*kind].as_u64().unwrap()).sum();
    // Only a dry run has these.
    let sum = sum + summary["permitted"].as_u64().unwrap_or_default();
    assert_eq!((sum, summary["total"].as_u64()), (total, Some(total)), "{summary}");
    summary
}

/// Returns the number of lines in a file; none if there is no file.
#[must_use]
pub fn count_lines(file: &Path) -> usize {
    fs::read_to_string(file).map_or(0, |text| text.lines().count())
}
