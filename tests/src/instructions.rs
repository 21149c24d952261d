//! Instructions of the protocol's hot paths, counted by callgrind: they repeat where times don't.
//!
//! Each path runs so often and then twice as often; the difference is free of what a start costs. What
//! a processor offers decides which code digests use, so that paths with digests are counted but not
//! held to anything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::binaries::cargo;

/// The number of times that a path runs at first.
const TIMES: u64 = 2_000;
/// Paths that are counted: what `protocol/examples/hot_paths.rs` calls them.
pub const PATHS: [&str; 8] = [
    "encode-data-64k",
    "decode-data-64k",
    "encode-data-15",
    "decode-data-15",
    "encode-window",
    "decode-window",
    "stream-15-digested",
    "stream-64k-digested",
];

/// Returns the instructions of each path without digests, as last counted on x86-64.
///
/// # Panics
///
/// When the file in the source tree is not JSON.
#[must_use]
pub fn baseline() -> BTreeMap<String, u64> {
    serde_json::from_str(include_str!("instructions.json")).expect("instructions.json")
}

/// Builds the program that runs the paths, with the release profile, and returns its path.
///
/// # Errors
///
/// When it can't be built.
pub fn driver() -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--release", "--locked", "--quiet", "-p", "rcmd-protocol"]);
    command.args(["--example", "hot_paths", "--message-format=json-render-diagnostics"]);
    let output = command.stderr(Stdio::inherit()).output().context("can't run cargo")?;
    if !output.status.success() {
        bail!("hot_paths does not build; see what cargo says above");
    }
    let text = String::from_utf8(output.stdout)?;
    let messages = text.lines().flat_map(serde_json::from_str::<serde_json::Value>);
    let mut files =
        messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    files.find(|file| file.ends_with("hot_paths")).context("cargo built no hot_paths")
}

/// Counts the instructions that `path` takes each time.
///
/// # Errors
///
/// When callgrind can't be run or does not count.
pub fn each(driver: &Path, path: &str) -> Result<u64> {
    let few = collected(driver, path, TIMES)?;
    let more = collected(driver, path, 2 * TIMES)?;
    Ok(more.saturating_sub(few) / TIMES)
}

fn collected(driver: &Path, path: &str, times: u64) -> Result<u64> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(driver);
    let output = command.args([path, &times.to_string()]).stdin(Stdio::null()).output();
    let output = output.context("valgrind; apt-get install valgrind")?;
    let told = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{path} under valgrind ended with {}: {}", output.status, told.trim());
    }
    let line = told.lines().find_map(|line| line.split_once("Collected :"));
    let count = line.and_then(|(_, count)| count.trim().parse().ok());
    count.with_context(|| format!("callgrind did not say how much it collected: {}", told.trim()))
}
