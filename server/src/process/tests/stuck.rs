//! Tests of starts whose program can't be opened: here because another process holds a lease on it,
//! which the kernel gives that process up to 45 s to release (fcntl(2)).
#![allow(unsafe_code)]

use std::{
    fs::{self, File},
    os::{fd::AsRawFd as _, unix::fs::PermissionsExt as _},
};

use nix::libc;
use rcmd_protocol::outcome::{ErrorKind, WireError};
use tokio::task::JoinSet;

use super::*;
use crate::process::{
    SpawnError, children,
    launcher::{self, PLACES},
};

over_both! {
    a_child_that_does_not_execute_in_time_is_killed,
    a_start_that_is_called_off_is_given_up_at_once,
    a_start_that_is_dropped_leaves_nothing,
    stuck_starts_of_one_identity_hold_up_no_other,
    what_can_not_execute_its_program_holds_nothing_of_the_server,
    a_stuck_child_keeps_no_orphan_from_being_reaped,
}

/// The command that selects the signal which notifies the holder of a lease (fcntl(2)).
const F_SETSIG: libc::c_int = 10;

/// A program that can't be executed while this lives.
pub(super) struct LeasedProgram {
    folder: tempfile::TempDir,
    _leased: File,
}

impl LeasedProgram {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let path = folder.path().join("program");
        fs::copy("/bin/true", &path).unwrap();
        let leased = File::open(path).unwrap();
        // SAFETY: only numbers. The holder of a lease is notified of an open by SIGIO, whose
        // default action ends it, unless it selects another signal: here one that is ignored.
        unsafe {
            assert_eq!(libc::fcntl(leased.as_raw_fd(), F_SETSIG, libc::SIGURG), 0);
            // A child of another test may have the file open for writing for a moment, as this
            // process had.
            let until = std::time::Instant::now() + DEADLINE;
            while libc::fcntl(leased.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) != 0 {
                let error = std::io::Error::last_os_error();
                assert!(std::time::Instant::now() < until, "no lease: {error}");
                std::thread::yield_now();
            }
        }
        Self { folder, _leased: leased }
    }

    /// Returns the folder that contains it, which its starts enter.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn plan(&self) -> Plan {
        let path = self.folder().join("program");
        Plan { cwd: self.folder().to_owned(), trusted: false, ..plan(path.to_str().unwrap(), &[]) }
    }
}

/// Returns the processes below this one that have entered this folder.
fn all_in(folder: &Path) -> Vec<Pid> {
    let own = proc_fs::children(rustix::process::getpid());
    let in_it = |pid: &Pid| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|at| at == folder);
    own.into_iter().filter(in_it).collect()
}

/// Returns the child that waits in this folder to execute its program.
pub(super) async fn waiting_in(folder: &Path) -> Pid {
    until("a child waits", || !all_in(folder).is_empty()).await;
    all_in(folder)[0]
}

pub(super) async fn nothing_is_left_in(folder: &Path) {
    until("what was given up is gone", || all_in(folder).iter().all(|pid| !is_alive(*pid))).await;
}

async fn a_child_that_does_not_execute_in_time_is_killed() {
    let (leased, mut processes) = (LeasedProgram::new(), processes());
    processes.starter.patience = Duration::from_millis(300);
    let error = processes.spawn(&leased.plan(), IDENTITY, &CALLED_OFF_NEVER).await.unwrap_err();
    assert!(matches!(error, SpawnError::Stuck(_)), "{error:?}");
    assert!(!error.may_have_run());
    assert_eq!(WireError::from(error).kind, ErrorKind::Resources);
    nothing_is_left_in(leased.folder()).await;
}

async fn a_start_that_is_called_off_is_given_up_at_once() {
    let (leased, processes) = (LeasedProgram::new(), processes());
    let (plan, off) = (leased.plan(), CancellationToken::new());
    let calling_off = async {
        waiting_in(leased.folder()).await;
        off.cancel();
    };
    let (started, ()) = tokio::join!(processes.spawn(&plan, IDENTITY, &off), calling_off);
    let error = started.unwrap_err();
    assert!(matches!(error, SpawnError::CalledOff(_)), "{error:?}");
    nothing_is_left_in(leased.folder()).await;
}

