//! From a listening socket to an authenticated peer.

pub(crate) mod accept;
pub(crate) mod connection;
pub(crate) mod listener;
mod pending;
