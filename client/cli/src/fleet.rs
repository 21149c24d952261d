//! Runs over many hosts.
//!
//! | module | holds |
//! | --- | --- |
//! | `templates` | what differs from host to host in one command |
//! | `records` | what a run keeps on disk, so that it can be resumed |
//! | `resume` | what is left to do of a run |
//! | `runs` | the subcommand `runs` |

#[cfg_attr(not(test), expect(dead_code, reason = "runs over many hosts are to come"))]
pub(crate) mod records;
pub(crate) mod resume;
pub(crate) mod runs;
#[cfg_attr(not(test), expect(dead_code, reason = "runs over many hosts are to come"))]
pub(crate) mod templates;