async fn a_start_that_is_dropped_leaves_nothing() {
    let (leased, processes) = (LeasedProgram::new(), processes());
    let plan = leased.plan();
    tokio::select! {
        started = processes.spawn(&plan, IDENTITY, &CALLED_OFF_NEVER) => {
            panic!("{:?}", started.map(|process| process.pid()))
        }
        _ = waiting_in(leased.folder()) => {}
    }
    nothing_is_left_in(leased.folder()).await;
}

/// Begins starts that wait, as many as one identity may have, and one more.
fn fill(processes: &Processes, leased: &LeasedProgram) -> JoinSet<Result<Process, SpawnError>> {
    let mut stuck = JoinSet::new();
    for _ in 0..=PLACES {
        let (processes, plan) = (processes.clone(), leased.plan());
        stuck.spawn(async move { processes.spawn(&plan, "greedy", &CALLED_OFF_NEVER).await });
    }
    stuck
}

async fn stuck_starts_of_one_identity_hold_up_no_other() {
    let (leased, mut processes) = (LeasedProgram::new(), processes());
    let mut running = start(&processes, &shell("echo ready; exec sleep 600")).await;
    assert_eq!(running.line().await, "ready");
    processes.starter.patience = DEADLINE;
    let mut stuck = fill(&processes, &leased);
    until("all its places are taken", || all_in(leased.folder()).len() == PLACES).await;
    // Other starts are not affected.
    assert_eq!(output_of(&processes, &shell("echo here")).await, "here\n");
    assert_eq!(all_in(leased.folder()).len(), PLACES);
    assert_eq!(running.process.tree().kill().await.killed, 1);
    assert_eq!(running.rest().await, "");
    stuck.shutdown().await;
    nothing_is_left_in(leased.folder()).await;
    // The identity's places are free again.
    drop(leased);
    until("they are gone", || {
        children::reap_orphans();
        launcher::collect();
        processes.starter.has_no_starts_of("greedy")
    })
    .await;
}

async fn what_can_not_execute_its_program_holds_nothing_of_the_server() {
    let (leased, processes) = (LeasedProgram::new(), processes());
    let plan = leased.plan();
    let looking = async {
        let child = waiting_in(leased.folder()).await;
        let open = fs::read_dir(format!("/proc/{child}/fd")).unwrap();
        let paths = open.map(|entry| fs::read_link(entry.unwrap().path()).unwrap());
        let mut kinds: Vec<_> = paths.map(|path| path.display().to_string()).collect();
        kinds.sort();
        kinds
    };
    tokio::select! {
        started = processes.spawn(&plan, IDENTITY, &CALLED_OFF_NEVER) => {
            panic!("{:?}", started.map(|process| process.pid()))
        }
        open = looking => {
            // Its own three, and the pipe on which it reports the result.
            assert_eq!((open.len(), open[0].as_str()), (4, "/dev/null"), "{open:?}");
            assert!(open[1..].iter().all(|path| path.starts_with("pipe:")), "{open:?}");
        }
    }
}

/// Starts a command that leaves an orphan, checks that this is reaped, and ends the command.
pub(super) async fn orphans_are_reaped(processes: &Processes) {
    let mut started = start(processes, &shell("(setsid true & echo $!) & wait; sleep 600")).await;
    let orphan = started.pid_line().await;
    until("the orphan is reaped", || {
        children::reap_orphans();
        proc_fs::stat(orphan).is_none()
    })
    .await;
    started.process.tree().kill().await;
    started.process.reap();
}

async fn a_stuck_child_keeps_no_orphan_from_being_reaped() {
    let (leased, processes) = (LeasedProgram::new(), processes());
    let plan = leased.plan();
    let reaping = async {
        waiting_in(leased.folder()).await;
        orphans_are_reaped(&processes).await;
    };
    tokio::select! {
        started = processes.spawn(&plan, IDENTITY, &CALLED_OFF_NEVER) => {
            panic!("{:?}", started.map(|process| process.pid()))
        }
        () = reaping => {}
    }
}
