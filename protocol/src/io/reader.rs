//! The reading half: bytes from the socket to frames.

use std::{io, time::Duration};

use bytes::{BufMut as _, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    time::{Instant, sleep_until},
};

use super::{ConnectionError, Sender, Turn, Turns, now};
use crate::{
    compression::Expander,
    connection::{PeerState, Role, Timeout},
    error::ProtocolError,
    frame::Frame,
    limits::CHUNK,
    stream::BufferPool,
};

/// The read buffer of a connection that is idle.
const READ_IDLE: usize = 2 * 1024;
/// The read buffer of a busy one: a frame of data with its header, so that each has a block of its own.
const READ_BUSY: usize = CHUNK + 256;
/// The least room for a read of a busy one: what TLS gives at once is at most a record (RFC 8446, 5.1).
const READ_LEAST: usize = 16 * 1024;
/// A payload that lacks this much is read to its end and not beyond, so that what follows it need not
/// be moved to another block.
const READ_EXACTLY: usize = 1024;

/// Time after which a reader that may hold no more asks again.
const HOLD_AGAIN: Duration = Duration::from_secs(1);

/// Counts what a reader holds of payloads that are not whole yet.
pub trait Holder: std::fmt::Debug + Send {
    /// Sets the bytes that are or will be held. Returns false, and leaves what was, when they are more than may
    /// be.
    fn hold(&mut self, bytes: usize) -> bool;
}

/// Reads a connection.
#[derive(Debug)]
pub struct Reader<R> {
    stream: R,
    turn: Turn,
    holder: Option<Box<dyn Holder>>,
    connection: PeerState,
    buffer: BytesMut,
    blocks: BufferPool,
    busy: bool,
    /// There once the peer compresses what it says.
    expander: Option<Box<Expander>>,
    sender: Sender,
    began: Instant,
}

impl<R> Reader<R> {
    pub(super) fn new(stream: R, connection: PeerState, sender: Sender) -> Self {
        Self {
            stream,
            turn: Turn::default(),
            holder: None,
            connection,
            buffer: BytesMut::new(),
            blocks: BufferPool::new(READ_BUSY),
            busy: false,
            expander: None,
            sender,
            began: Instant::now(),
        }
    }
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Returns the next frame. Pings, pongs and the beginning of compression are handled here.
    ///
    /// # Errors
    /// Returns how the connection ended. The peer has been told of a protocol error; the caller closes the
    /// sender.
    ///
    /// # Cancel safety
    /// What was read stays in the buffer, so that a call that is dropped loses nothing.
    pub async fn next(&mut self) -> Result<Frame, ConnectionError> {
        loop {
            self.turn.work().await;
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

    /// Lets the peer compress what it says. A client does the same from then on.
    pub fn allow_compression(&mut self) {
        self.connection.allow_compression();
    }

    /// Shares a turn with other readers, so that all of them together work no more than one does.
    pub fn share(&mut self, turns: Turns) {
        self.turn.share(turns);
    }

    /// Returns its part in the turn, to be passed on when what came makes its owner wait.
    pub fn turn(&self) -> Turn {
        self.turn.clone()
    }

    /// Counts what is held of payloads that are not whole from now on.
    pub fn count_held(&mut self, holder: impl Holder + 'static) {
        self.holder = Some(Box::new(holder));
    }

    /// Returns the number for the next channel of a client; `None` when all are used up.
    pub fn open_channel(&mut self) -> Option<u32> {
        self.connection.open_channel()
    }

    /// Returns when bytes came last; before the first, when the connection was split.
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

    /// Begins to expand what the peer sends. What has come after its `compress` is compressed already.
    fn begin_to_expand(&mut self) -> Result<(), ConnectionError> {
        self.expander = Some(Box::new(Expander::new(self.buffer.split())?));
        if self.connection.role() == Role::Client {
            self.sender.send(Frame::Compress);
        }
        Ok(())
    }

    /// Counts a payload that is not whole, and waits as long as it is more than may be held. All of it counts
    /// from its beginning: if each counted as it came, many might wait for each other with a part each.
    async fn hold(&mut self) -> Result<(), ConnectionError> {
        let Some(holder) = &mut self.holder else { return Ok(()) };
        let missing = self.connection.missing(&self.buffer);
        let held = if missing > 0 { self.buffer.len() + missing } else { 0 };
        while !holder.hold(held) {
            self.turn.pass();
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
            self.turn.stop_counting();
            let turn = self.turn.clone();
            let received =
                turn.until(receive(&mut self.stream, &mut self.expander, &mut self.buffer, room));
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
            self.turn.count_again();
            self.connection.heard(now());
            if self.expander.is_none() {
                // The few bytes that end a payload say nothing of what is to come.
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
            Ok(Timeout::Gone) => Err(ConnectionError::Gone(self.began.elapsed())),
            Ok(Timeout::Slow) => Err(ConnectionError::Slow),
            Err(fault) => Err(self.fault(fault)),
        }
    }
}

/// Reads from the socket into the buffer, or to where it is expanded from.
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
