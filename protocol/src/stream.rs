//! The two ends of a stream of bytes, and the memory for its pieces.

mod buffers;
mod recv;
mod send;

pub use buffers::BufferPool;
pub use recv::{EndError, RecvStream};
pub use send::SendStream;
