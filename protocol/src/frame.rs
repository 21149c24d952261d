//! The frames that the two sides exchange: one variant of [`Frame`] for each type.

use bytes::Bytes;
use serde::{Serialize, Serializer};

use crate::{
    digest::{Algorithm, StreamDigest},
    ids::{Instance, JobId, Key, RequestDigest, names},
    outcome::WireError,
    signal::Signal,
};

mod codec;
mod exit;
mod fast_header;
mod header;
mod json;
mod start;

pub use crate::{
    ids::Stream,
    request::{Lock, Mode},
};
pub use codec::Decoder;
pub use exit::{Exit, MissingField, StreamTotal};
pub use start::{Start, StartBody};

names! {
    /// The type of a frame.
    Kind {
        /// See [`Frame::Hello`].
        Hello = "hello",
        /// See [`Frame::Ping`].
        Ping = "ping",
        /// See [`Frame::Pong`].
        Pong = "pong",
        /// See [`Frame::Suspend`].
        Suspend = "suspend",
        /// See [`Frame::Resume`].
        Resume = "resume",
        /// See [`Frame::Compress`].
        Compress = "compress",
        /// See [`Frame::Error`].
        Error = "error",
        /// See [`Frame::Start`].
        Start = "start",
        /// See [`Frame::Ask`].
        Ask = "ask",
        /// See [`Frame::Verdict`].
        Verdict = "verdict",
        /// See [`Frame::Attach`].
        Attach = "attach",
        /// See [`Frame::Queued`].
        Queued = "queued",
        /// See [`Frame::Started`].
        Started = "started",
        /// See [`Frame::Attached`].
        Attached = "attached",
        /// See [`Frame::Refused`].
        Refused = "refused",
        /// See [`Frame::Data`].
        Data = "data",
        /// See [`Frame::End`].
        End = "end",
        /// See [`Frame::Window`].
        Window = "window",
        /// See [`Frame::Stop`].
        Stop = "stop",
        /// See [`Frame::Signal`].
        Signal = "signal",
        /// See [`Frame::Cancel`].
        Cancel = "cancel",
        /// See [`Frame::Exit`].
        Exit = "exit",
        /// See [`Frame::Done`].
        Done = "done",
    }
}

names! {
    /// The reason why the server does not give a channel its job.
    Refusal {
        /// No such key for this identity.
        UnknownKey = "unknown_key",
        /// The key stands for another request.
        Conflict = "conflict",
        /// A higher generation has the job.
        Superseded = "superseded",
        /// The job ended, and its end is no longer kept.
        Gone = "gone",
    }
}

/// A frame. The fields have the names that they have in `docs/protocol.md`.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Frame {
    /// The first frame of each side: its program and its capabilities.
    Hello(Hello),
    /// A question whether the peer is still alive.
    Ping {
        /// The number that the pong repeats.
        number: u64,
    },
    /// The answer to a ping.
    Pong {
        /// The number of the ping.
        number: u64,
    },
    /// A notice that the client's process is about to be stopped, so that its silence does not count.
    Suspend,
    /// A notice that the client's process goes on.
    Resume,
    /// The beginning of compression: all that the sender sends after this frame is one zstd stream. A server's
    /// also allows the client to compress.
    Compress,
    /// The reason why the sender closes the connection.
    Error(WireError),
    /// A request to run a command.
    Start(Start),
    /// A question whether a start would be permitted. Nothing runs, whatever the answer is. It is a frame of
    /// its own so that a server that does not know it can't take it for a start.
    Ask(Start),
    /// The answer to an ask.
    Verdict(Verdict),
    /// A request to take up a job again.
    Attach(Attach),
    /// A notice that the command waits for others to end.
    Queued {
        /// The channel.
        ch: u32,
        /// The number of commands that wait before it.
        position: u64,
    },
    /// A notice that the process runs.
    Started(Started),
    /// A notice that the job was taken up again.
    Attached(Attached),
    /// A notice that the server does not give the channel this job.
    Refused {
        /// The channel.
        ch: u32,
        /// The reason.
        reason: Refusal,
        /// With `superseded`, the generation that has the job.
        #[serde(skip_serializing_if = "Option::is_none")]
        generation: Option<u64>,
    },
    /// Bytes of a stream.
    Data(Data),
    /// The end of a stream.
    End(End),
    /// Credit for the sender of a stream.
    Window(Window),
    /// A notice that the receiver no longer reads this stream.
    Stop {
        /// The channel.
        ch: u32,
        /// The stream.
        stream: Stream,
    },
    /// A signal for the command's process group.
    Signal {
        /// The channel.
        ch: u32,
        /// The number of the signal, from 1 for each job, so that each is carried out once.
        number: u64,
        /// The signal.
        signal: Signal,
    },
    /// An order to kill the command's tree at once.
    Cancel {
        /// The channel.
        ch: u32,
    },
    /// The end of the command; the last frame of a job.
    Exit {
        /// The channel.
        ch: u32,
        /// The outcome, and all that belongs to it.
        #[serde(flatten)]
        exit: Exit,
    },
    /// A notice that the client has the exit, so that the server may forget the job.
    Done {
        /// The channel.
        ch: u32,
    },
}

