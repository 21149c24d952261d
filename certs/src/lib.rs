//! Identity and trust in rcmd: what servers, clients and the authority need alike.
//!
//! A server proves the names that it is reached by; a client proves a user and that user's groups,
//! which [`Identity`] reads from the certificate. [`tls`] turns the files on disk into rustls
//! configurations, and nothing else in rcmd builds one. When a handshake fails, [`explain`] gives the
//! reason and the command to type next. The authority itself is the package `rcmd-authority`.
//!
//! | module | holds |
//! | --- | --- |
//! | [`clock`] | this machine's clock, and times as people read them |
//! | [`text`] | foreign text made safe to print |
//! | [`terminal`] | the width of a terminal, and whether it obeys |
//! | [`pem`] | DER as text |
//! | `log` | the log of programs that serve, with the feature `serve` |
//! | [`secret`] | values that are never printed |
//! | [`names`] | the names that users, groups and hosts may have |
//! | [`paths`] | the paths of rcmd's files: `--dir`, `$RCMD_DIR`, the defaults |
//! | [`files`] | bounded reads, private keys, atomic writes |
//! | [`fingerprint`] | the hash by which an authority is known before it is trusted |
//! | [`x509`] | the only reader of certificates |
//! | [`identity`] | the only parser of a client's identity |
//! | [`mapping`] | the users, groups and hosts that certificates of other authorities name |
//! | [`crl`] | revocation lists as members keep them |
//! | `listen` | sockets that listen, and peers that have not shown who they are, with the feature `serve` |
//! | [`tls`] | the only builder of rustls configurations |
//! | [`signature`] | statements of a host, signed with its key |
//! | [`explain`] | explanations of failed handshakes |
//! | [`enroll`] | the member's side of an authority: keys, tokens, messages |
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests may wait"))]

pub mod clock;
pub mod crl;
pub mod enroll;
pub mod explain;
pub mod files;
pub mod fingerprint;
pub mod identity;
#[cfg(feature = "serve")]
pub mod listen;
#[cfg(feature = "serve")]
pub mod log;
pub mod mapping;
pub mod names;
pub mod paths;
pub mod pem;
pub mod secret;
pub mod signature;
pub mod terminal;
pub mod text;
pub mod tls;
pub mod x509;

pub use identity::{Identity, IdentityError};
pub use paths::Layout;
