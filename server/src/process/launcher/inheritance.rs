//! The descriptors that a process of the server's own program was handed over, on the process's
//! side.
#![allow(unsafe_code)]

use std::{io, os::unix::net::UnixStream};

use nix::libc;
use rustix::fd::{FromRawFd as _, OwnedFd, RawFd};

use crate::process::plan::Handed;

/// What was handed over to this process, to be taken once.
#[derive(Debug)]
pub struct Inheritance {
    next: RawFd,
}

impl Inheritance {
    /// Returns what was handed over, if this is called before the process has opened anything.
    pub fn of_a_new_process() -> Self {
        Self { next: Handed::SOCKET }
    }

    /// Takes the socket to the server.
    ///
    /// # Errors
    /// If there is none: the process was not started by a server.
    pub fn socket(&mut self) -> io::Result<UnixStream> {
        self.take().map(UnixStream::from)
    }

    /// Takes the folders behind it, at most [`Handed::FOLDERS`].
    ///
    /// # Errors
    /// If there are fewer.
    pub fn folders(&mut self, count: usize) -> io::Result<Vec<OwnedFd>> {
        (0..count.min(Handed::FOLDERS)).map(|_| self.take()).collect()
    }

    fn take(&mut self) -> io::Result<OwnedFd> {
        let number = self.next;
        self.next += 1;
        // SAFETY: a number, which need not be that of an open descriptor.
        if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: something is open under this number, and nothing in this process has opened it:
        // the starter has handed it over, and each number is taken once.
        Ok(unsafe { OwnedFd::from_raw_fd(number) })
    }
}
