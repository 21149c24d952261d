//! From a listening socket to an authenticated peer.

mod accept;
pub mod connection;
pub mod listener;
mod pending;

pub use pending::PendingHandshakes;
