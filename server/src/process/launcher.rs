//! Starting a process by clone3(2), without the C library between fork and exec.
//!
//! The child shares the server's memory until it executes (CLONE_VM|CLONE_VFORK), so that it must
//! allocate nothing, take no lock and call nothing that does: all it needs lies in an [`Image`], it
//! has a stack of its own, and it makes raw system calls. The C library's set*id functions would
//! signal all threads of the server, and are not used. It tells where it failed through the memory
//! that it shares.
#![allow(unsafe_code)]

mod child;
mod clone;
mod image;
mod stage;

use std::{
    io,
    sync::atomic::{AtomicI32, AtomicU32, Ordering},
};

use nix::{
    libc,
    sys::signal::{SigSet, SigmaskHow},
};
use rustix::{
    fd::{AsFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
    process::{Pid, WaitId, WaitIdOptions, waitid},
};

pub(super) use self::{
    clone::{Stack, has_clone3},
    image::Image,
    stage::{Failed, Stage},
};
use self::{
    clone::{clone, clone3},
    image::Shared,
};

/// A child that has executed its program.
#[derive(Debug)]
pub(super) struct Cloned {
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
}

impl Image {
    /// Starts it, in a cgroup if there is one, and returns when it has executed its program or could
    /// not. It blocks for as long as that takes: not for a worker of the runtime.
    ///
    /// # Errors
    /// Where and why it failed. Nothing is left then.
    pub(super) fn start(
        &self,
        cgroup: Option<BorrowedFd<'_>>,
        stack: &mut Stack,
    ) -> Result<Cloned, Failed> {
        let mut pidfd: RawFd = -1;
        let shared = Shared { image: self, stage: AtomicU32::new(0), errno: AtomicI32::new(0) };
        // A handler of the server's would run in the child.
        let mask = SigSet::all()
            .thread_swap_mask(SigmaskHow::SIG_SETMASK)
            .unwrap_or_else(|_| SigSet::empty());
        let cloned = clone3(&shared, cgroup, stack, &mut pidfd);
        // Some container profiles answer as a kernel without clone3 would. The older call knows no
        // cgroup, and keeps handlers, which the child resets itself.
        let cloned = match cloned {
            Err(error) if cgroup.is_none() && error.raw_os_error() == Some(libc::ENOSYS) => {
                clone(&shared, stack, &mut pidfd)
            }
            cloned => cloned,
        };
        let _ = mask.thread_set_mask();
        let pid = cloned.map_err(|error| Failed { stage: Stage::Clone, error })?;
        // SAFETY: the kernel has put a new descriptor there, which nobody else knows of.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        let at = shared.stage.load(Ordering::Acquire);
        let Some(&stage) = Stage::ALL.iter().find(|stage| **stage as u32 == at) else {
            return Ok(Cloned { pid, pidfd });
        };
        // It has ended, or does so without another step.
        let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
        let error = io::Error::from_raw_os_error(shared.errno.load(Ordering::Acquire));
        Err(Failed { stage, error })
    }
}
