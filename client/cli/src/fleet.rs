//! Runs over many hosts.
//!
//! | module | holds |
//! | --- | --- |
//! | `templates` | what differs from host to host in one command |

#[cfg_attr(not(test), expect(dead_code, reason = "runs over many hosts are to come"))]
pub(crate) mod templates;
