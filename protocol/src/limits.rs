//! Every limit of the wire, each checked before anything is allocated for it.
//!
//! The same numbers stand in `docs/protocol.md`; a test compares the two.

use std::time::Duration;

/// The most bytes in a header before the peer's hello has been read: enough for an honest hello and no
/// more, since the peer is still unknown.
pub const HEADER_BEFORE_HELLO: usize = 4 * 1024;
/// The most bytes in a header after the peer's hello.
pub const HEADER: usize = 64 * 1024;
/// The most bytes in a payload.
pub const PAYLOAD: usize = 1024 * 1024;
/// The most bytes that this side puts into one `data` payload: few enough to be fair between channels,
/// enough to be fast (the best of the sizes measured from 16 KiB to 1 MiB).
pub const CHUNK: usize = 64 * 1024;
/// The most levels of nesting in a header's JSON, its own object included.
pub const DEPTH: usize = 16;
/// The most bytes in one string of a start, its NUL included: the kernel's limit (`MAX_ARG_STRLEN`, execve(2)).
pub const STRING: usize = 128 * 1024;
/// The most arguments in a start.
pub const ARGUMENTS: usize = 4096;
/// The most paths in a transfer.
pub const PATHS: usize = 256;
/// The most bytes in one path of a transfer, its NUL included: the kernel's limit (`PATH_MAX`, open(2)).
pub const PATH: usize = 4096;
/// The most environment settings in a start.
pub const SETTINGS: usize = 4096;
/// The most bytes that the sender of a stream may be ahead of its consumer.
pub const CREDIT: u64 = 1024 * 1024;
/// The most bytes in an agent, a message, a hint or a note.
pub const TEXT: usize = 4096;
/// The most bytes in the name of a kind of error that the reader does not know.
pub const KIND: usize = 32;
/// The most bytes in a lock's name.
pub const LOCK: usize = 128;
/// The size of the zstd window of a compressed direction, as the exponent of a power of two of bytes. Its
/// sender may refer back that far, and its receiver keeps that much.
pub const WINDOW_LOG: u32 = 17;
/// The most entries in the list of capabilities.
pub const CAPABILITIES: usize = 64;
/// The most entries in the list of digests.
pub const DIGESTS: usize = 8;
/// The largest integer in a header: all JSON readers hold integers up to 2^53 - 1 exactly (RFC 8259, 6).
pub const INTEGER: u64 = (1 << 53) - 1;
/// The most control frames that may wait for a peer that does not read. Past it, the connection is given up.
pub const CONTROL_QUEUE: usize = 8192;
/// The time that a header may take from its first byte to its last.
pub const HEADER_DEADLINE: Duration = Duration::from_secs(10);
/// The time that any payload has, whatever its length. A peer that is silent for that long already counts
/// as gone by the keepalives.
pub const PAYLOAD_DEADLINE: Duration = Duration::from_secs(60);
/// The rate, in bytes a second, by which long payloads have more time: beside [`PAYLOAD_DEADLINE`], the
/// time that the payload takes at this rate. 64 kbit/s.
pub const PAYLOAD_RATE: u64 = 8 * 1024;
/// The time that the TLS handshake and the hello have together.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// The silence after which a side sends a ping.
pub const KEEPALIVE: Duration = Duration::from_secs(15);
/// The number of keepalives of silence after which the peer counts as gone.
pub const KEEPALIVES_TO_GONE: u32 = 3;
/// The default TCP port: R-C-M-D on the keys of a telephone.
pub const PORT: u16 = 7263;
/// The ALPN protocol name (RFC 7301). It alone carries the major version.
pub const ALPN: &[u8] = b"rcmd/1";
