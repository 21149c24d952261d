//! From a listening socket to an authenticated peer.

mod accept;
pub(crate) mod connection;
pub(crate) mod listener;
mod pending;
