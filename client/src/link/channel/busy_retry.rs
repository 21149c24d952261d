//! How long a busy host is asked again.

use std::time::Duration;

use rcmd_protocol::outcome::WireError;
use tokio::time::Instant;

/// How long a host may be busy. The host has said that nothing ran, so that the start can be sent
/// again whatever became of it.
#[derive(Debug)]
pub(super) struct BusyRetry {
    pub(super) limit: Duration,
    /// When it ends; known from the first such answer on.
    pub(super) until: Option<Instant>,
    /// The last such answer, as long as no other came.
    pub(super) answer: Option<WireError>,
}

impl BusyRetry {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, until: None, answer: None }
    }
}
