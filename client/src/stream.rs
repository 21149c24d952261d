//! What a command writes, from the link to its reader: a queue bounded by credit.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf as _, Bytes, BytesMut};
use rcmd_protocol::{
    frame::Stream,
    limits::{CHUNK, CREDIT},
};
use tokio::io::{AsyncRead, ReadBuf};

use crate::link::{Handle, Order};

/// Consumed bytes after which the link is told, so that credit rises in time.
const TELL: u64 = CREDIT / 16;
/// Pieces below this are joined with the piece before them while both wait.
const SMALL: usize = 4 * 1024;
/// Pieces that may wait; from here on small ones are joined even if their times differ.
const PIECES: usize = 1024;

/// A piece of output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// The place of its first byte in the stream, from 0.
    pub offset: u64,
    /// When the host read it from the command, in milliseconds since 1970, if
    /// [`Command::timestamps`](crate::Command::timestamps) asked for it.
    pub time: Option<u64>,
    /// The bytes, at least one.
    pub bytes: Bytes,
}

/// Standard output of a command.
pub type ChildStdout = ChildOutput;
/// Standard error of a command.
pub type ChildStderr = ChildOutput;

/// One output stream of a command. Dropped before its end, it lets the command's next write to the
/// stream fail with EPIPE.
///
/// It ends also when the connection was lost for good; whether it is whole, the
/// [`Report`](crate::Report) says.
#[derive(Debug)]
pub struct ChildOutput {
    id: u64,
    stream: Stream,
    link: Handle,
    shared: Arc<Shared>,
    /// A piece that was read in part.
    rest: Option<Chunk>,
    /// Bytes given out as a chunk, which count as consumed when the next is asked for.
    given: u64,
}

/// The link's end of the queue.
#[derive(Debug)]
pub(crate) struct Feed(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    pieces: VecDeque<Piece>,
    consumed: u64,
    /// Whether the link has been told to look at `consumed` and has not done so yet.
    told: bool,
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
    /// As it came.
    Whole(Bytes),
    /// Joined of several.
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

/// A queue between the link and the reader of one stream.
pub(crate) fn queue(id: u64, stream: Stream, link: Handle) -> (Feed, ChildOutput) {
    let shared = Arc::<Shared>::default();
    let output = ChildOutput { id, stream, link, shared: shared.clone(), rest: None, given: 0 };
    (Feed(shared), output)
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

    /// Takes the count of bytes consumed since the last call.
    pub(crate) fn consumed(&self) -> u64 {
        self.0.with(|queue| {
            queue.told = false;
            std::mem::take(&mut queue.consumed)
        })
    }
}

/// What feeds it no more has ended it.
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

impl ChildOutput {
    /// The next piece, as it came; none at the end. Asking for it returns the credit of the piece
    /// before, so a caller that does not ask holds the command up.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub async fn chunk(&mut self) -> Option<Chunk> {
        std::future::poll_fn(|cx| self.poll_chunk(cx)).await
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Chunk>> {
        let given = std::mem::take(&mut self.given);
        self.consume(given);
        let chunk = ready!(self.poll_piece(cx));
        self.given = chunk.as_ref().map_or(0, |chunk| chunk.bytes.len() as u64);
        Poll::Ready(chunk)
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Chunk>> {
        if let Some(rest) = self.rest.take() {
            return Poll::Ready(Some(rest));
        }
        self.shared.with(|queue| match queue.pieces.pop_front() {
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

    fn consume(&self, count: u64) {
        let tell = self.shared.with(|queue| {
            queue.consumed += count;
            let tell = queue.consumed >= TELL && !queue.told && !queue.ended;
            queue.told |= tell;
            tell
        });
        if tell {
            self.link.order(Order::Consumed { id: self.id, stream: self.stream });
        }
    }
}

impl AsyncRead for ChildOutput {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let given = std::mem::take(&mut self.given);
        self.consume(given);
        let Some(mut chunk) = ready!(self.poll_piece(cx)) else { return Poll::Ready(Ok(())) };
        let count = chunk.bytes.len().min(into.remaining());
        into.put_slice(chunk.bytes.get(..count).unwrap_or_default());
        chunk.bytes.advance(count);
        chunk.offset += count as u64;
        self.consume(count as u64);
        if !chunk.bytes.is_empty() {
            self.rest = Some(chunk);
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for ChildOutput {
    fn drop(&mut self) {
        let ended = self.shared.with(|queue| {
            queue.pieces.clear();
            queue.ended
        });
        if !ended {
            self.link.order(Order::Stop { id: self.id, stream: self.stream });
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn pair() -> (Feed, ChildOutput) {
        queue(1, Stream::Stdout, crate::link::detached())
    }

    fn pieces(feed: &Feed) -> usize {
        feed.0.with(|queue| queue.pieces.len())
    }

    #[tokio::test]
    async fn small_pieces_that_wait_are_joined_and_large_ones_are_not() {
        let (feed, mut output) = pair();
        let byte = Bytes::from_static(b"x");
        (0..CREDIT).for_each(|offset| feed.push(offset, None, byte.clone()));
        assert!(pieces(&feed) <= 17, "{}", pieces(&feed));
        let large = Bytes::from(vec![b'y'; SMALL]);
        feed.push(CREDIT, None, large.clone());
        drop(feed);
        let mut at = 0;
        while let Some(chunk) = output.chunk().await {
            assert_eq!(chunk.offset, at);
            at += chunk.bytes.len() as u64;
            if at > CREDIT {
                assert_eq!(chunk.bytes, large);
            }
        }
        assert_eq!(at, CREDIT + SMALL as u64);
    }

    #[tokio::test]
    async fn times_stay_apart_until_there_are_too_many() {
        let (feed, mut output) = pair();
        let byte = Bytes::from_static(b"x");
        (0..CREDIT).for_each(|offset| feed.push(offset, Some(offset), byte.clone()));
        assert!(pieces(&feed) <= PIECES + 16);
        let first = output.chunk().await.unwrap();
        assert_eq!((first.offset, first.time, first.bytes.len()), (0, Some(0), 1));
    }

    #[tokio::test]
    async fn reads_and_chunks_may_be_mixed() {
        let (feed, mut output) = pair();
        feed.push(0, None, Bytes::from_static(b"hello, world"));
        drop(feed);
        let mut five = [0; 5];
        output.read_exact(&mut five).await.unwrap();
        assert_eq!(&five, b"hello");
        let rest = output.chunk().await.unwrap();
        assert_eq!((rest.offset, rest.bytes.as_ref()), (5, b", world".as_ref()));
        assert_eq!(output.chunk().await, None);
    }
}
