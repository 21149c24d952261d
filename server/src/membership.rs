//! The server as a member of its authority: what it trusts, whom it takes back, how it renews.
//!
//! | file | holds |
//! | --- | --- |
//! | `trust` | certificates, keys and lists as they are in use, and connections judged by them |
//! | `upkeep` | renewal and lists, while the server runs |
//! | `command` | `rcmd-server enroll` and `rcmd-server status` |

pub mod command;
mod trust;
mod upkeep;

pub use trust::{Trust, TrustError, watch_over};
pub use upkeep::{begin, spawn};
