//! Tests of starting, ending and reaping.
#![allow(unsafe_code)]

use std::{sync::atomic::AtomicBool, thread};

use nix::libc;
use rcmd_protocol::{
    outcome::{ErrorKind, WireError},
    signal::Signal,
};

use super::{super::children, *};
use crate::process::{ProcessExit, SpawnError, exit::Watch, launcher::Failed};

over_both! {
    the_status_is_the_commands_own,
    a_signal_is_told_from_a_status,
    an_end_is_seen_again_until_the_process_is_reaped,
    an_end_is_seen_without_a_descriptor_too,
    bytes_go_in_and_come_out,
    a_command_without_input_reads_nothing,
    program_name_arguments_and_environment_are_exact,
    a_signal_reaches_the_whole_group,
    nothing_is_signalled_once_the_process_is_reaped,
    what_is_dropped_is_killed,
    a_fresh_process_is_never_taken_for_an_orphan,
    starting_a_process_does_not_copy_the_server,
    each_reason_not_to_start_is_told_from_the_others,
}

async fn ended(line: &str) -> ProcessExit {
    let processes = processes();
    let mut process = processes.spawn(&shell(line), IDENTITY, &CALLED_OFF_NEVER).await.unwrap();
    let ended = timeout(DEADLINE, process.exited()).await.unwrap();
    process.reap();
    ended
}

async fn the_status_is_the_commands_own() {
    assert_eq!(ended("exit 0").await, ProcessExit::Code(0));
    assert_eq!(ended("exit 7").await, ProcessExit::Code(7));
    assert_eq!(ended("exit 255").await, ProcessExit::Code(255));
}

async fn a_signal_is_told_from_a_status() {
    // Not one of those that a shell or nohup(1) may have left ignored for the tests.
    for number in [9, 10, 15, 64] {
        let signal = Signal::from_number(number).unwrap();
        assert_eq!(ended(&format!("kill -{number} $$")).await, ProcessExit::Signal(signal));
    }
}

async fn an_end_is_seen_again_until_the_process_is_reaped() {
    let processes = processes();
    let mut process = processes.spawn(&shell("exit 3"), IDENTITY, &CALLED_OFF_NEVER).await.unwrap();
    let pid = Pid::from_raw(process.pid()).unwrap();
    assert_eq!(process.exited().await, ProcessExit::Code(3));
    assert_eq!(process.exited().await, ProcessExit::Code(3));
    let seen = proc_fs::stat(pid).expect("it keeps its pid");
    assert!(!seen.alive);
    process.reap();
    assert_ne!(proc_fs::stat(pid), Some(seen));
    assert_eq!(process.exited().await, ProcessExit::Lost);
}

async fn an_end_is_seen_without_a_descriptor_too() {
    let processes = processes();
    let mut plan = shell("read line; exit 5");
    plan.stdin = true;
    let mut process = processes.spawn(&plan, IDENTITY, &CALLED_OFF_NEVER).await.unwrap();
    let watch = Watch::Looking(Pid::from_raw(process.pid()).unwrap());
    let (ended, ()) = tokio::join!(watch.ended(), async { drop(process.stdin.take()) });
    assert_eq!(ended, ProcessExit::Code(5));
}

async fn bytes_go_in_and_come_out() {
    let processes = processes();
    let mut plan = plan("/bin/cat", &[]);
    plan.stdin = true;
    let mut started = start(&processes, &plan).await;
    let mut stdin = started.process.stdin.take().unwrap();
    assert_eq!(stdin.write(b"one\ntwo\n").await.unwrap(), 8);
    assert_eq!(started.line().await, "one");
    drop(stdin);
    assert_eq!(started.rest().await, "two\n");
    assert_eq!(started.process.exited().await, ProcessExit::Code(0));
}

async fn a_command_without_input_reads_nothing() {
    let processes = processes();
    assert_eq!(output_of(&processes, &shell("cat; readlink /proc/self/fd/0")).await, "/dev/null\n");
}

