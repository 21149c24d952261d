//! The only builder of rustls configurations.
//!
//! Every connection of rcmd is TLS 1.3 with aws-lc-rs, and both ends prove themselves. The first
//! key exchange is X25519MLKEM768, which stays secret even against a later quantum computer. The
//! first cipher is AES-256-GCM, the fastest of the three on processors with AES instructions. The
//! protocol name (ALPN) `rcmd/1` is required.
//!
//! There is no resumption, no ticket and no early data: rustls takes a resumed client's identity
//! from the ticket without asking the verifier, so a revoked or expired client would still come in,
//! and early data can be replayed.
//!
//! Certificates of other authorities work as well: `cert.pem` may hold a chain, leaf first;
//! `ca.pem` several authorities; a key may be PKCS #8, SEC1 or PKCS #1, of any kind that aws-lc-rs
//! signs with. [`ClientVerifier`] checks revocation.

mod check;
mod client_verifier;
mod config;
mod enrollment;
mod error;
mod files;
mod load;
pub mod remedy;
mod server_verifier;
mod signatures;

pub use check::{CertificateFinding, Problem, check_client, check_server, date_problem};
pub use client_verifier::{ClientVerifier, Revalidation, Revocation};
pub use config::{
    AHEAD, ALPN, ServerSide, WrongProtocol, check_alpn, client_config, provider, server_config,
    server_side,
};
pub use enrollment::{
    AUTHORITY_ALPN, LISTENER, LISTENER_NAME, contact_config, listener_config, listener_name,
};
pub use error::TlsError;
pub use files::{ClientFiles, ServerFiles};
pub(crate) use load::load_first;
pub use load::{
    certificates as load_all, crl_issuers, load_certificates, load_leaf, private_key as load_key,
    shown_certificates,
};
