//! Making and signing certificates.
//!
//! An authority holds one key and signs leaves for servers and clients, never another authority
//! (pathLenConstraint 0). The rest of a leaf is always built here from a [`LeafSpec`]: a request
//! from elsewhere contributes its public key and nothing more, so that it cannot ask for CA:TRUE or
//! for somebody else's name.
//!
//! The key may be that of an intermediate, so that the root's can be kept offline. In that case
//! `authority/cert.pem` holds the intermediate and the certificates between it and the root, every leaf
//! carries them, and members trust only the root.

mod authority;
mod crl;
mod error;
mod leaf;
mod load;
mod params;
mod request;

pub use authority::{AUTHORITY_DAYS, Authority, Issued};
pub(crate) use crl::RevokedEntry;
pub use error::AuthorityError;
pub use leaf::{LEAF_DAYS, LeafSpec, Usage};
pub use request::{CsrError, ProvenKey};

#[cfg(test)]
mod tests;