async fn program_name_arguments_and_environment_are_exact() {
    let processes = processes();
    let mut plan = plan("/bin/sh", &["-c", r#"printf '<%s>' "$0" "$@""#, "", "a b", "*", "\n"]);
    plan.arg0 = "another".into();
    assert_eq!(output_of(&processes, &plan).await, "<><a b><*><\n>");
    plan.args = vec!["-c".into(), "cat /proc/$$/environ; cat /proc/$$/cmdline; :".into()];
    let seen = output_of(&processes, &plan).await;
    let path = std::env::var("PATH").unwrap();
    let settings = [format!("PATH={path}\0"), format!("RCMD_JOB={}\0", plan.job)];
    // The standard library sorts them.
    let environment = [settings.concat(), [&*settings[1], &settings[0]].concat()];
    let expected = environment.map(|environment| environment + "another\0-c\0");
    assert!(expected.iter().any(|expected| seen.starts_with(expected)), "{seen:?}");
}

async fn a_signal_reaches_the_whole_group() {
    let processes = processes();
    let mut started = start(&processes, &shell("sleep 600 & sleep 600 & echo ready; wait")).await;
    assert_eq!(started.line().await, "ready");
    started.process.signal_group(Signal::TERM);
    assert_eq!(started.rest().await, "");
    assert_eq!(started.process.exited().await, ProcessExit::Signal(Signal::TERM));
}

async fn nothing_is_signalled_once_the_process_is_reaped() {
    let processes = processes();
    let mut started = start(&processes, &shell("sleep 600 & echo $!; exit")).await;
    let in_group = started.pid_line().await;
    started.process.exited().await;
    started.process.reap();
    // The group lives on, but its number is no longer the job's to use.
    started.process.signal_group(Signal::KILL);
    assert_eq!(started.process.tree().kill().await.killed, 0);
    assert!(is_alive(in_group));
    rustix::process::kill_process(in_group, rustix::process::Signal::KILL).unwrap();
    assert_eq!(started.rest().await, "");
}

async fn what_is_dropped_is_killed() {
    let processes = processes();
    let Started { process, stdout } =
        start(&processes, &shell("sleep 600 & echo ready; wait")).await;
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

async fn a_fresh_process_is_never_taken_for_an_orphan() {
    let processes = processes();
    let over = std::sync::Arc::new(AtomicBool::new(false));
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
        let mut process =
            processes.spawn(&plan("/bin/true", &[]), IDENTITY, &CALLED_OFF_NEVER).await.unwrap();
        assert_eq!(process.exited().await, ProcessExit::Code(0));
        process.reap();
    }
    over.store(true, Ordering::Relaxed);
    reaper.join().unwrap();
}

static FORKED: AtomicBool = AtomicBool::new(false);

extern "C" fn note_fork() {
    FORKED.store(true, Ordering::Relaxed);
}

async fn starting_a_process_does_not_copy_the_server() {
    // fork(3) runs this handler; posix_spawn(3) does not.
    // SAFETY: the handler only sets a flag.
    assert_eq!(unsafe { libc::pthread_atfork(Some(note_fork), None, None) }, 0);
    let processes = processes();
    assert_eq!(output_of(&processes, &shell("echo here")).await, "here\n");
    assert!(!FORKED.load(Ordering::Relaxed));
}

async fn failure(plan: &Plan) -> (ErrorKind, String) {
    let failure = WireError::from(spawn_error(plan).await);
    assert!(failure.hint.is_some());
    (failure.kind, failure.message)
}

async fn spawn_error(plan: &Plan) -> SpawnError {
    processes().spawn(plan, IDENTITY, &CALLED_OFF_NEVER).await.expect_err("it can't start")
}

/// Returns the reason why a script with this text and mode can't be run.
async fn script_failure(text: &str, mode: &str) -> (ErrorKind, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("script");
    script(&processes(), &path, text, mode).await;
    failure(&plan(path.to_str().unwrap(), &[])).await
}

async fn each_reason_not_to_start_is_told_from_the_others() {
    let (kind, message) = failure(&plan("/no/such\x1b[2J/program", &[])).await;
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

    let (kind, message) = script_failure("#!/etc/passwd\n", "755").await;
    assert_eq!(kind, ErrorKind::NotExecutable);
    let expected = r#"its interpreter "/etc/passwd" can't be executed: permission denied"#;
    assert!(message.ends_with(expected), "{message}");

    let (kind, message) = failure(&plan("/bin/true", &["x".repeat(200 << 10).as_str()])).await;
    assert_eq!(kind, ErrorKind::TooBig);
    assert!(message.contains("/bin/true"), "{message}");

    for cwd in ["/no/such/folder", "/etc/passwd"] {
        let plan = Plan { cwd: cwd.into(), ..plan("/bin/true", &[]) };
        let (kind, message) = failure(&plan).await;
        assert_eq!(kind, ErrorKind::NoSuchDir);
        assert!(message.contains(cwd), "{message}");
    }
}

#[test]
fn a_host_that_is_out_of_something_is_no_fault_of_the_program() {
    let plan = plan("/bin/true", &[]);
    for errno in [libc::EMFILE, libc::ENFILE, libc::EAGAIN, libc::ENOMEM] {
        let error = std::io::Error::from_raw_os_error(errno);
        let failure = WireError::from(SpawnError::at(&plan, Failed::at_clone(error)));
        assert_eq!(failure.kind, ErrorKind::Resources);
        assert!(failure.retry_after_ms.is_some());
    }
}
