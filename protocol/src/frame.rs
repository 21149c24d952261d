//! The frames: what the two sides say to each other, one variant a type.

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
        /// A higher generation has it.
        Superseded = "superseded",
        /// It ended and is no longer kept.
        Gone = "gone",
    }
}

/// One frame. The fields are those of `docs/protocol.md`, under the same names.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Frame {
    /// Names the side that speaks and what it can; the first frame of each side.
    Hello(Hello),
    /// Asks whether the peer still lives.
    Ping {
        /// Comes back in the pong.
        number: u64,
    },
    /// Answers a ping.
    Pong {
        /// The number of the ping.
        number: u64,
    },
    /// The client's process is about to be stopped, so its silence does not count.
    Suspend,
    /// The client's process goes on.
    Resume,
    /// Everything that the sender sends after this frame is one zstd stream. A server also allows the
    /// client to do the same by it.
    Compress,
    /// The sender closes the connection for this reason.
    Error(WireError),
    /// Asks for a command.
    Start(Start),
    /// Asks whether a start would be permitted; nothing runs, whatever the answer is. A frame of its
    /// own, so that a server that does not know it can't take it for a start.
    Ask(Start),
    /// Answers an ask.
    Verdict(Verdict),
    /// Takes a job up again.
    Attach(Attach),
    /// The command waits for others to end.
    Queued {
        /// The channel.
        ch: u32,
        /// How many wait before it.
        position: u64,
    },
    /// The process runs.
    Started(Started),
    /// The job was taken up again.
    Attached(Attached),
    /// The server does not give the channel this job.
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
    /// The receiver no longer reads this stream.
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
        /// Counts the job's signals from 1, so that each is carried out once.
        number: u64,
        /// The signal.
        signal: Signal,
    },
    /// Kills the command's tree at once.
    Cancel {
        /// The channel.
        ch: u32,
    },
    /// How the command ended; the last frame of a job.
    Exit {
        /// The channel.
        ch: u32,
        /// The end.
        #[serde(flatten)]
        exit: Exit,
    },
    /// The client has the exit, so the server may forget the job.
    Done {
        /// The channel.
        ch: u32,
    },
}

/// The first frame of each side.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Hello {
    /// Name and version of the program, for logs.
    pub agent: String,
    /// What the side can beyond version 1's frames.
    pub capabilities: Vec<String>,
    /// What only a server says.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerHello>,
}

/// The part of a hello that only a server sends.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ServerHello {
    /// Random for each server process.
    pub instance: Instance,
    /// Milliseconds that an attached command outlives its connection.
    pub grace_ms: u64,
    /// Milliseconds that an end is kept for a client that does not come.
    pub retain_ms: u64,
    /// Milliseconds of silence before a ping.
    pub keepalive_ms: u64,
}

/// Answers whether a start would be permitted.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Verdict {
    /// The channel.
    pub ch: u32,
    /// True if it would be.
    pub permitted: bool,
    /// What would run, as whom, and by which rule; for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Why not. It stands there if and only if it would not.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub failure: Option<WireError>,
}

/// What a side can beyond the frames of version 1.
pub mod capability {
    /// Runs commands. Every server of version 1 does.
    pub const EXEC: &str = "exec";
    /// Answers `ask`: says whether a start would be permitted.
    pub const ASK: &str = "ask";
    /// Knows locks.
    pub const LOCK: &str = "lock";
    /// Wants its connection compressed. Only a client that was asked to says so.
    pub const ZSTD: &str = "zstd";
}

/// Takes a job up again.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Attach {
    /// The channel, new on this connection.
    pub ch: u32,
    /// The key of the start.
    pub key: Key,
    /// Higher than any that the client used for this job before.
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

/// The process runs.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Started {
    /// The channel.
    pub ch: u32,
    /// The job.
    pub job: JobId,
    /// How the streams' digests are computed.
    pub digest: Algorithm,
    /// When the process started, in milliseconds since 1970.
    pub started_at: u64,
    /// What the user should know, such as a home folder that is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The job was taken up again.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Attached {
    /// The channel.
    pub ch: u32,
    /// The job.
    pub job: JobId,
    /// How the streams' digests are computed.
    pub digest: Algorithm,
    /// When the process started, in milliseconds since 1970; none while it waits for its turn, and
    /// for what never started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<u64>,
    /// Bytes of stdin that the server has accepted.
    pub stdin: u64,
    /// True once stdin has ended.
    #[serde(skip_serializing_if = "is_default")]
    pub stdin_ended: bool,
    /// Number of the last signal that was carried out.
    pub number: u64,
    /// Offsets at which stdout and stderr go on.
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
    /// Offset of the first byte.
    pub offset: u64,
    /// When the server read the bytes, in milliseconds since 1970, if the start asked for it.
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
    /// All its bytes.
    pub total: u64,
    /// Their digest.
    pub digest: StreamDigest,
    /// True if something still held the pipe.
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
    /// Bytes below have arrived.
    pub got: u64,
    /// Bytes below may be sent.
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
