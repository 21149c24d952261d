//! How `rcmd-ssh` ends.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Stdio;

use rcmd_tests::{World, eventually};
use rustix::process::{Pid, Signal, kill_process};

use super::{assert_status, bare, on_host, ssh, text};

#[test]
fn failures_of_rcmd_are_255_and_those_of_the_command_are_not() {
    let world = World::start();
    assert_status(&on_host(&world, ["exit", "254"]), 254);
    assert_status(&on_host(&world, ["kill", "-KILL", "$$"]), 137);
    assert_status(&on_host(&world, ["no-such-program-anywhere", "x"]), 127);
    assert_status(&on_host(&world, ["/etc/passwd", "x"]), 126);
    assert_status(&on_host(&world, Vec::<&str>::new()), 255);
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let done = bare(&world).args(["-p", &closed.port().to_string(), "127.0.0.1", "true"]).output();
    assert_status(&done.unwrap(), 255);
    let done = ssh(&world).env("RCMD_DIR", "/nonexistent").args(["127.0.0.1", "true"]).output();
    assert_status(&done.unwrap(), 255);
}

/// Rules that permit two programs, and no shell.
const PROGRAMS: &str = r#"
@id("hostname") permit (principal, action == Action::"run", resource)
when { context.program == "/usr/bin/hostname" };
@id("sftp") permit (principal, action == Action::"run", resource)
when { context.program == "/usr/lib/openssh/sftp-server" };
"#;

#[test]
fn a_line_of_plain_words_is_judged_as_a_program_and_any_other_as_a_shell_s() {
    let world = World::builder().prepare();
    fs::write(world.dir().join("policy.cedar"), PROGRAMS).unwrap();
    let mut world = world;
    world.start_server();
    let denied = |words: &[&str]| {
        let done = on_host(&world, words);
        assert_eq!(assert_status(&done, 255), "", "{words:?}");
        assert!(
            text(&done.stderr).contains("admin may not run"),
            "{words:?}: {}",
            text(&done.stderr)
        );
    };
    if fs::exists("/usr/bin/hostname").unwrap() {
        assert!(!assert_status(&on_host(&world, ["hostname"]), 0).is_empty());
        assert!(!assert_status(&on_host(&world, ["'hostname'"]), 0).is_empty());
    }
    denied(&["hostname", "|", "cat"]);
    denied(&["id"]);
    denied(&["exec", "hostname"]);
    // What is permitted is the program, wherever the package has it.
    if fs::exists("/usr/lib/openssh/sftp-server").unwrap() {
        assert_status(&on_host(&world, ["-s", "sftp"]), 0);
    }
}

#[test]
fn a_signal_reaches_the_command() {
    let world = World::start();
    let begun = world.scratch("begun");
    let line = format!(
        "trap 'echo caught; exit 9' TERM; echo > {}; while :; do sleep 0.1; done",
        begun.display()
    );
    let mut command = ssh(&world);
    let child = command.args(["127.0.0.1", &line]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = child.spawn().unwrap();
    eventually("the command begins", || begun.exists());
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(assert_status(&child.wait_with_output().unwrap(), 9), "caught\n");
}
