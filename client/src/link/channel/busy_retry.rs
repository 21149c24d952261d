//! The time for which a busy host is asked again.

use std::time::Duration;

use rcmd_protocol::outcome::WireError;
use tokio::time::Instant;

/// The time for which a host may be busy. With such an answer it says that nothing ran, so that the start can
/// be sent again.
#[derive(Debug)]
pub(super) enum BusyRetry {
    /// The host has not said that it is busy. When it does, the start is sent again for this time.
    Untried(Duration),
    /// The host has said that it is busy.
    Busy {
        /// The end of that time.
        until: Instant,
        /// The last answer of the host.
        answer: WireError,
        /// The number of such answers that the host has given.
        answers: u32,
    },
}

impl BusyRetry {
    /// Returns the end of the time for which the start is sent again, if the host says now that it is busy.
    pub(super) fn ends(&self, now: Instant) -> Instant {
        match self {
            Self::Untried(limit) => now + *limit,
            Self::Busy { until, .. } => *until,
        }
    }

    /// Returns how many times the host has said that it is busy.
    pub(super) fn answers(&self) -> u32 {
        match self {
            Self::Untried(_) => 0,
            Self::Busy { answers, .. } => *answers,
        }
    }
}
