//! The reasons why a start has led to no process.

use std::io;

use crate::process::{cgroup::Lease, children::Registration, error::SpawnError};

/// The reason why there is no process to supervise.
pub(in crate::process) enum Failure {
    /// No program has run, and none will.
    NotStarted(SpawnError),
    /// The child executed its program just when it was given up, and was killed. Processes that it
    /// started may live.
    Late(Registration, Option<Lease>),
    /// The child executes its program, but the runtime can't watch it. It must be killed.
    Unwatched(Registration, io::Error),
}

impl From<SpawnError> for Failure {
    fn from(error: SpawnError) -> Self {
        Self::NotStarted(error)
    }
}
