//! The certificate authority of rcmd.
//!
//! | module | holds |
//! | --- | --- |
//! | [`ca`] | a key that signs certificates and revocation lists |
//! | [`state`] | the state and the decisions of the authority: its store, its journal, requests to it |
//! | [`server`] | the listener that members reach, and the socket that commands on this host reach |
//! | [`backup`] | an authority in one file, under a passphrase |
//!
//! Each module uses only those above it, and the crate `rcmd-certs`, which holds what members need too. The
//! program `rcmd-certs` is a thin user of this library.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests may wait"))]

pub mod backup;
pub mod ca;
pub mod server;
pub mod state;

/// The policy of a new host, which permits the group `admin` everything: `quickstart` writes it, and so does
/// `rcmd-server policy init`.
pub const POLICY: &str = include_str!("policy.cedar");

/// The settings of a new host, which set the policy's vocabulary to 2. `quickstart` writes them with the policy, and
/// so does `rcmd-server policy init`.
pub const SETTINGS: &str = include_str!("server.toml");
