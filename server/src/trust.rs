//! The server's trust: certificates, keys and lists as they are in use, and the peers judged by
//! them.

mod peer;
mod store;

pub use peer::{Peer, Principal, Way};
pub use store::{InstallError, Trust, TrustError, age};
