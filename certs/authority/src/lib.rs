//! The certificate authority of rcmd.
//!
//! | module | holds |
//! | --- | --- |
//! | [`ca`] | a key that signs certificates and revocation lists |
//! | [`state`] | what the authority keeps and decides: its store, its journal, what it is asked for |
//! | [`server`] | the listener that members reach, and the socket that commands on this host reach |
//! | [`backup`] | an authority in one file, under a passphrase |
//!
//! Each module uses those above it alone, and `rcmd-certs`, which holds what members need too. The
//! program `rcmd-certs` is a thin user of this library.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests may wait"))]

pub mod backup;
pub mod ca;
pub mod server;
pub mod state;

/// The policy of a new host, which permits the group `admin` everything: what `quickstart` writes,
/// and `rcmd-server policy init` too.
pub const POLICY: &str = include_str!("policy.cedar");
