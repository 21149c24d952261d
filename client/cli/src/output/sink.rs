//! Standard output and standard error: written at once as long as that takes no wait, then by a
//! thread that may block.
//!
//! The descriptors stay as they were inherited: making them non-blocking would do so for every
//! program that shares them. A pager that is left for an hour blocks its thread alone, and the
//! connection goes on. Handing each piece to a thread costs switches of context, though, so writes
//! carry a flag that forbids one to wait (`RWF_NOWAIT`, pwritev2(2)) until the first that would;
//! pipes and most files know it, terminals do not.

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

/// Pieces that may wait for the thread. Few: what waits here is past the stream's credit.
const WAITING: usize = 4;

/// One of the two.
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

    /// At most 15 bytes, as the kernel has it (pthread_setname_np(3)).
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

    /// Writes once, as much as goes without a wait. `u64::MAX` stands for the descriptor's own place.
    fn write_at_once(self, bytes: &[u8]) -> rustix::io::Result<usize> {
        let slices = [io::IoSlice::new(bytes)];
        pwritev2(self.descriptor(), &slices, u64::MAX, ReadWriteFlags::NOWAIT)
    }

    /// Writes all of it, and waits as long as that takes.
    ///
    /// # Errors
    /// When it can't be written, also because its reader has gone.
    pub(crate) fn write_all(self, mut bytes: &[u8], is_terminal: bool) -> io::Result<()> {
        while !bytes.is_empty() {
            if is_terminal {
                terminal::wait_to_write(self.descriptor());
            }
            match rustix::io::write(self.descriptor(), bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                // Whoever shares the descriptor made it non-blocking.
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

/// Where pieces go in.
pub(crate) type Feed = mpsc::Sender<Piece>;

/// How the writing ended: well, after the last [`Feed`] was dropped, or with the first error.
///
/// # Cancel safety
/// It can be polled until it has ended; dropped, the writing goes on.
pub(crate) struct Written(JoinHandle<io::Result<()>>);

impl Future for Written {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|end| end.unwrap_or_else(|_| Err(ended_early())))
    }
}

/// Why nothing more is written, where the writer can't say it itself.
pub(crate) fn ended_early() -> io::Error {
    io::Error::other("its writer ended early")
}

/// Opens one of them. Its thread begins with the first bytes that would have to wait: most commands
/// write none. Must be called inside a tokio runtime.
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
        // An error that is not of the flag the thread will meet again.
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
        // Nobody waits for a client that was interrupted twice.
        let _ = ended.send(outcome);
    })?;
    written.await.unwrap_or_else(|_| Err(ended_early()))
}
