//! Every limit of the wire, each checked before anything is allocated for it.
//!
//! The same numbers stand in `docs/protocol.md`; a test compares the two.

use std::time::Duration;

/// Bytes of a header that are accepted before the peer's hello has been read. An unknown peer gets
/// room for one honest hello and no more.
pub const HEADER_BEFORE_HELLO: usize = 4 * 1024;
/// Bytes of a header.
pub const HEADER: usize = 64 * 1024;
/// Bytes of a payload.
pub const PAYLOAD: usize = 1024 * 1024;
/// Bytes of a `data` payload as this side sends it: small enough to be fair between channels, large
/// enough to be fast (measured best among 16 KiB to 1 MiB).
pub const CHUNK: usize = 64 * 1024;
/// Levels of JSON in a header, its own object included.
pub const DEPTH: usize = 16;
/// Bytes of one string of a start, its NUL included: the kernel's own limit (`MAX_ARG_STRLEN`, execve(2)).
pub const STRING: usize = 128 * 1024;
/// Arguments of a start.
pub const ARGUMENTS: usize = 4096;
/// Environment settings of a start.
pub const SETTINGS: usize = 4096;
/// Bytes that a sender may be ahead of the consumer of a stream.
pub const CREDIT: u64 = 1024 * 1024;
/// Bytes of an agent, a message, a hint or a note.
pub const TEXT: usize = 4096;
/// Bytes of the name of a kind of error that the reader does not know.
pub const KIND: usize = 32;
/// Bytes of a lock's name.
pub const LOCK: usize = 128;
/// Bytes of the window of a compressed direction, as a power of two: what its sender may refer back to
/// and its receiver has to keep.
pub const WINDOW_LOG: u32 = 17;
/// Entries in the list of capabilities.
pub const CAPABILITIES: usize = 64;
/// Entries in the list of digests.
pub const DIGESTS: usize = 8;
/// The largest integer in a header: JSON numbers are exact up to 2^53 - 1 everywhere.
pub const INTEGER: u64 = (1 << 53) - 1;
/// Control frames that may wait for a peer that does not read; past it the connection is given up.
pub const CONTROL_QUEUE: usize = 8192;
/// Time from a header's first byte to its last.
pub const HEADER_DEADLINE: Duration = Duration::from_secs(10);
/// Time for a payload whatever its length. A link that is silent for longer counts as gone by
/// keepalives.
pub const PAYLOAD_DEADLINE: Duration = Duration::from_secs(60);
/// Bytes of a payload that must come in each second of the time that it has beside
/// [`PAYLOAD_DEADLINE`]: 64 kbit/s.
pub const PAYLOAD_RATE: u64 = 8 * 1024;
/// Time for a handshake and the hello together.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// Silence after which a side asks for a sign of life.
pub const KEEPALIVE: Duration = Duration::from_secs(15);
/// Unanswered keepalives after which the peer counts as gone.
pub const KEEPALIVES_TO_GONE: u32 = 3;
/// The port, R-C-M-D on a telephone.
pub const PORT: u16 = 7263;
/// The ALPN protocol, which alone names the major version.
pub const ALPN: &[u8] = b"rcmd/1";
