//! The standard input of a command.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use rcmd_protocol::limits::CHUNK;
use tokio::{
    io::AsyncWrite,
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore},
};

use crate::link::order::{Handle, Order};

type Acquiring =
    Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send + Sync>>;

/// The standard input of a command. It is ended by [`ChildStdin::finish`], a shutdown or a drop, not by a lost
/// connection.
pub struct ChildStdin {
    id: u64,
    link: Handle,
    /// One permit for each byte that the server has room for; closed when the command no longer reads.
    room: Arc<Semaphore>,
    acquiring: Option<Acquiring>,
    finished: bool,
}

impl ChildStdin {
    pub(crate) fn new(id: u64, link: Handle, room: Arc<Semaphore>) -> Self {
        Self { id, link, room, acquiring: None, finished: false }
    }

    /// Sends bytes. Waits for room: at most 1 MiB is on its way.
    ///
    /// # Errors
    /// [`io::ErrorKind::BrokenPipe`] if the command has closed its standard input or has ended.
    ///
    /// # Cancel safety
    /// If the future is dropped, a part of the bytes may have been sent.
    pub async fn send(&mut self, mut bytes: Bytes) -> io::Result<()> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(CHUNK));
            let permit = self.room.acquire_many(count(&piece)).await.map_err(broken)?;
            permit.forget();
            self.give(piece)?;
        }
        Ok(())
    }

    /// Ends standard input, so that the command reads an end of file.
    pub async fn finish(self) {}

    fn give(&self, bytes: Bytes) -> io::Result<()> {
        if self.finished {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.link.order(Order::Stdin { id: self.id, bytes });
        Ok(())
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.finished, true) {
            self.link.order(Order::FinishStdin { id: self.id });
        }
    }
}

// A piece has at most CHUNK bytes.
fn count(piece: &[u8]) -> u32 {
    u32::try_from(piece.len()).unwrap_or(u32::MAX)
}

fn broken(_: AcquireError) -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the command reads no more standard input")
}

impl AsyncWrite for ChildStdin {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wanted = bytes.get(..bytes.len().min(CHUNK)).unwrap_or(bytes);
        if wanted.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let room = Arc::clone(&self.room);
        let acquiring =
            self.acquiring.get_or_insert_with(|| Box::pin(room.acquire_many_owned(count(wanted))));
        let acquired = ready!(acquiring.as_mut().poll(cx));
        self.acquiring = None;
        let mut permit = acquired.map_err(broken)?;
        // The caller may pass other bytes than when the wait began; surplus permits are returned.
        let taken = wanted.get(..permit.num_permits()).unwrap_or(wanted);
        if let Some(permit) = permit.split(taken.len()) {
            permit.forget();
        }
        self.give(Bytes::copy_from_slice(taken))?;
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end();
        Poll::Ready(Ok(()))
    }
}

impl Drop for ChildStdin {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for ChildStdin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildStdin").field("id", &self.id).finish_non_exhaustive()
    }
}
