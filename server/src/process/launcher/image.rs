//! The image: all that a child needs, prepared before it exists.
#![allow(unsafe_code)]

use std::{
    cell::UnsafeCell,
    ffi::{CString, OsStr, c_char},
    io,
    mem::MaybeUninit,
    os::unix::ffi::OsStrExt as _,
    ptr,
};

use rustix::fd::RawFd;

use crate::process::plan::{Credentials, Handed, Plan};

/// The size of the child's stack in bytes; its deepest call takes a few hundred, in a debug build a
/// few thousand.
pub(super) const STACK: usize = 64 << 10;

/// All that a child needs, prepared before it exists. A child that shares the server's memory reads
/// this, and uses the stack, until it executes its program or ends: until then it must not be
/// freed.
pub(in crate::process) struct Image {
    pub(super) program: CString,
    pub(super) sealed: Option<RawFd>,
    pub(super) cwd: CString,
    pub(super) folder: Option<RawFd>,
    // The strings that `argv` and `envp` point into.
    _strings: Vec<CString>,
    pub(super) argv: Vec<*const c_char>,
    pub(super) envp: Vec<*const c_char>,
    pub(super) credentials: Option<Credentials>,
    pub(super) no_new_privs: bool,
    /// True if the child gets a copy of the server's memory instead of sharing it.
    pub(super) own_memory: bool,
    /// The child's standard input, output and error.
    pub(super) fds: [RawFd; 3],
    /// The pipe on which it reports a failure; its end means that the program is executing.
    pub(super) report: RawFd,
    /// The descriptors that the child keeps beside those, in the order of its own numbers, which
    /// begin with [`Handed::SOCKET`].
    pub(super) handed: Vec<RawFd>,
    /// The ranges, first and last, of descriptors that the child closes: all but those above.
    pub(super) closed: Vec<(u32, u32)>,
    pub(super) stack: Box<[MaybeUninit<UnsafeCell<u128>>]>,
}

// SAFETY: the pointers point into `_strings`, which is never changed and moves with them; only the
// child uses the stack.
unsafe impl Send for Image {}
// SAFETY: as above.
unsafe impl Sync for Image {}

/// The descriptors for a child, by their numbers in the server.
pub(super) struct Given {
    pub(super) fds: [RawFd; 3],
    pub(super) sealed: Option<RawFd>,
    pub(super) folder: Option<RawFd>,
    pub(super) report: RawFd,
    /// Numbers above those that they get in the child.
    pub(super) handed: Vec<RawFd>,
}

impl Image {
    /// Prepares the image for a plan.
    ///
    /// # Errors
    /// If a string contains a NUL.
    pub(super) fn new(plan: &Plan, given: Given) -> io::Result<Self> {
        let text = |text: &OsStr| CString::new(text.as_bytes()).map_err(io::Error::other);
        let mut strings = Vec::with_capacity(1 + plan.args.len() + plan.env.len());
        strings.push(text(&plan.arg0)?);
        for arg in &plan.args {
            strings.push(text(arg)?);
        }
        let arguments = strings.len();
        for (name, value) in &plan.env {
            let mut setting = Vec::with_capacity(name.len() + value.len() + 2);
            setting.extend_from_slice(name.as_bytes());
            setting.push(b'=');
            setting.extend_from_slice(value.as_bytes());
            strings.push(CString::new(setting).map_err(io::Error::other)?);
        }
        let pointers = |strings: &[CString]| {
            let strings = strings.iter().map(|string| string.as_ptr());
            strings.chain([ptr::null()]).collect::<Vec<_>>()
        };
        let (args, env) = strings.split_at_checked(arguments).unwrap_or_default();
        let (argv, envp) = (pointers(args), pointers(env));
        let Given { fds, sealed, folder, report, handed } = given;
        let kept = [Some(report), sealed, folder].into_iter().flatten();
        let closed = all_but(kept.chain((Handed::SOCKET..).take(handed.len())));
        Ok(Self {
            program: text(plan.program.as_os_str())?,
            sealed,
            cwd: text(plan.cwd.as_os_str())?,
            folder,
            _strings: strings,
            argv,
            envp,
            credentials: plan.credentials.clone(),
            no_new_privs: plan.no_new_privs,
            own_memory: false,
            fds,
            report,
            handed,
            closed,
            stack: Box::new_uninit_slice(STACK / size_of::<u128>()),
        })
    }
}

/// Returns the ranges of descriptors above 2 without those in `kept`.
fn all_but(kept: impl Iterator<Item = RawFd>) -> Vec<(u32, u32)> {
    let mut kept: Vec<u32> = kept.filter_map(|fd| u32::try_from(fd).ok()).collect();
    kept.sort_unstable();
    let mut closed = Vec::with_capacity(kept.len() + 1);
    let mut first = 3;
    for fd in kept {
        if fd > first {
            closed.push((first, fd - 1));
        }
        first = first.max(fd + 1);
    }
    closed.push((first, u32::MAX));
    closed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_descriptors_but_those_that_are_kept_are_closed() {
        let closed = |kept: &[RawFd]| all_but(kept.iter().copied());
        assert_eq!(closed(&[]), [(3, u32::MAX)]);
        assert_eq!(closed(&[9, 4]), [(3, 3), (5, 8), (10, u32::MAX)]);
        assert_eq!(closed(&[3, 4, 4]), [(5, u32::MAX)]);
    }
}
