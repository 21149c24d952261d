//! One side of a connection, without a socket and a clock: bytes and times go in, frames come out.

use std::time::{Duration, Instant};

use bytes::BytesMut;

use crate::{
    error::ProtocolError,
    frame::{Decoder, Frame, Hello, Kind, Stream},
    limits,
};

/// A side of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The side that asks for commands.
    Client,
    /// The side that runs commands.
    Server,
}

/// The state of a peer: which frames it may send now, and whether it is still alive.
///
/// ```text
///           the peer's hello
///  Greeting ----------------> Open     a fault or 3 keepalives of silence end either
/// ```
#[derive(Debug)]
pub struct PeerState {
    decoder: Decoder,
    rules: Rules,
    header_since: Option<Instant>,
    /// The time by which a payload that has begun must be complete.
    payload_until: Option<Instant>,
    keepalive: Duration,
    heard: Instant,
    /// The time from which silence counts: when bytes last came, or a ping was last due.
    silent: Instant,
    asked: u32,
    suspended: bool,
}

/// The rules for what the peer may send now.
#[derive(Debug)]
struct Rules {
    role: Role,
    state: State,
    /// The highest channel that the client has opened.
    highest: u32,
    /// True if the peer may begin to compress what it sends.
    may_compress: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Greeting,
    Open,
}

/// The action that a timeout asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timeout {
    /// No action is due yet.
    Wait,
    /// Send a ping with this number.
    Ping(u64),
    /// The peer counts as gone: no bytes came from it for too long.
    Gone,
    /// A payload was not complete in time.
    Slow,
}

impl PeerState {
    /// Returns the state of a peer that has sent nothing yet. A server passes the keepalive of its hello; a
    /// client's is replaced by the one in the server's hello.
    pub fn new(role: Role, keepalive: Duration, now: Instant) -> Self {
        Self {
            decoder: Decoder::default(),
            rules: Rules { role, state: State::Greeting, highest: 0, may_compress: false },
            header_since: None,
            payload_until: None,
            keepalive,
            heard: now,
            silent: now,
            asked: 0,
            suspended: false,
        }
    }

    /// Notes that bytes of any kind have come.
    pub fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.silent = now;
        self.asked = 0;
    }

    /// Returns the time at which bytes last came; before the first, the time at which this state was made.
    pub fn last_heard(&self) -> Instant {
        self.heard
    }

    /// Removes the next frame from `buffer` and returns it; `None` if it is not complete.
    ///
    /// # Errors
    /// Returns how the peer broke the protocol. The connection must then be closed, with
    /// [`ProtocolError::failure`] as its last frame.
    pub fn decode(
        &mut self,
        buffer: &mut BytesMut,
        now: Instant,
    ) -> Result<Option<Frame>, ProtocolError> {
        let judge = |frame: &Frame| self.rules.judge(frame);
        let Some(frame) = self.decoder.decode_judged(buffer, judge)? else {
            self.header_since = match self.decoder.in_header(buffer) {
                true => self.header_since.or(Some(now)),
                false => None,
            };
            self.payload_until = match self.decoder.missing(buffer) {
                0 => None,
                missing => self.payload_until.or(Some(now + payload_time(missing))),
            };
            return Ok(None);
        };
        self.header_since = None;
        self.payload_until = None;
        match &frame {
            Frame::Hello(Hello { server: Some(server), .. }) if self.rules.role == Role::Client => {
                // With less, the client would ping all the time; with more, it would not notice a lost server.
                let keepalive = server.keepalive_ms.clamp(100, 3_600_000);
                self.keepalive = Duration::from_millis(keepalive);
            }
            Frame::Suspend => self.suspended = true,
            Frame::Resume => self.suspended = false,
            _ => {}
        }
        Ok(Some(frame))
    }

    /// Allows the peer to send `compress`, once.
    pub fn allow_compression(&mut self) {
        self.rules.may_compress = true;
    }

    /// Returns which side this is.
    pub fn role(&self) -> Role {
        self.rules.role
    }

    /// Returns the number of bytes of the payload in progress that are still to come.
    pub fn missing(&self, buffer: &BytesMut) -> usize {
        self.decoder.missing(buffer)
    }

    /// Returns whether the bytes so far end where a frame ends.
    pub fn is_between_frames(&self, buffer: &BytesMut) -> bool {
        self.decoder.is_between_frames(buffer)
    }

    /// Opens the next channel of a client and returns its number; `None` when all are used up.
    pub fn open_channel(&mut self) -> Option<u32> {
        self.rules.highest = self.rules.highest.checked_add(1)?;
        Some(self.rules.highest)
    }

    /// Returns the time by which a payload that has begun must be complete; `None` if none has begun.
    pub fn late_at(&self) -> Option<Instant> {
        self.payload_until
    }

    /// Returns the time at which [`PeerState::handle_timeout`] is to be called next.
    pub fn timeout(&self) -> Instant {
        let silence = self.silent + self.keepalive;
        let header = self.header_since.map(|since| since + limits::HEADER_DEADLINE);
        [header, self.payload_until].into_iter().flatten().fold(silence, Instant::min)
    }

    /// Returns the action that is due at `now`, if any.
    ///
    /// # Errors
    /// [`ProtocolError::Trickle`] when a header was not complete in time.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<Timeout, ProtocolError> {
        if self.header_since.is_some_and(|since| now >= since + limits::HEADER_DEADLINE) {
            return Err(ProtocolError::Trickle);
        }
        if self.payload_until.is_some_and(|until| now >= until) {
            return Ok(Timeout::Slow);
        }
        if now < self.timeout() {
            return Ok(Timeout::Wait);
        }
        if self.suspended {
            self.heard = now;
            self.silent = now;
            return Ok(Timeout::Wait);
        }
        // Silence counts anew from here: a process that was stopped for minutes then pings once and waits,
        // instead of taking all its keepalives for unanswered at once.
        self.silent = now;
        self.asked += 1;
        if self.asked >= limits::KEEPALIVES_TO_GONE {
            return Ok(Timeout::Gone);
        }
        Ok(Timeout::Ping(u64::from(self.asked)))
    }
}

