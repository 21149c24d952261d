//! Output on its way from the link to its reader: a queue bounded by credit.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use rcmd_protocol::limits::CHUNK;

/// The part of the credit after whose consumption the link is told, so that credit rises in time.
const TELL: u64 = 16;
/// Pieces below this are joined with the piece before them while both wait.
pub(crate) const SMALL: usize = 4 * 1024;
/// Pieces that may wait; from here on small ones are joined even if their times differ.
pub(crate) const PIECES: usize = 1024;

/// A piece of output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// The place of its first byte in the stream, from 0.
    pub offset: u64,
    /// The time at which the host read the piece from the command, in milliseconds since 1970, if
    /// [`Command::timestamps`](crate::Command::timestamps) asked for it.
    pub time: Option<u64>,
    /// The bytes, at least one.
    pub bytes: Bytes,
}

/// The link's end of the queue.
#[derive(Debug)]
pub(crate) struct Feed(Arc<Shared>);

/// The reader's end of the queue.
#[derive(Debug)]
pub(crate) struct FeedReader(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    pieces: VecDeque<Piece>,
    consumed: u64,
    /// The number of consumed bytes after which the link is told.
    tell: u64,
    /// True if the link has been told to look at `consumed` and has not done so yet.
    notified: bool,
    ended: bool,
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Piece {
    offset: u64,
    time: Option<u64>,
    bytes: Tail,
}

#[derive(Debug)]
enum Tail {
    /// A piece as it came.
    Whole(Bytes),
    /// A piece joined of several.
    Joined(BytesMut),
}

impl Tail {
    fn len(&self) -> usize {
        match self {
            Self::Whole(bytes) => bytes.len(),
            Self::Joined(bytes) => bytes.len(),
        }
    }

    fn join(&mut self, more: &[u8]) {
        if let Self::Whole(bytes) = self {
            *self = Self::Joined(BytesMut::from(bytes.as_ref()));
        }
        if let Self::Joined(bytes) = self {
            bytes.extend_from_slice(more);
        }
    }
}

impl Shared {
    fn with<T>(&self, act: impl FnOnce(&mut Queue) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Returns the two ends of a queue between the link and the reader of one stream, which holds at most
/// the bytes of the stream's credit.
pub(crate) fn feed(credit: u64) -> (Feed, FeedReader) {
    let queue = Queue { tell: credit / TELL, ..Queue::default() };
    let shared = Arc::new(Shared(Mutex::new(queue)));
    (Feed(Arc::clone(&shared)), FeedReader(shared))
}

impl Feed {
    /// Adds a piece. Its size is bounded by the credit that the stream was given.
    pub(crate) fn push(&self, offset: u64, time: Option<u64>, bytes: Bytes) {
        let waker = self.0.with(|queue| {
            let full = queue.pieces.len() >= PIECES;
            match queue.pieces.back_mut() {
                // Each piece costs its own bookkeeping and may pin a read buffer many times its size.
                Some(tail)
                    if bytes.len() < SMALL
                        && tail.bytes.len() + bytes.len() <= CHUNK
                        && tail.offset + tail.bytes.len() as u64 == offset
                        && (tail.time == time || full) =>
                {
                    tail.bytes.join(&bytes);
                }
                _ => queue.pieces.push_back(Piece { offset, time, bytes: Tail::Whole(bytes) }),
            }
            queue.waker.take()
        });
        wake(waker);
    }

    /// Returns how many pieces wait.
    pub(crate) fn pieces(&self) -> usize {
        self.0.with(|queue| queue.pieces.len())
    }

    /// Takes the count of bytes consumed since the last call.
    pub(crate) fn consumed(&self) -> u64 {
        self.0.with(|queue| {
            queue.notified = false;
            std::mem::take(&mut queue.consumed)
        })
    }
}

/// Ends the queue: no more output comes.
impl Drop for Feed {
    fn drop(&mut self) {
        let waker = self.0.with(|queue| {
            queue.ended = true;
            queue.waker.take()
        });
        wake(waker);
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl FeedReader {
    /// Takes the next piece, as it came; none at the end.
    pub(crate) fn poll_piece(&self, cx: &mut Context<'_>) -> Poll<Option<Chunk>> {
        self.0.with(|queue| match queue.pieces.pop_front() {
            Some(Piece { offset, time, bytes }) => {
                let bytes = match bytes {
                    Tail::Whole(bytes) => bytes,
                    Tail::Joined(bytes) => bytes.freeze(),
                };
                Poll::Ready(Some(Chunk { offset, time, bytes }))
            }
            None if queue.ended => Poll::Ready(None),
            None => {
                queue.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        })
    }

    /// Counts bytes as consumed. Returns whether the link has to be told.
    pub(crate) fn consume(&self, count: u64) -> bool {
        self.0.with(|queue| {
            queue.consumed += count;
            let tell = queue.consumed >= queue.tell && !queue.notified && !queue.ended;
            queue.notified |= tell;
            tell
        })
    }

    /// Throws away what waits. Returns whether the stream had ended.
    pub(crate) fn discard(&self) -> bool {
        self.0.with(|queue| {
            queue.pieces.clear();
            queue.ended
        })
    }
}
