//! The reading half of a connection: from bytes to frames.

use std::{io, time::Duration};

use bytes::{BufMut as _, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    time::{Instant, sleep_until},
};

use super::{ConnectionError, ReaderGroup, ReaderPart, Sender, now};
use crate::{
    compression::Expander,
    connection::{PeerState, Role, Timeout},
    error::ProtocolError,
    frame::Frame,
    limits::CHUNK,
    stream::BufferPool,
};

/// Bytes of the read buffer of an idle connection.
const READ_IDLE: usize = 2 * 1024;
/// Bytes of the read buffer of a busy connection: one `data` frame and its header, so that each has its own block.
const READ_BUSY: usize = CHUNK + 256;
/// The least room for a read of a busy connection: TLS returns at most one record at once (RFC 8446, 5.1).
const READ_LEAST: usize = 16 * 1024;
/// A payload that lacks at least this many bytes is read to its end and not beyond, so that the bytes after it
/// need not be moved to another block.
const READ_EXACTLY: usize = 1024;

/// The time after which a reader that may hold no more bytes asks again.
const HOLD_AGAIN: Duration = Duration::from_secs(1);

/// A counter of the bytes that a reader holds of incomplete payloads.
pub trait Holder: std::fmt::Debug + Send {
    /// Sets the number of bytes that are or will be held. Returns false, and changes nothing, if that is more
    /// than may be held.
    fn hold(&mut self, bytes: usize) -> bool;
}

/// The reading half of a connection.
#[derive(Debug)]
pub struct Reader<R> {
    stream: R,
    part: ReaderPart,
    holder: Option<Box<dyn Holder>>,
    connection: PeerState,
    buffer: BytesMut,
    blocks: BufferPool,
    busy: bool,
    /// The expander, once the peer compresses what it sends.
    expander: Option<Box<Expander>>,
    sender: Sender,
}

