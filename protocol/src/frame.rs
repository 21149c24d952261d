//! The frames that the two sides exchange: one variant of [`Frame`] for each type.
//!
//! Each frame is described once, here or in the file of its struct: what its fields mean, and after `as` how
//! they stand in the header. The macros of `protocol/src/frame/describe.rs` make the reader and the writer of it.

use bytes::Bytes;

use crate::{
    digest::{Algorithm, StreamDigest},
    ids::{Instance, JobId, Key, RequestDigest, names},
    limits,
    outcome::WireError,
    signal::Signal,
};

mod codec;
mod describe;
mod exit;
mod fast_header;
mod field;
mod header;
mod json;
mod pen;
mod scalar;
mod start;
mod verdict;

pub use crate::{
    ids::Stream,
    request::{Lock, Mode},
};
pub use codec::Decoder;
use describe::{fields, frames};
pub use exit::{Exit, MissingField, StreamTotal};
use field::{Channel, List, Optional, OptionalPart, OrDefault, Part, Payload, Required};
pub use start::{Start, StartBody};
pub use verdict::Verdict;

frames! {
    /// A frame. The fields have the names that they have in `docs/protocol.md`.
    #[derive(Clone, PartialEq, Debug)]
    pub enum Frame, Kind {
        /// The first frame of each side: its program and its capabilities.
        Hello(hello: Hello) = "hello",
        /// A question whether the peer is still alive.
        Ping {
            /// The number that the pong repeats.
            number: u64 as Required,
        } = "ping",
        /// The answer to a ping.
        Pong {
            /// The number of the ping.
            number: u64 as Required,
        } = "pong",
        /// A notice that the client's process is about to be stopped, so that its silence does not count.
        Suspend = "suspend",
        /// A notice that the client's process goes on.
        Resume = "resume",
        /// The beginning of compression: all that the sender sends after this frame is one zstd stream. A server's
        /// also allows the client to compress.
        Compress = "compress",
        /// The reason why the sender closes the connection.
        Error(failure: WireError) = "error",
        /// A request to run a command.
        Start(start: Start) = "start",
        /// A question whether a start would be permitted. Nothing runs, whatever the answer is. It is a frame of
        /// its own so that a server that does not know it can't take it for a start.
        Ask(start: Start) = "ask",
        /// The answer to an ask.
        Verdict(verdict: Verdict) = "verdict",
        /// A request to take up a job again.
        Attach(attach: Attach) = "attach",
        /// A notice that the command waits for others to end.
        Queued {
            /// The channel.
            ch: u32 as Channel,
            /// The number of commands that wait before it.
            position: u64 as Required,
        } = "queued",
        /// A notice that the process runs.
        Started(started: Started) = "started",
        /// A notice that the job was taken up again.
        Attached(attached: Attached) = "attached",
        /// A notice that the server does not give the channel this job.
        Refused {
            /// The channel.
            ch: u32 as Channel,
            /// The reason.
            reason: Refusal as Required,
            /// The generation that has the job; present with the reason `superseded` only.
            generation: Option<u64> as Optional,
        } = "refused",
        /// Bytes of a stream.
        Data(data: Data) = "data",
        /// The end of a stream.
        End(end: End) = "end",
        /// Credit for the sender of a stream.
        Window(window: Window) = "window",
        /// A notice that the receiver no longer reads this stream.
        Stop {
            /// The channel.
            ch: u32 as Channel,
            /// The stream.
            stream: Stream as Required,
        } = "stop",
        /// A signal for the command's process group.
        Signal {
            /// The channel.
            ch: u32 as Channel,
            /// The number of the signal, from 1 for each job, so that each is carried out once.
            number: u64 as Required,
            /// The signal.
            signal: Signal as Required,
        } = "signal",
        /// An order to kill the command's tree at once.
        Cancel {
            /// The channel.
            ch: u32 as Channel,
        } = "cancel",
        /// The end of the command; the last frame of a job.
        Exit {
            /// The channel.
            ch: u32 as Channel,
            /// The outcome, and all that belongs to it.
            exit: Exit as Part,
        } = "exit",
        /// A notice that the client has the exit, so that the server may forget the job.
        Done {
            /// The channel.
            ch: u32 as Channel,
        } = "done",
    }
}

impl Frame {
    /// Returns the bytes that follow the header.
    pub fn payload(&self) -> &[u8] {
        self.payload_bytes().map_or(&[], |payload| payload)
    }
}