/// Returns the time in which a payload must be complete of which `missing` bytes are still to come.
fn payload_time(missing: usize) -> Duration {
    limits::PAYLOAD_DEADLINE + Duration::from_secs(missing as u64 / limits::PAYLOAD_RATE)
}

impl Rules {
    fn judge(&mut self, frame: &Frame) -> Result<(), ProtocolError> {
        let kind = frame.kind();
        let unexpected = |why| Err(ProtocolError::Unexpected { frame: kind.as_str(), why });
        match (self.state, frame) {
            (State::Greeting, Frame::Hello(hello)) => {
                if self.role == Role::Client && hello.server.is_none() {
                    return Err(ProtocolError::Missing { frame: "hello", field: "instance" });
                }
                self.state = State::Open;
            }
            (State::Greeting, Frame::Error(_)) => {}
            (State::Greeting, _) => return unexpected("hello comes first"),
            (State::Open, Frame::Hello(_)) => return unexpected("hello comes once"),
            (State::Open, _) => {}
        }
        if kind == Kind::Compress && !std::mem::take(&mut self.may_compress) {
            return unexpected("nobody agreed to it");
        }
        if !may_send(self.role, frame) {
            return unexpected("this side does not send it");
        }
        let Some(ch) = frame.channel() else {
            return Ok(());
        };
        match (kind, self.role) {
            (Kind::Start | Kind::Ask | Kind::Attach, Role::Server) if ch <= self.highest => {
                return unexpected("its channel was used before");
            }
            (Kind::Start | Kind::Ask | Kind::Attach, Role::Server) => self.highest = ch,
            _ if ch > self.highest => return unexpected("its channel was never opened"),
            _ => {}
        }
        Ok(())
    }
}

/// Returns whether the peer of `receiver` may send this frame at all.
fn may_send(receiver: Role, frame: &Frame) -> bool {
    let from_client = receiver == Role::Server;
    match frame {
        Frame::Hello(_)
        | Frame::Ping { .. }
        | Frame::Pong { .. }
        | Frame::Compress
        | Frame::Error(_) => true,
        Frame::Suspend
        | Frame::Resume
        | Frame::Start(_)
        | Frame::Ask(_)
        | Frame::Attach(_)
        | Frame::Signal { .. }
        | Frame::Cancel { .. }
        | Frame::Done { .. } => from_client,
        Frame::Queued { .. }
        | Frame::Verdict(_)
        | Frame::Started(_)
        | Frame::Attached(_)
        | Frame::Refused { .. }
        | Frame::Exit { .. } => !from_client,
        Frame::Data(data) => (data.stream == Stream::Stdin) == from_client,
        Frame::End(end) => (end.stream == Stream::Stdin) == from_client,
        Frame::Window(window) => (window.stream == Stream::Stdin) != from_client,
        Frame::Stop { stream, .. } => (*stream == Stream::Stdin) != from_client,
    }
}