/// The first frame of each side.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Hello {
    /// The name and version of the program, for logs.
    pub agent: String,
    /// The capabilities of the side, beyond the frames of version 1: see [`capability`].
    pub capabilities: Vec<String>,
    /// The part that only a server sends.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerHello>,
}

/// The part of a hello that only a server sends.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ServerHello {
    /// The random identifier of the server process.
    pub instance: Instance,
    /// Milliseconds for which an attached command outlives its connection.
    pub grace_ms: u64,
    /// Milliseconds for which an end is kept for a client that does not come.
    pub retain_ms: u64,
    /// Milliseconds of silence before a ping.
    pub keepalive_ms: u64,
}

/// The answer whether a start would be permitted.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Verdict {
    /// The channel.
    pub ch: u32,
    /// True if the start would be permitted.
    pub permitted: bool,
    /// A note for people: what would run, as which user, and by which rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The reason against it. Present if and only if `permitted` is false.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub failure: Option<WireError>,
}

/// Names for what a side supports beyond the frames of version 1.
pub mod capability {
    /// The side runs commands, as every server of version 1 does.
    pub const EXEC: &str = "exec";
    /// The side answers `ask`: whether a start would be permitted.
    pub const ASK: &str = "ask";
    /// The side supports locks.
    pub const LOCK: &str = "lock";
    /// The side wants its connection compressed. Only a client that was asked to compress sends it.
    pub const ZSTD: &str = "zstd";
}

/// A request to take up a job again.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Attach {
    /// The channel, new on this connection.
    pub ch: u32,
    /// The key of the start.
    pub key: Key,
    /// A generation higher than any that the client used for this job before.
    pub generation: u64,
    /// The request digest.
    pub digest: RequestDigest,
    /// Bytes of stdout and stderr that the client has received.
    #[serde(flatten)]
    pub received: OutputOffsets,
}

/// An offset in each stream of a command's output.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct OutputOffsets {
    /// The offset in standard output.
    pub stdout: u64,
    /// The offset in standard error.
    pub stderr: u64,
}

/// The start of a process.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Started {
    /// The channel.
    pub ch: u32,
    /// The job.
    pub job: JobId,
    /// The algorithm of the streams' digests.
    pub digest: Algorithm,
    /// The time at which the process started, in milliseconds since 1970.
    pub started_at: u64,
    /// A note for the user, such as that a home folder is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The state of a job that was taken up again.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Attached {
    /// The channel.
    pub ch: u32,
    /// The job.
    pub job: JobId,
    /// The algorithm of the streams' digests.
    pub digest: Algorithm,
    /// The time at which the process started, in milliseconds since 1970; `None` while the command waits for
    /// its turn, and if it never started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<u64>,
    /// Bytes of stdin that the server has accepted.
    pub stdin: u64,
    /// True once stdin has ended.
    #[serde(skip_serializing_if = "is_default")]
    pub stdin_ended: bool,
    /// The number of the last signal that was carried out.
    pub number: u64,
    /// The offsets at which stdout and stderr go on.
    #[serde(flatten)]
    pub output: OutputOffsets,
}

