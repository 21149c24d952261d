//! Frames over a socket, with tokio: one reader, one writer, and a handle that sends.
//!
//! Only this module and its parts use tokio.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Notify,
    time::Instant,
};

use crate::{
    connection::{PeerState, Role},
    error::ProtocolError,
    frame::Frame,
    outbox::Outbox,
    outcome::WireError,
};

mod reader;
mod reader_group;
mod work_pace;
mod writer;

pub use reader::{Holder, Reader};
pub use reader_group::{ReaderGroup, ReaderPart};
pub use work_pace::WorkPace;
pub use writer::Writer;

/// The reason why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The peer closed the connection after a whole frame, as agreed.
    #[error("the connection was closed")]
    Closed,
    /// The peer closed the connection with an error that it sent first.
    #[error("the peer closed the connection: {0}")]
    ClosedByPeer(WireError),
    /// The peer broke the protocol.
    #[error("the peer broke the protocol: {0}")]
    Protocol(#[from] ProtocolError),
    /// The peer was silent for three keepalives. Contains the length of the silence.
    #[error("nothing was heard for {} s", .0.as_secs_f32())]
    Gone(Duration),
    /// A payload was not complete in time: it came more slowly than over any link that is of use.
    #[error("a payload came more slowly than {} bytes a second", crate::limits::PAYLOAD_RATE)]
    Slow,
    /// The link broke.
    #[error("the link broke: {0}")]
    Io(#[from] io::Error),
}

/// Splits a connection into its reader, its writer, and the handle that sends frames.
///
/// The reader and the writer are each driven by one task of their own. `keepalive` is the silence before a
/// ping; a client's is replaced by the one in the server's hello.
pub fn split<S>(
    stream: S,
    role: Role,
    keepalive: Duration,
) -> (Reader<tokio::io::ReadHalf<S>>, Writer<tokio::io::WriteHalf<S>>, Sender)
where
    S: AsyncRead + AsyncWrite,
{
    let (read, write) = tokio::io::split(stream);
    let sender = Sender { shared: Arc::default() };
    let connection = PeerState::new(role, keepalive, now());
    let reader = Reader::new(read, connection, sender.clone());
    (reader, Writer::new(write, sender.shared.clone()), sender)
}

// The clock of the runtime, which a test may pause.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// A handle that sends frames. It never waits, since what it holds is bounded by credit and by the outbox.
#[derive(Clone, Debug)]
pub struct Sender {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Notify,
    /// Wakes a writer that waits for the socket, when too many frames wait.
    flooded: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    outbox: Outbox,
    closing: bool,
}

impl Shared {
    fn queue<T>(&self, act: impl FnOnce(&mut Queue) -> T) -> T {
        act(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Sender {
    /// Queues a frame. An error is the last frame and closes the connection: frames after it, or after
    /// [`Sender::close`], are dropped.
    pub fn send(&self, frame: Frame) {
        self.shared.queue(|queue| {
            if queue.closing {
                return;
            }
            queue.closing = matches!(frame, Frame::Error(_));
            if queue.outbox.push(frame).is_err() {
                self.shared.flooded.notify_one();
            }
        });
        self.shared.wake.notify_one();
    }

    /// Drops the frames that wait for a channel whose job another connection has taken over.
    pub fn forget(&self, ch: u32) {
        self.shared.queue(|queue| queue.outbox.forget(ch));
    }

    /// Makes the writer send the frames that wait, close TLS and the socket's sending side, and end.
    pub fn close(&self) {
        self.shared.queue(|queue| queue.closing = true);
        self.shared.wake.notify_one();
    }

    /// Returns whether both handles belong to the same connection.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}
