//! How long a busy host is asked again.

use std::time::Duration;

use rcmd_protocol::outcome::WireError;
use tokio::time::Instant;

/// How long a host may be busy. The host has said that nothing ran, so that the start can be sent
/// again whatever became of it.
#[derive(Debug)]
pub(super) enum BusyRetry {
    /// It has not said that it is busy. From the first time on it has so long.
    Untried(Duration),
    /// It has.
    Busy {
        /// When nobody waits for it any more.
        until: Instant,
        /// What it said last.
        answer: WireError,
    },
}

impl BusyRetry {
    /// Returns when nobody waits for the host any more, if it says now that it is busy.
    pub(super) fn ends(&self, now: Instant) -> Instant {
        match self {
            Self::Untried(limit) => now + *limit,
            Self::Busy { until, .. } => *until,
        }
    }
}