names! {
    /// The reason why the server does not give a channel its job.
    pub enum Refusal {
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

fields! {
    /// The first frame of each side.
    #[derive(Clone, PartialEq, Debug, Default)]
    pub struct Hello {
        /// The name and version of the program, for logs.
        pub agent: String as Required,
        /// The capabilities of the side, beyond the frames of version 1: see [`capability`].
        pub capabilities: Vec<String> as List<{ limits::CAPABILITIES }>,
        /// The part that only a server sends.
        pub server: Option<ServerHello> as OptionalPart,
    }
}

fields! {
    /// The part of a hello that only a server sends.
    #[derive(Clone, PartialEq, Debug)]
    pub struct ServerHello {
        /// The random identifier of the server process.
        pub instance: Instance as Required,
        /// Milliseconds for which an attached command outlives its connection.
        pub grace_ms: u64 as Required,
        /// Milliseconds for which an end is kept for a client that does not come.
        pub retain_ms: u64 as Required,
        /// Milliseconds of silence before a ping.
        pub keepalive_ms: u64 as Required,
    }
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

fields! {
    /// A request to take up a job again.
    #[derive(Clone, PartialEq, Debug)]
    pub struct Attach {
        /// The channel, new on this connection.
        pub ch: u32 as Channel,
        /// The key of the start.
        pub key: Key as Required,
        /// A generation higher than any that the client used for this job before.
        pub generation: u64 as Required,
        /// The request digest.
        pub digest: RequestDigest as Required,
        /// Bytes of stdout and stderr that the client has received.
        pub received: OutputOffsets as Part,
    }
}

fields! {
    /// An offset in each stream of a command's output.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct OutputOffsets {
        /// The offset in standard output.
        pub stdout: u64 as Required,
        /// The offset in standard error.
        pub stderr: u64 as Required,
    }
}

fields! {
    /// The start of a process.
    #[derive(Clone, PartialEq, Debug)]
    pub struct Started {
        /// The channel.
        pub ch: u32 as Channel,
        /// The job.
        pub job: JobId as Required,
        /// The algorithm of the streams' digests.
        pub digest: Algorithm as Required,
        /// The time at which the process started, in milliseconds since 1970.
        pub started_at: u64 as Required,
        /// A note for the user, such as that a home folder is missing.
        pub note: Option<String> as Optional,
    }
}

fields! {
    /// The state of a job that was taken up again.
    #[derive(Clone, PartialEq, Debug)]
    pub struct Attached {
        /// The channel.
        pub ch: u32 as Channel,
        /// The job.
        pub job: JobId as Required,
        /// The algorithm of the streams' digests.
        pub digest: Algorithm as Required,
        /// The time at which the process started, in milliseconds since 1970; `None` while the command waits for
        /// its turn, and if it never started.
        pub started_at: Option<u64> as Optional,
        /// Bytes of stdin that the server has accepted.
        pub stdin: u64 as Required,
        /// True once stdin has ended.
        pub stdin_ended: bool as OrDefault,
        /// The number of the last signal that was carried out.
        pub number: u64 as Required,
        /// The offsets at which stdout and stderr go on.
        pub output: OutputOffsets as Part,
    }
}

fields! {
    /// Bytes of a stream.
    #[derive(Clone, PartialEq, Debug)]
    pub struct Data {
        /// The channel.
        pub ch: u32 as Channel,
        /// The stream.
        pub stream: Stream as Required,
        /// The offset of the first byte.
        pub offset: u64 as Required,
        /// The time at which the server read the bytes, in milliseconds since 1970, if the start asked for it.
        pub time: Option<u64> as Optional,
        /// The bytes, at least one.
        pub payload: Bytes as Payload,
    }
}

fields! {
    /// The end of a stream.
    #[derive(Clone, PartialEq, Debug)]
    pub struct End {
        /// The channel.
        pub ch: u32 as Channel,
        /// The stream.
        pub stream: Stream as Required,
        /// The number of bytes in the whole stream.
        pub total: u64 as Required,
        /// The digest of these bytes.
        pub digest: StreamDigest as Required,
        /// True if a process still held the pipe open.
        pub open: bool as OrDefault,
    }
}

fields! {
    /// Credit for the sender of a stream.
    #[derive(Clone, PartialEq, Debug)]
    pub struct Window {
        /// The channel.
        pub ch: u32 as Channel,
        /// The stream.
        pub stream: Stream as Required,
        /// The offset below which all bytes have arrived.
        pub got: u64 as Required,
        /// The offset below which bytes may be sent.
        pub upto: u64 as Required,
    }
}

fields! {
    WireError {
        kind: Required = "kind",
        message: Required = "message",
        hint: Optional = "hint",
        retry_after_ms: Optional = "retry_after_ms",
    }
}

fields! {
    Lock {
        name: Required = "lock",
        wait_ms: OrDefault = "lock_wait_ms",
    }
}
