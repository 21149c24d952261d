//! `cargo demo COMMAND...`: one command through a real server and a real client, with a throwaway
//! authority, on loopback.
//!
//! This program depends on nothing, so that cargo has it within a second. It says what is about to happen, has
//! everything else built, and becomes `examples/pair.rs`, which runs the command.

use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// The exit status of a command that did not run, which is rcmd's own for that case.
const NOT_STARTED: u8 = 125;

fn main() -> ExitCode {
    let command: Vec<OsString> = std::env::args_os().skip(1).collect();
    if command.is_empty() {
        say("usage: cargo demo COMMAND...\n\nFor example: cargo demo uname -a\n");
        return ExitCode::from(NOT_STARTED);
    }
    let Err(error) = demonstrate(&command);
    say(&format!("demo: {error}\n"));
    ExitCode::from(NOT_STARTED)
}

/// Builds the programs and becomes the one that runs the pair. Returns only when it can't.
fn demonstrate(command: &[OsString]) -> Result<std::convert::Infallible, String> {
    let folder = programs().map_err(|error| format!("can't find my own folder: {error}"))?;
    say(
        "demo: runs your command through a real server and a real client on this machine, and removes all but \
         the programs\n",
    );
    if folder.join("rcmd-client").exists() {
        say("demo: building what has changed\n");
    } else {
        let target = folder.display();
        say(&format!(
            "demo: building the programs first: 2 to 4 minutes on two cores, 1600 MB in {target}\n"
        ));
    }
    build()?;
    let pair = folder.join("examples/pair");
    let error = Command::new(&pair).arg(&folder).args(command).exec();
    Err(format!("can't run {}: {error}", pair.display()))
}

/// Returns the folder that cargo builds programs in: where it has put this one.
fn programs() -> std::io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    own.parent().map(Path::to_owned).ok_or_else(|| std::io::ErrorKind::NotFound.into())
}

fn build() -> Result<(), String> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    // As the tests build them, see `tests/src/binaries.rs`, so that these need not build them again.
    cargo.args(["build", "--locked", "--workspace", "--example", "pair"]);
    cargo.args(["--bin", "rcmd-certs", "--bin", "rcmd-server", "--bin", "rcmd-client"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    if !std::io::stderr().is_terminal() {
        cargo.arg("--quiet");
    }
    // What the outer cargo said about this package would make build scripts run again.
    for (name, _) in std::env::vars_os() {
        let told = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|p| told.starts_with(p)) {
            cargo.env_remove(&name);
        }
    }
    let built =
        cargo.stdin(Stdio::null()).status().map_err(|error| format!("can't run cargo: {error}"))?;
    built
        .success()
        .then_some(())
        .ok_or_else(|| "the programs do not build; see what cargo says above".to_owned())
}

/// Writes to standard error; a reader that is gone does not matter.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
