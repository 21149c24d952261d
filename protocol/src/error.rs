//! What a peer can do wrong.

use crate::{
    ids::Stream,
    outcome::{ErrorKind, WireError},
};

/// A breach of the protocol by the peer. The connection ends with it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProtocolError {
    /// A length of zero, where a header must stand.
    #[error("a frame has an empty header")]
    EmptyHeader,
    /// A header past the limit that holds at this moment.
    #[error("a header of {length} bytes is past the limit of {limit}")]
    HeaderTooLong {
        /// Bytes that were announced.
        length: usize,
        /// Bytes that are allowed now.
        limit: usize,
    },
    /// A payload past the limit.
    #[error("a payload of {length} bytes is past the limit of {limit}")]
    PayloadTooLong {
        /// Bytes that were announced.
        length: u64,
        /// Bytes that are allowed.
        limit: usize,
    },
    /// A header that is not the JSON it must be.
    #[error("a header is not valid: {0}")]
    Header(String),
    /// A header without a field that its type needs.
    #[error("a {frame} frame lacks {field}")]
    Missing {
        /// The type of the frame.
        frame: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A field with a value that its type does not allow.
    #[error("a {frame} frame has an invalid {field}")]
    Invalid {
        /// The type of the frame.
        frame: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A frame that this side may not send, or not now.
    #[error("a {frame} frame is not allowed here: {why}")]
    Unexpected {
        /// The type of the frame.
        frame: &'static str,
        /// What forbids it.
        why: &'static str,
    },
    /// A header that began and did not end in time.
    #[error("a header was not complete after {} s", crate::limits::HEADER_DEADLINE.as_secs())]
    Trickle,
    /// Bytes that leave a gap behind those before.
    #[error("{stream} jumps from byte {expected} to {offset}")]
    Gap {
        /// The stream.
        stream: Stream,
        /// The offset that would follow.
        expected: u64,
        /// The offset that came.
        offset: u64,
    },
    /// Bytes or windows past what was allowed or sent.
    #[error("{stream} goes to byte {offset}, past {limit}")]
    BeyondCredit {
        /// The stream.
        stream: Stream,
        /// Where the frame goes to.
        offset: u64,
        /// Where it had to stop.
        limit: u64,
    },
    /// Data behind an end, or two ends that differ.
    #[error("{stream} goes on after its end")]
    AfterEnd {
        /// The stream.
        stream: Stream,
    },
    /// Bytes after a `compress` that are no zstd stream, or one of a larger window.
    #[error("what was compressed can't be read: {0}")]
    Compression(String),
    /// More control frames waiting than any honest reader leaves.
    #[error("too many frames wait for a peer that does not read")]
    Flood,
}

impl ProtocolError {
    /// Returns the error that the peer is told.
    pub fn failure(&self) -> WireError {
        WireError::new(ErrorKind::Protocol, self.to_string()).hint(
            "Both sides must speak rcmd/1 as docs/protocol.md has it; compare their versions.",
        )
    }
}

/// A stream whose bytes are not the ones that were sent.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{stream} is corrupt: {what}")]
pub struct Corrupt {
    /// The stream.
    pub stream: Stream,
    /// Which of total and digest differs, with both values.
    pub what: String,
}
