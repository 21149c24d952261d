//! Starting, ending, reaping.
#![allow(unsafe_code)]

use std::{cell::Cell, thread};

use nix::libc;
use rcmd_protocol::{
    outcome::{ErrorKind, Failure},
    signal::Signal,
};
use tokio::io::AsyncWriteExt as _;

use super::{super::children, *};
use crate::process::{Ended, SpawnError, exit::Watch};

async fn ended(line: &str) -> Ended {
    let processes = Processes::new().unwrap();
    let mut process = processes.spawn(&shell(line)).unwrap();
    let ended = timeout(DEADLINE, process.exited()).await.unwrap();
    process.reap();
    ended
}

#[tokio::test]
async fn the_status_is_the_commands_own() {
    assert_eq!(ended("exit 0").await, Ended::Code(0));
    assert_eq!(ended("exit 7").await, Ended::Code(7));
    assert_eq!(ended("exit 255").await, Ended::Code(255));
}

#[tokio::test]
async fn a_signal_is_told_from_a_status() {
    for number in [1, 9, 15, 64] {
        let signal = Signal::from_number(number).unwrap();
        assert_eq!(ended(&format!("kill -{number} $$")).await, Ended::Signal(signal));
    }
}

#[tokio::test]
async fn an_end_is_seen_again_until_the_process_is_reaped() {
    let processes = Processes::new().unwrap();
    let mut process = processes.spawn(&shell("exit 3")).unwrap();
    let pid = Pid::from_raw(process.pid()).unwrap();
    assert_eq!(process.exited().await, Ended::Code(3));
    assert_eq!(process.exited().await, Ended::Code(3));
    let seen = proc_fs::stat(pid).expect("it keeps its pid");
    assert!(!seen.alive);
    process.reap();
    assert_ne!(proc_fs::stat(pid), Some(seen));
    assert_eq!(process.exited().await, Ended::Lost);
}

#[tokio::test]
async fn an_end_is_seen_without_a_descriptor_too() {
    let processes = Processes::new().unwrap();
    let mut plan = shell("read line; exit 5");
    plan.stdin = true;
    let mut process = processes.spawn(&plan).unwrap();
    let watch = Watch::Looking(Pid::from_raw(process.pid()).unwrap());
    let (ended, ()) = tokio::join!(watch.ended(), async { drop(process.stdin.take()) });
    assert_eq!(ended, Ended::Code(5));
}

#[tokio::test]
async fn bytes_go_in_and_come_out() {
    let processes = Processes::new().unwrap();
    let mut plan = plan("/bin/cat", &[]);
    plan.stdin = true;
    let mut started = start(&processes, &plan);
    let mut stdin = started.process.stdin.take().unwrap();
    stdin.write_all(b"one\ntwo\n").await.unwrap();
    assert_eq!(started.line().await, "one");
    drop(stdin);
    assert_eq!(started.rest().await, "two\n");
    assert_eq!(started.process.exited().await, Ended::Code(0));
}

#[tokio::test]
async fn a_command_without_input_reads_nothing() {
    let processes = Processes::new().unwrap();
    assert_eq!(output_of(&processes, &shell("cat; readlink /proc/self/fd/0")).await, "/dev/null\n");
}

