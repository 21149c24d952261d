//! The server's ends of a command's standard input and output.
//!
//! Each end is an enum with one variant for each kind of file that a command may have there. The
//! comments on the methods describe how a terminal would behave: it would be another variant,
//! without a change to the readers and writers of these ends. A read costs no allocation and no
//! dynamic dispatch.
#![expect(
    clippy::disallowed_methods,
    reason = "any thread, since the kernel answers by itself; environments are for the threads `marks`"
)]

use std::{fs::File, io};

use bytes::BufMut;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::OwnedFd,
    io::{ioctl_fionbio, ioctl_fionread},
    pipe::{PipeFlags, pipe_with},
};
use tokio::{io::AsyncWriteExt as _, net::unix::pipe};

/// The end that a command's output is read from.
#[derive(Debug)]
pub enum ReadEnd {
    /// A pipe.
    Pipe(pipe::Receiver),
}

/// The end that a command's input is written to. Dropping it ends the input; a terminal would be
/// sent its end-of-file character instead.
#[derive(Debug)]
pub enum WriteEnd {
    /// A pipe.
    Pipe(pipe::Sender),
}

impl ReadEnd {
    /// Makes a pipe. Returns the server's end and the command's end.
    ///
    /// # Errors
    /// If no descriptor is left.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O.
    pub(super) fn pipe() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = report()?;
        Ok((Self::Pipe(ours), theirs))
    }

    /// Waits until there is something to read, or the end is reached.
    ///
    /// # Errors
    /// If the runtime shuts down.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is read.
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Pipe(pipe) => pipe.readable().await,
        }
    }

    /// Reads once the bytes that are there. Returns their number; 0 means the end, when no process
    /// can write any more. A terminal answers EIO instead, once all bytes have been read and no
    /// process holds it open; that would be 0 here.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is there, `Interrupted` by a signal.
    pub fn try_read_buf(&self, buffer: &mut impl BufMut) -> io::Result<usize> {
        match self {
            Self::Pipe(pipe) => pipe.try_read_buf(buffer),
        }
    }

    /// Returns the number of bytes that were written and not read yet. A terminal counts those that
    /// its line discipline has passed on (FIONREAD, ioctl_tty(2)).
    ///
    /// # Errors
    /// The error of the kernel; none is known for a pipe.
    pub fn unread(&self) -> io::Result<u64> {
        match self {
            Self::Pipe(pipe) => Ok(ioctl_fionread(pipe)?),
        }
    }

    /// Returns whether it is empty and no process holds the other end, without reading. A terminal
    /// that no process holds open is hung up (POLLHUP) in the same way.
    pub fn is_at_end(&self) -> bool {
        match self {
            Self::Pipe(pipe) => {
                let mut polled = [PollFd::new(pipe, PollFlags::IN)];
                let ready = poll(&mut polled, Some(&Timespec::default()));
                ready.is_ok() && polled.iter().all(|pipe| pipe.revents() == PollFlags::HUP)
            }
        }
    }
}

impl WriteEnd {
    /// Makes a pipe. Returns the server's end and the command's end.
    ///
    /// # Errors
    /// If no descriptor is left.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O.
    pub(super) fn pipe() -> io::Result<(Self, OwnedFd)> {
        let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC)?;
        ioctl_fionbio(&ours, true)?;
        Ok((Self::Pipe(pipe::Sender::from_owned_fd_unchecked(ours)?), theirs))
    }

    /// Waits until there is room, and writes once as much as fits. Returns the number of bytes.
    ///
    /// # Errors
    /// `BrokenPipe` if no process reads it any longer; a terminal answers EIO, which means the
    /// same.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is written unless this returns.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Pipe(pipe) => pipe.write(bytes).await,
        }
    }
}

/// Makes a pipe by which a child reports the result of its start. Returns the server's end and the
/// child's end.
///
/// # Errors
/// If no descriptor is left.
///
/// # Panics
/// Outside a tokio runtime with I/O.
pub(super) fn report() -> io::Result<(pipe::Receiver, OwnedFd)> {
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
    ioctl_fionbio(&ours, true)?;
    Ok((pipe::Receiver::from_owned_fd_unchecked(ours)?, theirs))
}

/// Opens the standard input of a command that gets no input.
///
/// # Errors
/// If no descriptor is left, or `/dev` is not mounted.
pub(super) fn no_input() -> io::Result<OwnedFd> {
    Ok(File::open("/dev/null")?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_end_is_seen_when_all_is_read_and_nothing_holds_it() {
        let (end, theirs) = ReadEnd::pipe().unwrap();
        rustix::io::write(&theirs, b"four").unwrap();
        end.readable().await.unwrap();
        assert_eq!(end.unread().unwrap(), 4);
        let mut buffer = Vec::new();
        assert_eq!(end.try_read_buf(&mut buffer).unwrap(), 4);
        assert_eq!(buffer, b"four");
        assert!(!end.is_at_end(), "it is held");
        let error = end.try_read_buf(&mut buffer).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        rustix::io::write(&theirs, b"x").unwrap();
        drop(theirs);
        assert!(!end.is_at_end(), "something is in it");
        end.readable().await.unwrap();
        assert_eq!(end.try_read_buf(&mut buffer).unwrap(), 1);
        assert!(end.is_at_end());
        end.readable().await.unwrap();
        assert_eq!(end.try_read_buf(&mut buffer).unwrap(), 0);
    }

    #[tokio::test]
    async fn writing_to_what_nobody_reads_is_refused() {
        let (mut end, theirs) = WriteEnd::pipe().unwrap();
        assert_eq!(end.write(b"four").await.unwrap(), 4);
        drop(theirs);
        assert_eq!(end.write(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
