//! A command's output, as its caller reads it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Buf as _;
use rcmd_protocol::frame::Stream;
use tokio::io::{AsyncRead, ReadBuf};

use crate::link::{
    feed::{self, Chunk, Feed, FeedReader},
    order::{Handle, Order},
};

/// The standard output of a command.
pub type ChildStdout = ChildOutput;
/// The standard error of a command.
pub type ChildStderr = ChildOutput;

/// One output stream of a command. If it is dropped before its end, the command's next write to the stream fails
/// with EPIPE.
///
/// The stream also ends when the connection is lost for good; the [`Report`](crate::Report) says whether it is
/// complete.
#[derive(Debug)]
pub struct ChildOutput {
    id: u64,
    stream: Stream,
    link: Handle,
    feed: FeedReader,
    /// A chunk that was read in part.
    rest: Option<Chunk>,
    /// The number of bytes in the last chunk, which count as consumed when the next one is requested.
    given: u64,
}

/// Returns the link's end and the caller's end of an output stream, for a server that may send this many bytes
/// ahead.
pub(crate) fn output(id: u64, stream: Stream, link: Handle, credit: u64) -> (Feed, ChildOutput) {
    let (near, far) = feed::feed(credit);
    (near, ChildOutput { id, stream, link, feed: far, rest: None, given: 0 })
}

impl ChildOutput {
    /// Waits for the next chunk; `None` at the end. Each call returns the credit of the chunk before to the
    /// server, so a caller that does not call it holds the command up.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
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
        self.feed.poll_piece(cx)
    }

    fn consume(&self, count: u64) {
        if self.feed.consume(count) {
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
        if !self.feed.discard() {
            self.link.order(Order::Stop { id: self.id, stream: self.stream });
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use bytes::Bytes;
    use rcmd_protocol::limits::CREDIT;

    use super::*;
    use crate::link::feed::{PIECES, SMALL};

    fn pair() -> (Feed, ChildOutput) {
        output(1, Stream::Stdout, Handle::new("web1".into()).0, CREDIT)
    }

    #[tokio::test]
    async fn small_pieces_that_wait_are_joined_and_large_ones_are_not() {
        let (feed, mut output) = pair();
        let byte = Bytes::from_static(b"x");
        (0..CREDIT).for_each(|offset| feed.push(offset, None, byte.clone()));
        assert!(feed.pieces() <= 17, "{}", feed.pieces());
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
        assert!(feed.pieces() <= PIECES + 16);
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
