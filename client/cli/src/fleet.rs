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
#[allow(dead_code, unused_imports, reason = "runs over many hosts are to come")]
mod account;
#[allow(dead_code, unused_imports, reason = "runs over many hosts are to come")]
mod display;

/// Whether the command of a target began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(dead_code, reason = "runs over many hosts are to come")]
pub(crate) enum Began {
    /// Nothing was sent there, or nothing ran.
    Not,
    /// It ran, or may have run.
    Yes,
}
