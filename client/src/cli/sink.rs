//! Standard output and standard error, each with a thread that may block.
//!
//! The descriptors stay as they were inherited: making them non-blocking would do so for every
//! program that shares them. A pager that is left for an hour blocks this thread alone, and the
//! connection goes on.

use std::io;
use std::thread;

use rustix::io::Errno;
use rustix::stdio;
use tokio::sync::{mpsc, oneshot};

use super::render::{Piece, Render};

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

    fn write_all(self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let wrote = match self {
                Self::Stdout => rustix::io::write(stdio::stdout(), bytes),
                Self::Stderr => rustix::io::write(stdio::stderr(), bytes),
            };
            match wrote {
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
        let fd = match self {
            Self::Stdout => stdio::stdout(),
            Self::Stderr => stdio::stderr(),
        };
        match poll(&mut [PollFd::new(&fd, PollFlags::OUT)], None) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Where pieces go in.
pub(crate) type Feed = mpsc::Sender<Piece>;

/// How the writing ended: well, after the last [`Feed`] was dropped, or with the first error.
pub(crate) type Written = oneshot::Receiver<io::Result<()>>;

/// Starts the thread of one of them.
///
/// # Errors
/// When no thread is to be had.
pub(crate) fn open(place: Place, mut render: Box<dyn Render>) -> io::Result<(Feed, Written)> {
    let (feed, mut pieces) = mpsc::channel(WAITING);
    let (told, written) = oneshot::channel();
    thread::Builder::new().name(place.thread().to_owned()).spawn(move || {
        let mut outcome = Ok(());
        while let Some(piece) = pieces.blocking_recv() {
            outcome = place.write_all(render.render(&piece));
            if outcome.is_err() {
                break;
            }
        }
        // The told ones may be gone: nobody waits for a client that was interrupted twice.
        let _ = told.send(outcome);
    })?;
    Ok((feed, written))
}
