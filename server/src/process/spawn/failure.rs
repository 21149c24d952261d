//! Why a start came to no process.

use std::io;

use crate::process::{cgroup::Lease, children::Registration, error::SpawnError};

/// Why there is no process to supervise.
pub(in crate::process) enum Failure {
    /// Nothing has run, and nothing will.
    NotStarted(SpawnError),
    /// It executed its program just when it was given up, and was killed. What it started may live.
    Late(Registration, Option<Lease>),
    /// It executes its program, and the runtime can't watch it. It is to be killed.
    Unwatched(Registration, io::Error),
}

impl From<SpawnError> for Failure {
    fn from(error: SpawnError) -> Self {
        Self::NotStarted(error)
    }
}
