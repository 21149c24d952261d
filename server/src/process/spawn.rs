//! The portable way to make a process: `tokio::process`, on std's posix_spawn path.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::OwnedFd,
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use rcmd_protocol::{
    outcome::{ErrorKind, Failure},
    signal::Signal,
};
use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    signal::unix::{SignalKind, signal},
};

use super::{
    leaders::Leaders,
    plan::Plan,
    resolve::{enter, no_such_dir, not_executable},
    tree::{Sweeper, Tree},
};

/// Makes processes and looks after what they leave behind.
#[derive(Clone, Debug)]
pub struct Processes {
    leaders: Arc<Leaders>,
    sweeper: Sweeper,
}

impl Processes {
    /// Starts the thread that looks after trees and orphans.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn new() -> io::Result<Self> {
        let leaders = Arc::new(Leaders::default());
        Ok(Self { sweeper: Sweeper::start(Arc::clone(&leaders))?, leaders })
    }

    /// Reaps orphans as they end, for ever. A burst of ends costs one look at the children.
    ///
    /// # Errors
    /// When SIGCHLD can't be listened to.
    pub async fn reap_orphans(self) -> io::Result<()> {
        let mut ended = signal(SignalKind::child())?;
        while ended.recv().await.is_some() {
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.sweeper.reap();
        }
        Ok(())
    }

    /// Makes a process.
    ///
    /// # Errors
    /// Why it could not be made, told apart by what the user can do about it.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn(&self, plan: &Plan) -> Result<Process, SpawnError> {
        let _making = self.leaders.making();
        let mut command = Command::new(&plan.program);
        command
            .arg0(&plan.arg0)
            .args(&plan.args)
            .env_clear()
            .envs(plan.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&plan.cwd)
            .process_group(0)
            .stdin(if plan.stdin { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| SpawnError::of(plan, error))?;
        let watched = watch(&child);
        let (pid, exit) = match watched {
            Ok(watched) => watched,
            Err(error) => {
                let _ = child.start_kill();
                return Err(SpawnError::of(plan, error));
            }
        };
        self.leaders.add(pid.as_raw_nonzero().get());
        Ok(Process {
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
            child,
            pid,
            exit,
            tree: self.sweeper.tree(pid, &plan.job),
            leaders: Arc::clone(&self.leaders),
            reaped: false,
        })
    }
}

fn watch(child: &Child) -> io::Result<(Pid, AsyncFd<OwnedFd>)> {
    let gone = || io::Error::from(Errno::SRCH);
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).ok_or_else(gone)?;
    let pid = Pid::from_raw(pid).ok_or_else(gone)?;
    let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK)?;
    // SAFETY: the pidfd is owned, and nothing else closes it or puts another in its place.
    let exit = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) };
    let exit = exit.map_err(io::Error::from)?;
    Ok((pid, exit))
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// With this status.
    Code(u8),
    /// By this signal.
    Signal(Signal),
    /// The kernel does not say.
    Lost,
}

/// A process of ours that was not reaped: its pid and its group stay ours until it is.
#[derive(Debug)]
pub struct Process {
    /// Its standard input, if it has a pipe.
    pub stdin: Option<ChildStdin>,
    /// Its standard output.
    pub stdout: Option<ChildStdout>,
    /// Its standard error.
    pub stderr: Option<ChildStderr>,
    child: Child,
    pid: Pid,
    exit: AsyncFd<OwnedFd>,
    tree: Tree,
    leaders: Arc<Leaders>,
    reaped: bool,
}

impl Process {
    /// Its number.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Waits for its end, which it does not reap.
    ///
    /// # Cancel safety
    /// Nothing is lost; another call waits on.
    pub async fn exited(&mut self) -> Ended {
        loop {
            let Ok(mut ready) = self.exit.readable().await else { return Ended::Lost };
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
            match waitid(WaitId::Pid(self.pid), options) {
                Ok(Some(status)) => {
                    return match (status.exit_status(), status.terminating_signal()) {
                        (Some(code), _) => u8::try_from(code & 0xff).map_or(Ended::Lost, Ended::Code),
                        (None, Some(signal)) => {
                            Signal::from_number(signal).map_or(Ended::Lost, Ended::Signal)
                        }
                        (None, None) => Ended::Lost,
                    };
                }
                Ok(None) | Err(Errno::INTR) => ready.clear_ready(),
                Err(_) => return Ended::Lost,
            }
        }
    }

    /// Sends a signal to its process group.
    pub fn signal_group(&self, signal: Signal) {
        // Unreaped, the leader keeps the group's number from being used again.
        // SAFETY: a plain system call; nix and rustix know no real-time signals.
        unsafe { nix::libc::kill(-self.pid(), signal.number()) };
    }

    /// The way to its tree.
    pub fn tree(&self) -> Tree {
        self.tree.clone()
    }

    /// Gives its number back. To be called when it has ended and its tree is dealt with.
    pub fn reap(&mut self) {
        let (pid, child) = (self.pid(), &mut self.child);
        self.reaped = self.leaders.remove(pid, || matches!(child.try_wait(), Ok(Some(_)) | Err(_)));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped {
            // A job that was dropped whole, as when the runtime ends: leave nothing running.
            self.signal_group(Signal::KILL);
            self.reap();
        }
    }
}

/// Why a process could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SpawnError(Failure);

impl From<SpawnError> for Failure {
    fn from(error: SpawnError) -> Self {
        error.0
    }
}

impl SpawnError {
    fn of(plan: &Plan, error: io::Error) -> Self {
        // posix_spawn gives one errno for the folder and the program; look which it was.
        if let Err(error) = enter(&plan.cwd) {
            return Self(no_such_dir(&plan.cwd, &error));
        }
        let failure = match Errno::from_io_error(&error) {
            Some(Errno::TOOBIG) => {
                Failure::new(ErrorKind::TooBig, "arguments and environment are too big for the kernel")
                    .hint("Nothing ran; send large input on standard input, or in a file.")
            }
            Some(Errno::NOENT) if plan.program.exists() => {
                not_executable(&plan.program, "the interpreter in its #! line does not exist")
            }
            Some(Errno::NOENT | Errno::NOTDIR) => {
                Failure::new(ErrorKind::NotFound, format!("{:?} does not exist", plan.program))
                    .hint("Name a program that exists on the host.")
            }
            Some(Errno::NOEXEC) => {
                not_executable(&plan.program, "it is neither a binary for this machine nor a script with a #! line")
            }
            Some(Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE) => {
                Failure::new(ErrorKind::Resources, format!("no process could be made: {error}"))
                    .hint("Nothing ran; the host is short of processes, descriptors or memory. Try again later.")
                    .retry_after_ms(1000)
            }
            _ => not_executable(&plan.program, &error.to_string()),
        };
        Self(failure)
    }
}
