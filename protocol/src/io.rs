//! Frames over a socket, with tokio: one reader, one writer, and a handle to send by.
//!
//! This is the only module here that knows tokio.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::{
    blocks::Blocks,
    connection::{Connection, Role, Timeout},
    fault::Fault,
    frame::Frame,
    limits::CHUNK,
    outbox::Outbox,
    outcome::Failure,
};

/// Bytes that the writer gathers before it goes to the socket.
const BATCH: usize = 256 * 1024;
/// Payloads below this are copied behind their header instead of being written from where they lie.
const COPY: usize = 1024;
/// The read buffer of a connection that is idle.
const READ_IDLE: usize = 2 * 1024;
/// The read buffer of a busy one: a frame of data with its header, so that each has a block of its own.
const READ_BUSY: usize = CHUNK + 256;
/// The least room for a read of a busy one: what TLS gives at once is at most a record (RFC 8446, 5.1).
const READ_LEAST: usize = 16 * 1024;
/// A payload that lacks this much is read to its end and not beyond, so that what follows it need not
/// be moved to another block.
const READ_EXACTLY: usize = 1024;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The peer closed it as agreed.
    #[error("the connection was closed")]
    Closed,
    /// The peer said why it closes.
    #[error("the peer closed the connection: {0}")]
    Told(Failure),
    /// The peer broke the protocol.
    #[error("the peer broke the protocol: {0}")]
    Fault(#[from] Fault),
    /// Nothing was heard for three keepalives.
    #[error("nothing was heard for {} s", .0.as_secs_f32())]
    Gone(Duration),
    /// The link broke.
    #[error("the link broke: {0}")]
    Io(#[from] io::Error),
}

/// Splits a connection into its reader, its writer, and the handle that frames are sent by.
///
/// The reader and the writer are each driven by one task of their own. `keepalive` is the silence
/// before a ping; a client's is replaced by what the server's hello says.
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
    let connection = Connection::new(role, keepalive, now());
    let reader = Reader {
        stream: read,
        connection,
        buffer: BytesMut::new(),
        blocks: Blocks::new(READ_BUSY),
        busy: false,
        sender: sender.clone(),
        began: Instant::now(),
    };
    (reader, Writer { stream: write, shared: sender.shared.clone() }, sender)
}

// The runtime's clock, which a test may hold still.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// Sends frames; never waits, since what it holds is bounded by credit and by the outbox.
#[derive(Clone, Debug)]
pub struct Sender {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Notify,
    /// Wakes a writer that is stuck in the socket.
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
    /// Queues a frame. After an error or [`Sender::close`] it is dropped: an error is the last of
    /// all, and closes.
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

    /// Drops what waits for a channel that another connection has taken over.
    pub fn forget(&self, ch: u32) {
        self.shared.queue(|queue| queue.outbox.forget(ch));
    }

    /// Lets the writer send what waits, close TLS and the socket's sending side, and end.
    pub fn close(&self) {
        self.shared.queue(|queue| queue.closing = true);
        self.shared.wake.notify_one();
    }

    /// Whether both handles lead to the same connection.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

/// Reads a connection.
#[derive(Debug)]
pub struct Reader<R> {
    stream: R,
    connection: Connection,
    buffer: BytesMut,
    blocks: Blocks,
    busy: bool,
    sender: Sender,
    began: Instant,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// The next frame but pings and pongs, which it answers and asks by itself.
    ///
    /// # Errors
    /// How the connection ended. A fault has been told to the peer by then; the caller closes the
    /// sender.
    ///
    /// # Cancel safety
    /// What was read stays in the buffer, so that a call that is dropped loses nothing.
    pub async fn next(&mut self) -> Result<Frame, Ended> {
        loop {
            let frame = match self.connection.decode(&mut self.buffer, now()) {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    self.fill().await?;
                    continue;
                }
                Err(fault) => return Err(self.fault(fault)),
            };
            match frame {
                Frame::Ping { number } => self.sender.send(Frame::Pong { number }),
                Frame::Pong { .. } => {}
                Frame::Error(failure) => return Err(Ended::Told(failure)),
                frame => return Ok(frame),
            }
        }
    }

    /// The number for the next channel of a client; none when all are used up.
    pub fn open_channel(&mut self) -> Option<u32> {
        self.connection.open_channel()
    }

    /// When bytes came last; at first, when the connection was split.
    pub fn last_heard(&self) -> Instant {
        self.connection.last_heard().into()
    }

    fn fault(&self, fault: Fault) -> Ended {
        self.sender.send(Frame::Error(fault.failure()));
        Ended::Fault(fault)
    }

