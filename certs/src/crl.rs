//! Revocation lists as members keep them: X.509 CRLs (RFC 5280 section 5), read and compared.
//!
//! What is read here is not trusted yet: the signature is the verifier's affair, which has the
//! authorities. `list.pem` holds one list for each key that the authority signs with, all of one
//! number.

mod accept;
mod set;

pub use accept::CrlRefused;
pub use set::{Crl, CrlError, CrlSet, MAX_LIST_FILE};

#[cfg(test)]
mod tests;
