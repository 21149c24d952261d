//! The server's trust: certificates, keys and lists as they are in use, and the peers judged by
//! them.

mod origin;
mod peer;
mod store;

pub use origin::{PeerOrigin, Way};
pub use peer::{Peer, Principal};
pub use store::{InstallError, Trust, TrustError, age};
