//! The ways in which a peer can break the protocol.

use crate::{
    ids::Stream,
    outcome::{ErrorKind, WireError},
};

/// A breach of the protocol by the peer. The connection ends with it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProtocolError {
    /// A header of length zero.
    #[error("a frame has an empty header")]
    EmptyHeader,
    /// A header longer than the limit that holds now.
    #[error("a header of {length} bytes is past the limit of {limit}")]
    HeaderTooLong {
        /// The number of bytes that were announced.
        length: usize,
        /// The number of bytes that are allowed now.
        limit: usize,
    },
    /// A payload longer than the limit.
    #[error("a payload of {length} bytes is past the limit of {limit}")]
    PayloadTooLong {
        /// The number of bytes that were announced.
        length: u64,
        /// The number of bytes that are allowed.
        limit: usize,
    },
    /// A header that is not the JSON that it must be.
    #[error("a header is not valid: {0}")]
    Header(String),
    /// A header without a field that its type needs.
    #[error("the {frame} frame lacks {field}")]
    Missing {
        /// The type of the frame.
        frame: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A field with a value that its type does not allow.
    #[error("the {frame} frame has an invalid {field}")]
    Invalid {
        /// The type of the frame.
        frame: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A frame that the peer may never send, or may not send now.
    #[error("the {frame} frame is not allowed here: {why}")]
    Unexpected {
        /// The type of the frame.
        frame: &'static str,
        /// The rule that forbids it.
        why: &'static str,
    },
    /// A header that was not complete in time.
    #[error("a header was not complete after {} s", crate::limits::HEADER_DEADLINE.as_secs())]
    Trickle,
    /// Bytes that leave a gap after those before.
    #[error("{stream} jumps from byte {expected} to {offset}")]
    Gap {
        /// The stream.
        stream: Stream,
        /// The offset at which the stream goes on.
        expected: u64,
        /// The offset of the bytes that came.
        offset: u64,
    },
    /// Bytes past the credit, or a window that confirms bytes that were never sent.
    #[error("{stream} goes to byte {offset}, past {limit}")]
    BeyondCredit {
        /// The stream.
        stream: Stream,
        /// The offset that the frame reaches.
        offset: u64,
        /// The offset that it must not pass.
        limit: u64,
    },
    /// Data after an end, or two ends that differ.
    #[error("{stream} goes on after its end")]
    AfterEnd {
        /// The stream.
        stream: Stream,
    },
    /// Bytes after a `compress` that are no zstd stream, or one with a larger window than is allowed.
    #[error("what was compressed can't be read: {0}")]
    Compression(String),
    /// The frames that wait to be sent are more than an honest peer leaves unread.
    #[error("too many frames wait for a peer that does not read")]
    Flood,
}

impl ProtocolError {
    /// Returns the error to send to the peer.
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
    /// The difference in total or digest, with both values.
    pub what: String,
}
