//! The network side of the server: listening sockets, and the handshakes that authenticate peers.

mod accept;
pub(crate) mod connection;
pub(crate) mod listener;
mod pending;
pub(crate) mod pulse;
