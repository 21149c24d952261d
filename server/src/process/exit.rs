//! Detecting that a process has ended, without reaping it.
#![allow(unsafe_code)]

use std::time::Duration;

use rcmd_protocol::signal::Signal;
use rustix::{
    fd::{AsFd as _, OwnedFd},
    process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus, pidfd_open, waitid},
};
use tokio::io::{Interest, unix::AsyncFd};

/// The time between two looks at a process without a descriptor.
const LOOK: Duration = Duration::from_millis(20);

/// The end of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProcessExit {
    /// The process exited with this status.
    Code(u8),
    /// A signal ended the process.
    Signal(Signal),
    /// The status is unknown: another has taken it, which is a fault of the server.
    Lost,
}

/// A watch that waits for one process to end, without taking its status.
#[derive(Debug)]
pub(super) enum Watch {
    /// Waiting by the process's pidfd (pidfd_open(2)), which is readable once it has ended.
    Pidfd(AsyncFd<OwnedFd>),
    /// Polling, because the host had no descriptor left after the process was started.
    Looking(Pid),
}

impl Watch {
    /// Watches a child that is not reaped, by the descriptor `pidfd` if there is one.
    pub(super) fn new(pid: Pid, pidfd: Option<OwnedFd>) -> Self {
        let pidfd = pidfd.or_else(|| pidfd_open(pid, PidfdFlags::NONBLOCK).ok());
        let Some(pidfd) = pidfd else { return Self::Looking(pid) };
        // SAFETY: an OwnedFd always gives the same descriptor and keeps it open as long as it lives.
        let registered = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) };
        registered.map_or(Self::Looking(pid), Self::Pidfd)
    }

    /// Waits for the end. Returns the same again afterwards.
    pub(super) async fn ended(&self) -> ProcessExit {
        loop {
            let seen = match self {
                Self::Pidfd(pidfd) => {
                    let Ok(mut ready) = pidfd.readable().await else { return ProcessExit::Lost };
                    let seen = self.look(WaitIdOptions::NOWAIT);
                    if matches!(seen, Ok(None)) {
                        ready.clear_ready();
                    }
                    seen
                }
                Self::Looking(_) => {
                    let seen = self.look(WaitIdOptions::NOWAIT);
                    if matches!(seen, Ok(None)) {
                        tokio::time::sleep(LOOK).await;
                    }
                    seen
                }
            };
            match seen {
                Ok(None) => {}
                Ok(Some(status)) => return ProcessExit::of(&status),
                Err(_) => return ProcessExit::Lost,
            }
        }
    }

    /// Returns how the process has ended, if it has.
    pub(super) fn has_ended(&self) -> Option<ProcessExit> {
        let seen = self.look(WaitIdOptions::NOWAIT).ok()?;
        seen.as_ref().map(ProcessExit::of)
    }

    fn look(&self, options: WaitIdOptions) -> rustix::io::Result<Option<WaitIdStatus>> {
        let id = match self {
            Self::Pidfd(pidfd) => WaitId::PidFd(pidfd.get_ref().as_fd()),
            Self::Looking(pid) => WaitId::Pid(*pid),
        };
        waitid(id, options | WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
    }
}

impl ProcessExit {
    fn of(status: &WaitIdStatus) -> Self {
        let code = status.exit_status().and_then(|code| u8::try_from(code).ok()).map(Self::Code);
        let signal = || status.terminating_signal().and_then(Signal::from_number).map(Self::Signal);
        code.or_else(signal).unwrap_or(Self::Lost)
    }
}
