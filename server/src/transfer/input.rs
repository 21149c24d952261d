//! The standard input of a transfer: a signal ends it, so that the transfer can clean up.

use std::{
    fs::File,
    io::{self, Read},
    thread,
};

use nix::sys::signal::{SigSet, Signal};
use rcmd_transfer::Cancel;
use rustix::{
    event::{PollFd, PollFlags, poll},
    fd::OwnedFd,
    pipe::{PipeFlags, pipe_with},
};

/// The standard input, until a signal comes.
#[derive(Debug)]
pub(super) struct Input {
    stream: File,
    /// A pipe that nothing is written to; its other end is closed by a signal.
    ended: OwnedFd,
}

impl Input {
    /// Returns the input, which SIGINT, SIGTERM and SIGHUP end, as they end the transfer. To be
    /// called before the process has a second thread.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(super) fn until_signal(stream: File, cancel: Cancel) -> io::Result<Self> {
        let mut signals = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            signals.add(signal);
        }
        signals.thread_block()?;
        let (ended, held) = pipe_with(PipeFlags::CLOEXEC)?;
        let thread = thread::Builder::new().name("signals".to_owned());
        thread.spawn(move || {
            // An error means that no signal can be waited for, and none is blocked then either.
            let _ = signals.wait();
            cancel.cancel();
            drop(held);
        })?;
        Ok(Self { stream, ended })
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut polled =
            [PollFd::new(&self.stream, PollFlags::IN), PollFd::new(&self.ended, PollFlags::IN)];
        poll(&mut polled, None)?;
        let [_, ended] = &polled;
        if !ended.revents().is_empty() {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "a signal came"));
        }
        self.stream.read(buffer)
    }
}
