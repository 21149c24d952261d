//! Standard output and standard error: written directly while that does not block, then by a thread that may block.
//!
//! The inherited descriptors are not made non-blocking, which would affect every program that shares them. A pager
//! that is left for an hour blocks only the thread, and the connection continues. But handing each piece to a thread
//! costs context switches. So pieces are written with a flag that forbids blocking (`RWF_NOWAIT`, pwritev2(2)) until
//! the first that would block. Pipes and most files support the flag, terminals do not.

use std::io;
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;

use rustix::io::{Errno, ReadWriteFlags, pwritev2};
use rustix::stdio;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::output::piece::{Piece, Render};
use crate::terminal;

/// The maximum number of pieces that wait for the thread. Few, because the stream's credit no longer counts them.
const WAITING: usize = 4;

/// One of the two descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Stdout,
    Stderr,
}

impl Place {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stdout => "standard output",
            Self::Stderr => "standard error",
        }
    }

    /// Returns the name of the thread: at most 15 bytes (pthread_setname_np(3)).
    fn thread(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    pub(crate) fn descriptor(self) -> BorrowedFd<'static> {
        match self {
            Self::Stdout => stdio::stdout(),
            Self::Stderr => stdio::stderr(),
        }
    }

    /// Writes as much as is possible without blocking, once. `u64::MAX` stands for the position of the descriptor.
    fn write_at_once(self, bytes: &[u8]) -> rustix::io::Result<usize> {
        let slices = [io::IoSlice::new(bytes)];
        pwritev2(self.descriptor(), &slices, u64::MAX, ReadWriteFlags::NOWAIT)
    }

    /// Writes all bytes, and blocks as long as that takes.
    ///
    /// # Errors
    /// If they can't be written, also because the reader has gone.
    pub(crate) fn write_all(self, mut bytes: &[u8], is_terminal: bool) -> io::Result<()> {
        while !bytes.is_empty() {
            if is_terminal {
                terminal::wait_to_write(self.descriptor());
            }
            match rustix::io::write(self.descriptor(), bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                // Another process that shares the descriptor made it non-blocking.
                Err(Errno::AGAIN) => self.wait()?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn wait(self) -> io::Result<()> {
        use rustix::event::{PollFd, PollFlags, poll};
        match poll(&mut [PollFd::new(&self.descriptor(), PollFlags::OUT)], None) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The sender of pieces to a writer.
pub(crate) type Feed = mpsc::Sender<Piece>;

/// A future of the end of writing: success after the last [`Feed`] was dropped, or the first error.
///
/// # Cancel safety
/// If the future is dropped, the writing continues.
pub(crate) struct Written(JoinHandle<io::Result<()>>);

impl Future for Written {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|end| end.unwrap_or_else(|_| Err(ended_early())))
    }
}

/// Returns the error of a writer that ended without one.
pub(crate) fn ended_early() -> io::Error {
    io::Error::other("its writer ended early")
}

/// Opens a writer. Its thread is started for the first bytes that would block; most commands need none. Must be
/// called inside a tokio runtime.
pub(crate) fn open(place: Place, render: Box<dyn Render>) -> (Feed, Written) {
    let (feed, pieces) = mpsc::channel(WAITING);
    (feed, Written(tokio::spawn(write(place, render, pieces))))
}

async fn write(
    place: Place,
    mut render: Box<dyn Render>,
    mut pieces: mpsc::Receiver<Piece>,
) -> io::Result<()> {
    let first = loop {
        let Some(piece) = pieces.recv().await else { return Ok(()) };
        let mut bytes = render.render(&piece);
        // Errors are left to the thread, which gets them again unless they come from the flag.
        while !bytes.is_empty()
            && let Ok(count @ 1..) = place.write_at_once(bytes)
        {
            bytes = bytes.get(count..).unwrap_or_default();
        }
        if !bytes.is_empty() {
            break bytes.to_vec();
        }
    };
    let (ended, written) = oneshot::channel();
    thread::Builder::new().name(place.thread().to_owned()).spawn(move || {
        let is_terminal = terminal::is_terminal(place.descriptor());
        let mut outcome = place.write_all(&first, is_terminal);
        drop(first);
        while outcome.is_ok()
            && let Some(piece) = pieces.blocking_recv()
        {
            outcome = place.write_all(render.render(&piece), is_terminal);
        }
        // The receiver is gone if the client was interrupted twice.
        let _ = ended.send(outcome);
    })?;
    written.await.unwrap_or_else(|_| Err(ended_early()))
}
