//! `cargo demo`: what the README promises in its first lines.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use rcmd_tests::binaries::cargo;
use rcmd_tests::wait::{DEADLINE, exit_within};
use rcmd_tests::{eventually, proc};
use rustix::process::Signal;
use tempfile::TempDir;

/// Returns the command of the demo, with a temporary folder of its own so that what it leaves there
/// is seen.
fn demo(temporary: &TempDir, words: &[&str]) -> Command {
    let mut command = cargo();
    command.arg("demo").args(words).env("TMPDIR", temporary.path());
    command
}

fn run(words: &[&str]) -> Output {
    let temporary = TempDir::new().unwrap();
    let output = demo(&temporary, words).output().unwrap();
    assert_nothing_left(&temporary);
    output
}

fn assert_nothing_left(temporary: &TempDir) {
    let left: Vec<_> =
        temporary.path().read_dir().unwrap().map(|one| one.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
    let mark = format!("TMPDIR={}", temporary.path().display());
    eventually("its processes are gone", || {
        proc::marked(&mark).iter().all(|process| !process.runs())
    });
}

#[test]
fn the_command_s_output_is_all_there_is_on_standard_output() {
    let uname = Command::new("uname").arg("-a").output().unwrap();
    let output = run(&["uname", "-a"]);
    assert_eq!(output.stdout, uname.stdout);
    assert!(output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    for command in
        ["rcmd-certs quickstart demo", "rcmd-server --dir demo", "rcmd-client --dir demo"]
    {
        assert!(said.contains(command), "{said}");
    }
}

#[test]
fn the_command_s_exit_status_is_that_of_the_demo() {
    assert_eq!(run(&["exit 37"]).status.code(), Some(37));
    assert_eq!(run(&["sh", "-c", "kill -9 $$"]).status.code(), Some(137));
    assert_eq!(run(&["/no/such/program", "x"]).status.code(), Some(127));
}

#[test]
fn options_after_demo_belong_to_the_command() {
    assert_eq!(run(&["printf", "%s|", "--help", "-n", ""]).stdout, b"--help|-n||");
}

#[test]
fn standard_input_reaches_the_command() {
    let temporary = TempDir::new().unwrap();
    let mut command = demo(&temporary, &["cat", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"\x00\xff through").unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"\x00\xff through");
    assert_nothing_left(&temporary);
}

#[test]
fn without_a_command_it_says_how_to_use_it() {
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(125));
    assert_eq!(output.stdout, b"");
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("usage: cargo demo"));
}

#[test]
fn it_says_at_once_what_it_does_how_long_and_how_much_room_that_takes() {
    let built = cargo().args(["build", "--locked", "--quiet", "-p", "rcmd-demo"]).status().unwrap();
    assert!(built.success());
    // In a folder with no programs it has to build them. Here that fails at once.
    let folder = TempDir::new().unwrap();
    let (demo, cargo) = (folder.path().join("rcmd-demo"), folder.path().join("cargo"));
    let target = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned();
    std::fs::copy(target.join("rcmd-demo"), &demo).unwrap();
    std::fs::write(&cargo, "#!/bin/sh\necho \"cargo $*\" >&2; exit 101\n").unwrap();
    std::fs::set_permissions(&cargo, PermissionsExt::from_mode(0o755)).unwrap();
    let output = Command::new(&demo).arg("true").env("CARGO", &cargo).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert_eq!(output.stdout, b"");
    let said = String::from_utf8(output.stderr).unwrap();
    let (first, rest) = said.split_once("cargo build ").unwrap();
    for word in
        ["a real server and a real client", "minutes", "MB in ", folder.path().to_str().unwrap()]
    {
        assert!(first.contains(word), "no {word} in: {said}");
    }
    assert!(rest.contains("do not build"), "{said}");
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let temporary = TempDir::new().unwrap();
        // A duration that nobody else sleeps, to find the command by.
        let nap = format!("600.{}", std::process::id());
        let mut command = demo(&temporary, &[&format!("echo ready; exec sleep {nap}")]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        eventually("the command sleeps", || !proc::marked(&nap).is_empty());
        proc::signal(child.id(), signal);
        let status = exit_within(&mut child, DEADLINE).unwrap().expect("it ends");
        assert_eq!(status.code(), Some(code));
        eventually("the command is gone", || proc::marked(&nap).is_empty());
        assert_nothing_left(&temporary);
    }
}
