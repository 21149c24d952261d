//! One connection: its reader, the task that writes, and how long it has been silent.

use std::{future::poll_fn, pin::Pin, time::Duration};

use rcmd_protocol::{
    connection::Role,
    frame::{Frame, ServerHello, capability},
    io::{ConnectionError, Reader, Sender, split},
    limits::KEEPALIVE,
};
use tokio::{
    io::ReadHalf,
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::{
    dial::{ByteStream, Compression, own_hello},
    patience::Patience,
};

/// The time in which a reader may still learn why the writer failed, such as from a TLS alert.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The time for what waits to be sent, and then for the peer to close its side.
const FLUSH: Duration = Duration::from_secs(2);
const DRAIN: Duration = Duration::from_secs(1);

/// One connection. Dropped, it is gone at once: what it still had to say or hear is lost, which is
/// what a resumption wants of the connection before.
pub(crate) struct Connection {
    reader: Reader<ReadHalf<Box<dyn ByteStream>>>,
    sender: Sender,
    writer: JoinHandle<Result<(), ConnectionError>>,
    /// The writer has failed; the reader has until then to say why.
    broken: Option<(Instant, ConnectionError)>,
    /// The server's part of its hello; none before the hello has come.
    pub(crate) hello: Option<ServerHello>,
    /// The capabilities in the server's hello.
    pub(crate) capabilities: Vec<String>,
    unanswered: Unanswered,
}

/// The frames that were sent and not answered yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unanswered {
    /// No frame.
    Nothing,
    /// One or more frames, the first of which was sent at this time.
    Since(Instant),
    /// A ping, sent because of a silence that began at this time.
    Asked(Instant),
}

/// The frames that the server may still have to send when a connection is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PeerWork {
    /// No frames, so that there is nothing to wait for. Only a `done` of this client could be lost, and then
    /// the server keeps an end for longer than anybody needs it.
    Idle,
    /// Output, or the end of a command.
    Busy,
}

impl Unanswered {
    /// Returns when the first of it was sent.
    fn since(self) -> Option<Instant> {
        match self {
            Self::Nothing => None,
            Self::Since(at) | Self::Asked(at) => Some(at),
        }
    }
}

/// The silence of a server, as [`Connection::silence`] judges it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Silence {
    /// No silence that asks for another connection.
    None,
    /// A silence that began at this time, so long that another connection should be made.
    Since(Instant),
}

impl Connection {
    /// Takes a fresh stream and says hello on it.
    pub(crate) fn new(stream: Box<dyn ByteStream>, compression: Compression) -> Self {
        let (mut reader, writer, sender) = split(stream, Role::Client, KEEPALIVE);
        let mut hello = own_hello();
        if compression == Compression::Asked {
            hello.capabilities.push(capability::ZSTD.to_owned());
            reader.allow_compression();
        }
        let mut connection = Self {
            reader,
            sender,
            writer: tokio::spawn(writer.run()),
            broken: None,
            hello: None,
            capabilities: Vec::new(),
            unanswered: Unanswered::Nothing,
        };
        connection.send(Frame::Hello(hello));
        connection
    }

    pub(crate) fn send(&mut self, frame: Frame) {
        // The server has nothing to say to this one.
        if !matches!(frame, Frame::Done { .. }) && self.unanswered == Unanswered::Nothing {
            self.unanswered = Unanswered::Since(Instant::now());
        }
        self.sender.send(frame);
    }

    pub(crate) fn open_channel(&mut self) -> Option<u32> {
        self.reader.open_channel()
    }

    /// Drops what still waits for a channel that has ended.
    pub(crate) fn forget(&self, ch: u32) {
        self.sender.forget(ch);
    }

    /// Waits for the next frame.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub(crate) async fn next(&mut self) -> Result<Frame, ConnectionError> {
        loop {
            tokio::select! {
                frame = self.reader.next() => return frame,
                ended = joined(&mut self.writer), if self.broken.is_none() => {
                    self.broken = Some((Instant::now() + LAST_WORDS, ended));
                }
                () = until(self.broken.as_ref().map(|(deadline, _)| *deadline)) => {
                    if let Some((_, ended)) = self.broken.take() {
                        return Err(ended);
                    }
                }
            }
        }
    }

    /// Returns when [`Connection::silence`] wants to be asked.
    pub(crate) fn timeout(&self, patience: Patience) -> Instant {
        match (self.since(), self.unanswered) {
            (Some(since), Unanswered::Asked(_)) => since + patience.silent,
            (Some(since), _) => since + patience.ask,
            (None, _) => self.reader.last_heard() + patience.idle.min(self.keepalive()),
        }
    }

    /// Asks the server for a sign of life when the time has come. Returns whether it has been
    /// silent for too long.
    pub(crate) fn silence(&mut self, now: Instant, patience: Patience) -> Silence {
        self.clear_pending();
        let idle = patience.idle.min(self.keepalive());
        let quiet = self.reader.last_heard() + idle;
        let since = match self.unanswered.since() {
            Some(since) => since,
            None if now >= quiet => {
                // At the keepalive the reader itself has sent a ping.
                if idle < self.keepalive() {
                    self.sender.send(Frame::Ping { number: 0 });
                }
                self.unanswered = Unanswered::Asked(quiet);
                quiet
            }
            None => return Silence::None,
        };
        if now >= since + patience.ask && self.unanswered == Unanswered::Since(since) {
            self.unanswered = Unanswered::Asked(since);
            self.sender.send(Frame::Ping { number: 0 });
        }
        if now >= since + patience.silent { Silence::Since(since) } else { Silence::None }
    }

    /// Returns whether anything was heard since the first unanswered frame was sent.
    pub(crate) fn is_answered(&self) -> bool {
        self.since().is_none()
    }

    /// Begins to count anew, as after the process was stopped.
    pub(crate) fn reset_silence(&mut self) {
        self.unanswered = Unanswered::Since(Instant::now());
    }

    /// Returns since when something is unanswered.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.unanswered.since().filter(|&since| self.reader.last_heard() <= since)
    }

    /// Drops a wait that was answered; called after each frame, before more is sent.
    pub(crate) fn clear_pending(&mut self) {
        if self.is_answered() {
            self.unanswered = Unanswered::Nothing;
        }
    }

    fn keepalive(&self) -> Duration {
        self.hello.as_ref().map_or(KEEPALIVE, |hello| {
            Duration::from_millis(hello.keepalive_ms.clamp(100, 3_600_000))
        })
    }

    /// Sends what waits, closes TLS and the sending side, and reads away what still comes: bytes
    /// that nobody reads would make the kernel reset the connection, and what was sent last could
    /// be lost.
    pub(crate) async fn close(mut self, peer: PeerWork) {
        self.sender.close();
        if self.broken.is_none() {
            let _ = timeout(FLUSH, joined(&mut self.writer)).await;
        }
        match peer {
            PeerWork::Idle => {}
            PeerWork::Busy => {
                let _ = timeout(DRAIN, async { while self.reader.next().await.is_ok() {} }).await;
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

async fn joined(writer: &mut JoinHandle<Result<(), ConnectionError>>) -> ConnectionError {
    match poll_fn(|cx| Future::poll(Pin::new(&mut *writer), cx)).await {
        Ok(Ok(())) => ConnectionError::Closed,
        Ok(Err(ended)) => ended,
        Err(error) => ConnectionError::Io(std::io::Error::other(error)),
    }
}

/// Waits until `deadline`, or for ever if there is none.
pub(crate) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