    /// Makes room for a read, and says how much may be read.
    fn make_room(&mut self) -> usize {
        let missing = self.connection.missing(&self.buffer);
        let length = self.buffer.len();
        let spare = self.buffer.capacity() - length;
        let wanted = if missing == 0 { READ_LEAST } else { missing };
        if !self.busy {
            if length == 0 {
                // Lets go of large blocks once they are not needed; thousands of connections idle.
                self.buffer = BytesMut::new();
                self.blocks.clear();
            }
            self.buffer.reserve(READ_IDLE);
        } else if length > READ_BUSY - READ_LEAST {
            // More than a block; it grows with what has come, not by what was promised.
            if spare < wanted.min(READ_LEAST) {
                self.buffer.reserve(READ_BUSY);
            }
        } else if spare < wanted.min(READ_BUSY - length) {
            // At once, while little of the frame has come and is to be moved.
            self.blocks.renew(&mut self.buffer);
        }
        let spare = self.buffer.capacity() - self.buffer.len();
        if missing < READ_EXACTLY { spare } else { spare.min(missing) }
    }

    async fn fill(&mut self) -> Result<(), Ended> {
        let room = self.make_room();
        let amid = self.connection.missing(&self.buffer) > 0;
        loop {
            let timeout = self.connection.timeout();
            let mut into = (&mut self.buffer).limit(room);
            let read = tokio::select! {
                biased;
                read = self.stream.read_buf(&mut into) => read,
                () = sleep_until(timeout.into()) => {
                    self.expired()?;
                    continue;
                }
            };
            let count = match read {
                Ok(0) if self.connection.is_between_frames(&self.buffer) => {
                    return Err(Ended::Closed);
                }
                Ok(0) => return Err(Ended::Io(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => count,
                Err(error) => return Err(Ended::Io(error)),
            };
            // The few bytes that end a payload say nothing of what is to come.
            self.busy = count == room || self.busy && (amid || count >= READ_IDLE / 2);
            self.connection.heard(now());
            return Ok(());
        }
    }

    fn expired(&mut self) -> Result<(), Ended> {
        match self.connection.handle_timeout(now()) {
            Ok(Timeout::Wait) => Ok(()),
            Ok(Timeout::Ping(number)) => {
                self.sender.send(Frame::Ping { number });
                Ok(())
            }
            Ok(Timeout::Gone) => Err(Ended::Gone(self.began.elapsed())),
            Err(fault) => Err(self.fault(fault)),
        }
    }
}

/// Writes a connection.
#[derive(Debug)]
pub struct Writer<W> {
    stream: W,
    shared: Arc<Shared>,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    /// Sends what is queued until the sender is closed, then closes the stream.
    ///
    /// # Errors
    /// When the link breaks, or the peer lets too much pile up.
    ///
    /// # Cancel safety
    /// None: a frame may have been written in part. Drop it only with the connection.
    pub async fn run(mut self) -> Result<(), Ended> {
        let mut batch = Batch::default();
        loop {
            let closing = self.shared.queue(|queue| {
                while batch.size < BATCH {
                    let Some(frame) = queue.outbox.pop() else {
                        break;
                    };
                    batch.push(&frame)?;
                }
                Ok::<_, Fault>(queue.closing)
            })?;
            let written = tokio::select! {
                biased;
                () = self.shared.flooded.notified() => return Err(Fault::Flood.into()),
                written = batch.write(&mut self.stream) => written?,
            };
            if written {
                continue;
            }
            if closing {
                self.stream.shutdown().await?;
                return Ok(());
            }
            tokio::select! {
                () = self.shared.flooded.notified() => return Err(Fault::Flood.into()),
                () = self.shared.wake.notified() => {}
            }
        }
    }
}

/// Frames on their way to the socket, as few slices as possible.
#[derive(Default)]
struct Batch {
    slices: VecDeque<Bytes>,
    headers: BytesMut,
    size: usize,
}

impl Batch {
    fn push(&mut self, frame: &Frame) -> Result<(), Fault> {
        let before = self.headers.len();
        frame.encode_header(&mut self.headers)?;
        let payload = match frame {
            Frame::Data(data) => data.payload.clone(),
            Frame::Start(start) | Frame::Ask(start) => start.payload.clone(),
            _ => Bytes::new(),
        };
        self.size += self.headers.len() - before + payload.len();
        if payload.len() < COPY {
            self.headers.extend_from_slice(&payload);
        } else {
            self.slices.push_back(self.headers.split().freeze());
            self.slices.push_back(payload);
        }
        Ok(())
    }

    /// Writes what was gathered; flushes the stream if that is nothing. Says whether it was anything.
    async fn write<W: AsyncWrite + Unpin>(&mut self, stream: &mut W) -> io::Result<bool> {
        const SLICES: usize = 64;
        if self.size == 0 {
            return stream.flush().await.map(|()| false);
        }
        if !self.headers.is_empty() {
            self.slices.push_back(self.headers.split().freeze());
        }
        while !self.slices.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            for (slot, bytes) in slices.iter_mut().zip(&self.slices) {
                *slot = IoSlice::new(bytes);
                count += 1;
            }
            let mut written =
                stream.write_vectored(slices.get(..count).unwrap_or_default()).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            while let Some(front) = self.slices.front_mut() {
                let part = front.len().min(written);
                front.advance(part);
                written -= part;
                if !front.is_empty() {
                    break;
                }
                self.slices.pop_front();
            }
        }
        self.size = 0;
        // A block that held one large batch of headers need not stay for an idle connection.
        self.headers = BytesMut::new();
        Ok(true)
    }
}