impl<R> Reader<R> {
    pub(super) fn new(stream: R, connection: PeerState, sender: Sender) -> Self {
        Self {
            stream,
            part: ReaderPart::default(),
            holder: None,
            connection,
            buffer: BytesMut::new(),
            blocks: BufferPool::new(READ_BUSY),
            busy: false,
            expander: None,
            sender,
        }
    }
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Returns the next frame. Pings, pongs and the beginning of compression are handled here.
    ///
    /// # Errors
    /// Returns the reason why the connection ended. If the peer broke the protocol, the error for it is already
    /// queued. The caller closes the [`Sender`].
    ///
    /// # Cancel safety
    /// Cancel safe: bytes that were read stay in the buffer.
    pub async fn next(&mut self) -> Result<Frame, ConnectionError> {
        loop {
            self.part.work().await;
            let frame = match self.connection.decode(&mut self.buffer, now()) {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    self.hold().await?;
                    self.fill().await?;
                    continue;
                }
                Err(fault) => return Err(self.fault(fault)),
            };
            match frame {
                Frame::Ping { number } => self.sender.send(Frame::Pong { number }),
                Frame::Pong { .. } => {}
                Frame::Compress => self.begin_to_expand()?,
                Frame::Error(failure) => return Err(ConnectionError::ClosedByPeer(failure)),
                frame => return Ok(frame),
            }
        }
    }

    /// Allows the peer to compress what it sends. A client compresses as well once the server does.
    pub fn allow_compression(&mut self) {
        self.connection.allow_compression();
    }

    /// Joins a group of readers, so that all of them together work no more than one does.
    pub fn join(&mut self, group: ReaderGroup) {
        self.part.join(group);
    }

    /// Returns this reader's part in the turn, for a caller to pass on when it must wait because of a frame.
    pub fn part(&self) -> ReaderPart {
        self.part.clone()
    }

    /// Counts the bytes held of incomplete payloads in `holder` from now on.
    pub fn count_held(&mut self, holder: impl Holder + 'static) {
        self.holder = Some(Box::new(holder));
    }

    /// Opens the next channel of a client and returns its number; `None` when all are used up.
    pub fn open_channel(&mut self) -> Option<u32> {
        self.connection.open_channel()
    }

    /// Returns the time at which bytes last came; before the first, the time at which the connection was split.
    pub fn last_heard(&self) -> Instant {
        self.connection.last_heard().into()
    }

    fn fault(&self, fault: ProtocolError) -> ConnectionError {
        self.sender.send(Frame::Error(fault.failure()));
        ConnectionError::Protocol(fault)
    }

    /// Makes room for a read, and returns how many bytes may be read.
    fn make_room(&mut self) -> usize {
        let missing = self.connection.missing(&self.buffer);
        let length = self.buffer.len();
        let spare = self.buffer.capacity() - length;
        let wanted = if missing == 0 { READ_LEAST } else { missing };
        if !self.busy {
            if length == 0 {
                // Frees large blocks that are no longer needed: thousands of connections may be idle.
                self.buffer = BytesMut::new();
                self.blocks.clear();
            }
            self.buffer.reserve(READ_IDLE);
        } else if length > READ_BUSY - READ_LEAST {
            // More than a block: it grows with the bytes that have come, not by the length that was announced.
            if spare < wanted.min(READ_LEAST) {
                self.buffer.reserve(READ_BUSY);
            }
        } else if spare < wanted.min(READ_BUSY - length) {
            // Done now, while only a little of the frame has come and must be moved.
            self.blocks.renew(&mut self.buffer);
        }
        let spare = self.buffer.capacity() - self.buffer.len();
        if missing < READ_EXACTLY { spare } else { spare.min(missing) }
    }

    /// Begins to expand what the peer sends. The bytes after its `compress` are compressed already.
    fn begin_to_expand(&mut self) -> Result<(), ConnectionError> {
        self.expander = Some(Box::new(Expander::new(self.buffer.split())?));
        if self.connection.role() == Role::Client {
            self.sender.send(Frame::Compress);
        }
        Ok(())
    }

    /// Counts an incomplete payload, and waits while it is more than may be held. Its whole length counts from
    /// the beginning: if payloads counted as they came, many might wait for each other, each with a part.
    async fn hold(&mut self) -> Result<(), ConnectionError> {
        let Some(holder) = &mut self.holder else { return Ok(()) };
        let missing = self.connection.missing(&self.buffer);
        let held = if missing > 0 { self.buffer.len() + missing } else { 0 };
        while !holder.hold(held) {
            self.part.pass();
            let again = Instant::now() + HOLD_AGAIN;
            let late = self.connection.late_at().map_or(again, Instant::from);
            sleep_until(again.min(late)).await;
            if Instant::now() >= late {
                return Err(ConnectionError::Slow);
            }
        }
        Ok(())
    }

    async fn fill(&mut self) -> Result<(), ConnectionError> {
        let room = self.make_room();
        let amid = self.connection.missing(&self.buffer) > 0;
        loop {
            if let Some(expander) = &mut self.expander {
                match expander.expand(&mut self.buffer, room) {
                    Ok(0) => {}
                    Ok(count) => {
                        self.busy = count == room;
                        return Ok(());
                    }
                    Err(fault) => return Err(self.fault(fault)),
                }
            }
            let timeout = self.connection.timeout();
            self.part.stop_counting();
            let part = self.part.clone();
            let received =
                part.until(receive(&mut self.stream, &mut self.expander, &mut self.buffer, room));
            let read = tokio::select! {
                biased;
                read = received => read,
                () = sleep_until(timeout.into()) => {
                    self.expired()?;
                    continue;
                }
            };
            let count = match read {
                Ok(0) if self.connection.is_between_frames(&self.buffer) => {
                    return Err(ConnectionError::Closed);
                }
                Ok(0) => return Err(ConnectionError::Io(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => count,
                Err(error) => return Err(ConnectionError::Io(error)),
            };
            self.part.count_again();
            self.connection.heard(now());
            if self.expander.is_none() {
                // The few bytes that end a payload do not show whether the connection is still busy.
                self.busy = count == room || self.busy && (amid || count >= READ_IDLE / 2);
                return Ok(());
            }
        }
    }

    fn expired(&mut self) -> Result<(), ConnectionError> {
        match self.connection.handle_timeout(now()) {
            Ok(Timeout::Wait) => Ok(()),
            Ok(Timeout::Ping(number)) => {
                self.sender.send(Frame::Ping { number });
                Ok(())
            }
            Ok(Timeout::Gone) => Err(ConnectionError::Gone(self.last_heard().elapsed())),
            Ok(Timeout::Slow) => Err(ConnectionError::Slow),
            Err(fault) => Err(self.fault(fault)),
        }
    }
}

/// Reads from the socket into `buffer`, or into the expander's input if the peer compresses.
async fn receive<R: AsyncRead + Unpin>(
    stream: &mut R,
    expander: &mut Option<Box<Expander>>,
    buffer: &mut BytesMut,
    room: usize,
) -> io::Result<usize> {
    match expander {
        Some(expander) => stream.read_buf(expander.input()).await,
        None => stream.read_buf(&mut buffer.limit(room)).await,
    }
}
