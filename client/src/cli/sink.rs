//! Standard output and standard error: written at once where that takes no wait, else by a thread
//! that may block.
//!
//! The descriptors stay as they were inherited: making them non-blocking would do so for every
//! program that shares them. A pager that is left for an hour blocks its thread alone, and the
//! connection goes on. Handing a piece to a thread costs two switches of context, though, so a write
//! is first tried with a flag for that one write (`RWF_NOWAIT`, pwritev2(2)); pipes and most files
//! know it, terminals do not. The thread is started when it is needed first.

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use bytes::{Buf as _, Bytes};
use rustix::{
    fd::BorrowedFd,
    io::{Errno, ReadWriteFlags, pwritev2},
    stdio,
};
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

    fn descriptor(self) -> BorrowedFd<'static> {
        match self {
            Self::Stdout => stdio::stdout(),
            Self::Stderr => stdio::stderr(),
        }
    }

    /// Writes once, as much as goes without waiting. `u64::MAX` stands for the descriptor's own place.
    fn write_at_once(self, bytes: &[u8]) -> Result<usize, Errno> {
        let slices = [io::IoSlice::new(bytes)];
        pwritev2(self.descriptor(), &slices, u64::MAX, ReadWriteFlags::NOWAIT)
    }

    fn write_all(self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
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

/// How the writing ended: well, after the last [`Feed`] was dropped, or with the first error.
pub(crate) type Written = oneshot::Receiver<io::Result<()>>;

/// That the writing has ended early; [`Written`] says why.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gone;

/// Where pieces go in.
#[derive(Clone)]
pub(crate) struct Feed(Rc<RefCell<Sink>>);

/// Room for one piece.
pub(crate) struct Room(mpsc::OwnedPermit<Bytes>);

struct Sink {
    place: Place,
    render: Box<dyn Render>,
    /// Whether the descriptor can be written to without a wait, as far as is known.
    at_once: bool,
    /// To the thread.
    feed: mpsc::Sender<Bytes>,
    /// Pieces that the thread was given and has not written. While there are any, nobody else writes.
    backlog: Arc<AtomicUsize>,
    /// What the thread is to have, until it is started.
    idle: Option<Idle>,
}

struct Idle {
    pieces: mpsc::Receiver<Bytes>,
    told: oneshot::Sender<io::Result<()>>,
}

/// A writer of one of them.
pub(crate) fn open(place: Place, render: Box<dyn Render>) -> (Feed, Written) {
    let (feed, pieces) = mpsc::channel(WAITING);
    let (told, written) = oneshot::channel();
    let (backlog, idle) = (Arc::default(), Some(Idle { pieces, told }));
    let sink = Sink { place, render, at_once: true, feed, backlog, idle };
    (Feed(Rc::new(RefCell::new(sink))), written)
}

impl Feed {
    /// Writes a piece, or hands it to the thread when that has room.
    ///
    /// # Errors
    /// When the writing has ended early.
    pub(crate) async fn send(&self, piece: Piece) -> Result<(), Gone> {
        let room = self.room().await?;
        self.put(room, piece);
        Ok(())
    }

    /// Waits until there is room for a piece.
    ///
    /// # Errors
    /// When the writing has ended early.
    ///
    /// # Cancel safety
    /// Nothing happens when it is dropped.
    pub(crate) async fn room(&self) -> Result<Room, Gone> {
        self.feed().reserve_owned().await.map(Room).or(Err(Gone))
    }

    /// Writes a piece, or hands it to the thread.
    pub(crate) fn put(&self, room: Room, piece: Piece) {
        self.0.borrow_mut().put(room, piece);
    }

    /// Waits until the writing has ended early.
    pub(crate) async fn closed(&self) {
        self.feed().closed().await;
    }

    fn feed(&self) -> mpsc::Sender<Bytes> {
        self.0.borrow().feed.clone()
    }
}

impl Sink {
    fn put(&mut self, Room(room): Room, piece: Piece) {
        let mut bytes = self.render.render(piece);
        let behind = self.backlog.load(Ordering::Acquire) > 0;
        while self.at_once && !behind && !bytes.is_empty() {
            match self.place.write_at_once(&bytes) {
                Ok(count) => bytes.advance(count.min(bytes.len())),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // An error that is not of the flag the thread will meet again.
                Err(_) => self.at_once = false,
            }
        }
        if bytes.is_empty() {
            return;
        }
        self.backlog.fetch_add(1, Ordering::Relaxed);
        room.send(bytes);
        if let Some(idle) = self.idle.take() {
            idle.start(self.place, Arc::clone(&self.backlog));
        }
    }
}

/// Where no thread was needed, all is written.
impl Drop for Sink {
    fn drop(&mut self) {
        if let Some(idle) = self.idle.take() {
            tell(idle.told, Ok(()));
        }
    }
}

impl Idle {
    fn start(self, place: Place, backlog: Arc<AtomicUsize>) {
        let Self { mut pieces, told } = self;
        // Sent after it, so that it is still here if there is no thread.
        let (hand, take) = std::sync::mpsc::channel();
        let started = thread::Builder::new().name(place.thread().to_owned()).spawn(move || {
            let mut outcome = Ok(());
            while let Some(bytes) = pieces.blocking_recv() {
                outcome = place.write_all(&bytes);
                drop(bytes);
                if outcome.is_err() {
                    break;
                }
                backlog.fetch_sub(1, Ordering::Release);
            }
            if let Ok(told) = take.recv() {
                tell(told, outcome);
            }
        });
        match started {
            Ok(_) => drop(hand.send(told)),
            Err(error) => tell(told, Err(error)),
        }
    }
}

fn tell(told: oneshot::Sender<io::Result<()>>, outcome: io::Result<()>) {
    // The told ones may be gone: nobody waits for a client that was interrupted twice.
    let _ = told.send(outcome);
}