#[tokio::test]
async fn program_name_arguments_and_environment_are_exact() {
    let processes = Processes::new().unwrap();
    let mut plan = plan("/bin/sh", &["-c", r#"printf '<%s>' "$0" "$@""#, "", "a b", "*", "\n"]);
    plan.arg0 = "another".into();
    assert_eq!(output_of(&processes, &plan).await, "<><a b><*><\n>");
    plan.args = vec!["-c".into(), "cat /proc/$$/environ; cat /proc/$$/cmdline; :".into()];
    let seen = output_of(&processes, &plan).await;
    let path = std::env::var("PATH").unwrap();
    let expected = format!("PATH={path}\0RCMD_JOB={}\0another\0-c\0", plan.job);
    assert!(seen.starts_with(&expected), "{seen:?}");
}

#[tokio::test]
async fn a_signal_reaches_the_whole_group() {
    let processes = Processes::new().unwrap();
    let mut started = start(&processes, &shell("sleep 600 & sleep 600 & echo ready; wait"));
    assert_eq!(started.line().await, "ready");
    started.process.signal_group(Signal::TERM);
    assert_eq!(started.rest().await, "");
    assert_eq!(started.process.exited().await, Ended::Signal(Signal::TERM));
}

#[tokio::test]
async fn nothing_is_signalled_once_the_process_is_reaped() {
    let processes = Processes::new().unwrap();
    let mut started = start(&processes, &shell("sleep 600 & echo $!; exit"));
    let in_group = started.pid_line().await;
    started.process.exited().await;
    started.process.reap();
    // The group lives on, and yet its number is not the job's to use.
    started.process.signal_group(Signal::KILL);
    assert_eq!(started.process.tree().kill().await.killed, 0);
    assert!(is_alive(in_group));
    rustix::process::kill_process(in_group, rustix::process::Signal::KILL).unwrap();
    assert_eq!(started.rest().await, "");
}

#[tokio::test]
async fn what_is_dropped_is_killed() {
    let processes = Processes::new().unwrap();
    let Started { process, stdout } = start(&processes, &shell("sleep 600 & echo ready; wait"));
    let mut started = Started { process, stdout };
    assert_eq!(started.line().await, "ready");
    let Started { process, mut stdout } = started;
    drop(process);
    let mut rest = Vec::new();
    timeout(DEADLINE, stdout.read_to_end(&mut rest))
        .await
        .expect("nothing holds the pipe")
        .unwrap();
}

#[tokio::test]
async fn a_fresh_process_is_never_taken_for_an_orphan() {
    let processes = Processes::new().unwrap();
    let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let reaper = thread::spawn({
        let over = std::sync::Arc::clone(&over);
        move || {
            while !over.load(Ordering::Relaxed) {
                children::reap_orphans();
                thread::yield_now();
            }
        }
    });
    for _ in 0..200 {
        let mut process = processes.spawn(&plan("/bin/true", &[])).unwrap();
        assert_eq!(process.exited().await, Ended::Code(0));
        process.reap();
    }
    over.store(true, Ordering::Relaxed);
    reaper.join().unwrap();
}

thread_local! {
    static FORKED: Cell<bool> = const { Cell::new(false) };
}

extern "C" fn note_fork() {
    FORKED.set(true);
}

#[tokio::test]
async fn starting_a_process_does_not_copy_the_server() {
    // fork(3) runs this handler, posix_spawn(3) does not.
    // SAFETY: the handler only sets a flag of its own thread.
    assert_eq!(unsafe { libc::pthread_atfork(Some(note_fork), None, None) }, 0);
    let processes = Processes::new().unwrap();
    assert_eq!(output_of(&processes, &shell("echo here")).await, "here\n");
    assert!(!FORKED.get());
}

fn failure(plan: &Plan) -> (ErrorKind, String) {
    let failure = Failure::from(spawn_error(plan));
    assert!(failure.hint.is_some());
    (failure.kind, failure.message)
}

fn spawn_error(plan: &Plan) -> SpawnError {
    Processes::new().unwrap().spawn(plan).expect_err("it can't start")
}

/// Why a script with this text and mode can't be run.
async fn script_failure(text: &str, mode: &str) -> (ErrorKind, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("script");
    script(&Processes::new().unwrap(), &path, text, mode).await;
    failure(&plan(path.to_str().unwrap(), &[]))
}

#[tokio::test]
async fn each_reason_not_to_start_is_told_from_the_others() {
    let (kind, message) = failure(&plan("/no/such\x1b[2J/program", &[]));
    assert_eq!(kind, ErrorKind::NotFound);
    assert_eq!(message, r#""/no/such\u{1b}[2J/program" does not exist"#);

    let (kind, message) = script_failure("x", "644").await;
    assert_eq!(kind, ErrorKind::NotExecutable);
    assert!(message.ends_with("permission denied"), "{message}");

    let (kind, message) = script_failure("echo hello\n", "755").await;
    assert_eq!(kind, ErrorKind::NotExecutable);
    assert!(message.ends_with("no #! line"), "{message}");

    let (kind, message) = script_failure("#! /no/sh -e\n", "755").await;
    assert_eq!(kind, ErrorKind::NotExecutable);
    assert!(message.ends_with(r#"its interpreter "/no/sh" does not exist"#), "{message}");

    let (kind, message) = failure(&plan("/bin/true", &["x".repeat(200 << 10).as_str()]));
    assert_eq!(kind, ErrorKind::TooBig);
    assert!(message.contains("/bin/true"), "{message}");

    for cwd in ["/no/such/folder", "/etc/passwd"] {
        let plan = Plan { cwd: cwd.into(), ..plan("/bin/true", &[]) };
        let (kind, message) = failure(&plan);
        assert_eq!(kind, ErrorKind::NoSuchDir);
        assert!(message.contains(cwd), "{message}");
    }
}

#[test]
fn a_host_that_is_out_of_something_is_no_fault_of_the_program() {
    let plan = plan("/bin/true", &[]);
    for errno in [libc::EMFILE, libc::ENFILE, libc::EAGAIN, libc::ENOMEM] {
        let error = SpawnError::of(&plan, std::io::Error::from_raw_os_error(errno));
        let failure = Failure::from(error);
        assert_eq!(failure.kind, ErrorKind::Resources);
        assert!(failure.retry_after_ms.is_some());
    }
}
