//! From a listening socket to an authenticated peer.

pub mod accept;
pub mod listener;
