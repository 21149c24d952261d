//! Seeing that a process has ended, without reaping it.
#![allow(unsafe_code)]

use std::time::Duration;

use rcmd_protocol::signal::Signal;
use rustix::{
    fd::{AsFd as _, OwnedFd},
    process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus, pidfd_open, waitid},
};
use tokio::io::{Interest, unix::AsyncFd};

/// Time between two looks at a process that there was no descriptor for.
const LOOK: Duration = Duration::from_millis(20);

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProcessExit {
    /// With a status of its own.
    Code(u8),
    /// By a signal.
    Signal(Signal),
    /// Nobody can say: something else has taken the status, which is a fault in the server.
    Lost,
}

/// Waits for one process to end. Its status stays where it is.
#[derive(Debug)]
pub(super) enum Watch {
    /// By its pidfd (pidfd_open(2)), which is readable from its end on.
    Pidfd(AsyncFd<OwnedFd>),
    /// By looking, when the host had no descriptor left after the process was started.
    Looking(Pid),
}

impl Watch {
    /// Watches a child that is not reaped, by the descriptor that came with it if there is one.
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

    /// Returns how it has ended, if it has.
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
