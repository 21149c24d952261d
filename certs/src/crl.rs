//! Revocation lists as members keep them: X.509 CRLs (RFC 5280 section 5), read and compared.
//!
//! A list that is read here is not trusted yet: its signature is checked by the verifier, which has the
//! authorities. `list.pem` holds one list for each key that the authority signs with, all of the same
//! number.

mod accept;
mod set;

pub use accept::CrlRefused;
pub use set::{Crl, CrlError, CrlSet, MAX_LIST_FILE};

#[cfg(test)]
mod tests;
