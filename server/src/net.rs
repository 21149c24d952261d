//! From a listening socket to an authenticated peer.

pub mod accept;
pub mod connection;
pub mod listener;
