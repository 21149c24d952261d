//! Who is who in rcmd: what servers, clients and the authority need alike.
//!
//! A server proves the names that it is reached by; a client proves a user and that user's groups,
//! which [`Identity`] reads from the certificate. [`tls`] turns the files on disk into rustls
//! configurations, and nothing else in rcmd builds one. When a handshake fails, [`explain`] says why,
//! and which command to type next. The authority itself is the package `rcmd-authority`.
//!
//! | module | holds |
//! | --- | --- |
//! | [`clock`] | this machine's clock, and times as people read them |
//! | [`text`] | foreign text made safe to print |
//! | [`pem`] | DER as text |
//! | `log` | the log of programs that serve, with the feature `log` |
//! | [`secret`] | what is never printed |
//! | [`names`] | what a user, a group and a host may be called |
//! | [`paths`] | where the files lie: `--dir`, `$RCMD_DIR`, the defaults |
//! | [`files`] | bounded reads, private keys, atomic writes |
//! | [`fingerprint`] | how an authority is known before it is trusted |
//! | [`x509`] | the one reader of certificates |
//! | [`identity`] | the one parser of who a client is |
//! | [`mapping`] | whom the certificates of other authorities name |
//! | [`crl`] | revocation lists as members keep them |
//! | [`listen`] | sockets that listen, and peers that have not shown who they are |
//! | [`tls`] | the one builder of rustls configurations |
//! | [`signature`] | what a host signs of itself |
//! | [`explain`] | failed handshakes in words |
//! | [`enroll`] | what a member does towards its authority: keys, tokens, messages |
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests may wait"))]

pub mod clock;
pub mod crl;
pub mod enroll;
pub mod explain;
pub mod files;
pub mod fingerprint;
pub mod identity;
pub mod listen;
#[cfg(feature = "log")]
pub mod log;
pub mod mapping;
pub mod names;
pub mod paths;
pub mod pem;
pub mod secret;
pub mod signature;
pub mod text;
pub mod tls;
pub mod x509;

pub use identity::{Identity, IdentityError};
pub use paths::Layout;
