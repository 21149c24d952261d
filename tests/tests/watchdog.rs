//! Test programs that hang are ended: `tests/runner`, which cargo runs them with.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use rcmd_tests::binaries::workspace;
use rcmd_tests::{eventually, proc};
use rustix::process::Signal;
use tempfile::TempDir;

/// The variable that is set for a run of this test program by itself, in which one test hangs.
const HANG: &str = "RCMD_TEST_HANG";

fn runner(limit: &str) -> Command {
    let mut command = Command::new(workspace().join("tests/runner"));
    command.env("RCMD_TEST_LIMIT", limit).stdin(Stdio::null());
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Writes a test program with these lines.
fn script(folder: &TempDir, lines: &str) -> PathBuf {
    let deps = folder.path().join("deps");
    std::fs::create_dir_all(&deps).unwrap();
    let file = deps.join("script-0123");
    std::fs::write(&file, format!("#!/bin/sh\n{lines}\n")).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
    file
}

#[test]
fn a_test_that_hangs_is_ended_with_what_it_started_and_named() {
    if std::env::var_os(HANG).is_some() {
        let below = "(trap '' TERM; sleep 600; sleep 600) & setsid sleep 600 & sleep 600 & kill -STOP $!; wait";
        let mut sh = Command::new("sh");
        // Their output is null, so that the run's output ends without them.
        sh.args(["-c", below]).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    }
    let own = std::env::current_exe().unwrap();
    let mark = std::process::id().to_string();
    let name = "a_test_that_hangs_is_ended_with_what_it_started_and_named";
    let output = runner("2").arg(&own).args(["--exact", name]).env(HANG, &mark).output().unwrap();
    assert_eq!(output.status.signal(), Some(9), "{output:?}");
    let said = stderr(&output);
    let program = own.file_name().unwrap().to_str().unwrap();
    for word in [program, "2 s", name, "RCMD_TEST_LIMIT"] {
        assert!(said.contains(word), "no {word} in: {said}");
    }
    let left = proc::marked(&format!("{HANG}={mark}"));
    assert!(left.iter().all(|process| !process.runs()), "{left:?}");
}

#[test]
fn a_test_program_has_its_arguments_its_exit_status_and_no_other_child() {
    let folder = TempDir::new().unwrap();
    let program =
        script(&folder, "cat; echo \"$# $1|$2\"; cat /proc/$$/task/$$/children >&2; exit 37");
    let output = runner("600").arg(&program).args(["a  b", ""]).output().unwrap();
    assert_eq!(output.status.code(), Some(37));
    assert_eq!(output.stdout, b"2 a  b|\n");
    // The one that prints them.
    assert_eq!(stderr(&output).split_ascii_whitespace().count(), 1, "{output:?}");
}

#[test]
fn a_signal_reaches_a_test_program_and_ends_its_watch() {
    let folder = TempDir::new().unwrap();
    let program = script(&folder, "trap 'kill $!; exit 5' TERM; sleep 600 & echo ready; wait");
    let mut child = runner("600").arg(&program).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let mark = program.to_str().unwrap();
    eventually("the program and its watch", || proc::marked(mark).len() == 2);
    proc::signal(child.id(), Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(5));
    eventually("no watch is left", || proc::marked(mark).is_empty());
}

#[test]
fn what_is_no_test_program_is_not_watched_and_a_limit_is_a_number() {
    let folder = TempDir::new().unwrap();
    let program = script(&folder, "exit 6");
    let moved = folder.path().join("program");
    std::fs::rename(&program, &moved).unwrap();
    assert_eq!(runner("soon").arg(&moved).status().unwrap().code(), Some(6));
    std::fs::rename(&moved, &program).unwrap();
    let output = runner("soon").arg(&program).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("RCMD_TEST_LIMIT"), "{output:?}");
    assert_eq!(runner("0").arg(&program).status().unwrap().code(), Some(6));
}

#[test]
fn cargo_runs_the_tests_with_it() {
    let config = std::fs::read_to_string(workspace().join(".cargo/config.toml")).unwrap();
    assert!(config.contains("\nrunner = \"tests/runner\"\n"), "{config}");
}
