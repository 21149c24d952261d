//! The two ends of a stream of bytes, and the memory that its pieces lie in.

mod buffers;
mod recv;
mod send;

pub use buffers::Blocks;
pub use recv::{EndError, Incoming};
pub use send::Outgoing;
