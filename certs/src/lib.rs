//! Who is who in rcmd.
//!
//! An [`Authority`](ca::Authority) signs certificates. A server proves the names that it
//! is reached by; a client proves a user and that user's groups, which [`Identity`] reads from the
//! certificate. [`tls`] turns the files on disk into rustls configurations, and nothing else in
//! rcmd builds one. When a handshake fails, [`explain`] says why, and which command to type next.
//!
//! | module | holds |
//! | --- | --- |
//! | [`paths`] | where the files lie: `--dir`, `$RCMD_DIR`, the defaults |
//! | [`clock`] | this machine's clock, and times as people read them |
//! | [`pem`] | DER as text |
//! | [`files`] | bounded reads, private keys, atomic writes |
//! | [`names`] | what a user, a group and a host may be called |
//! | [`x509`] | the one reader of certificates |
//! | [`identity`] | the one parser of who a client is |
//! | [`backup`] | an authority under a passphrase |
//! | [`mapping`] | whom the certificates of other authorities name |
//! | [`ca`] | making and signing certificates |
//! | [`fingerprint`] | how an authority is known before it is trusted |
//! | [`enroll`] | what a member does towards its authority, tokens and messages included |
//! | [`crl`] | revocation lists as members keep them |
//! | [`state`] | the authority at work: its store, its journal, what it is asked for |
//! | [`server`] | the authority's listener |
//! | [`tls`] | the one builder of rustls configurations |
//! | [`explain`] | failed handshakes in words |
//! | [`signature`] | what a host signs of itself |
//! | [`text`] | foreign text made safe to print |
//!
//! The program `rcmd-certs` is a thin user of this library.
#![forbid(unsafe_code)]

pub mod backup;
pub mod ca;
pub mod clock;
pub mod crl;
pub mod enroll;
pub mod explain;
pub mod files;
pub mod fingerprint;
pub mod identity;
pub mod mapping;
pub mod names;
pub mod paths;
pub mod pem;
pub mod server;
pub mod signature;
pub mod state;
pub mod text;
pub mod tls;
pub mod x509;

pub use identity::{Identity, IdentityError};
pub use paths::Layout;

/// The policy of a new host, which permits the group `admin` everything. It lies here, where nothing
/// reads it, because `quickstart` writes it and the server's `policy init` too.
pub const POLICY: &str = include_str!("policy.cedar");