/// Bytes of a stream.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Data {
    /// The channel.
    pub ch: u32,
    /// The stream.
    pub stream: Stream,
    /// The offset of the first byte.
    pub offset: u64,
    /// The time at which the server read the bytes, in milliseconds since 1970, if the start asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<u64>,
    /// The bytes, at least one.
    #[serde(rename = "len", serialize_with = "length")]
    pub payload: Bytes,
}

/// The end of a stream.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct End {
    /// The channel.
    pub ch: u32,
    /// The stream.
    pub stream: Stream,
    /// The number of bytes in the whole stream.
    pub total: u64,
    /// The digest of these bytes.
    pub digest: StreamDigest,
    /// True if a process still held the pipe open.
    #[serde(skip_serializing_if = "is_default")]
    pub open: bool,
}

/// Credit for the sender of a stream.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Window {
    /// The channel.
    pub ch: u32,
    /// The stream.
    pub stream: Stream,
    /// The offset below which all bytes have arrived.
    pub got: u64,
    /// The offset below which bytes may be sent.
    pub upto: u64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn length<S: Serializer>(payload: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(payload.len() as u64)
}

impl Frame {
    /// Returns the type of the frame.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Hello(_) => Kind::Hello,
            Self::Ping { .. } => Kind::Ping,
            Self::Pong { .. } => Kind::Pong,
            Self::Suspend => Kind::Suspend,
            Self::Resume => Kind::Resume,
            Self::Compress => Kind::Compress,
            Self::Error(_) => Kind::Error,
            Self::Start(_) => Kind::Start,
            Self::Ask(_) => Kind::Ask,
            Self::Verdict(_) => Kind::Verdict,
            Self::Attach(_) => Kind::Attach,
            Self::Queued { .. } => Kind::Queued,
            Self::Started(_) => Kind::Started,
            Self::Attached(_) => Kind::Attached,
            Self::Refused { .. } => Kind::Refused,
            Self::Data(_) => Kind::Data,
            Self::End(_) => Kind::End,
            Self::Window(_) => Kind::Window,
            Self::Stop { .. } => Kind::Stop,
            Self::Signal { .. } => Kind::Signal,
            Self::Cancel { .. } => Kind::Cancel,
            Self::Exit { .. } => Kind::Exit,
            Self::Done { .. } => Kind::Done,
        }
    }

    /// Returns the channel that the frame belongs to, if it belongs to one.
    pub fn channel(&self) -> Option<u32> {
        match self {
            Self::Hello(_)
            | Self::Ping { .. }
            | Self::Pong { .. }
            | Self::Suspend
            | Self::Resume
            | Self::Compress
            | Self::Error(_) => None,
            Self::Start(Start { ch, .. })
            | Self::Ask(Start { ch, .. })
            | Self::Verdict(Verdict { ch, .. })
            | Self::Attach(Attach { ch, .. })
            | Self::Queued { ch, .. }
            | Self::Started(Started { ch, .. })
            | Self::Attached(Attached { ch, .. })
            | Self::Refused { ch, .. }
            | Self::Data(Data { ch, .. })
            | Self::End(End { ch, .. })
            | Self::Window(Window { ch, .. })
            | Self::Stop { ch, .. }
            | Self::Signal { ch, .. }
            | Self::Cancel { ch }
            | Self::Exit { ch, .. }
            | Self::Done { ch } => Some(*ch),
        }
    }

    /// Returns the bytes that follow the header.
    pub fn payload(&self) -> &[u8] {
        match self {
            Self::Start(start) | Self::Ask(start) => start.body.payload(),
            Self::Data(data) => &data.payload,
            _ => &[],
        }
    }
}
