//! The pace of work for one peer, which gets a part of a processor's time over all, and a while of it at once.

use std::time::Duration;

use tokio::time::Instant;

/// The most time that one piece of work counts: in a longer one, the kernel ran something else.
const LONGEST: Duration = Duration::from_millis(2);

/// The work done so far, as the time at which pauses will have made up for it.
#[derive(Clone, Debug)]
pub struct WorkPace {
    /// The work gets one part in this many of a processor's time.
    part: u32,
    /// The time for which it may go on at once after a pause.
    at_once: Duration,
    clear_at: Option<Instant>,
}

impl WorkPace {
    /// Returns the pace of work that gets one part in `part` of a processor's time, and `at_once` of it after a pause.
    pub const fn new(part: u32, at_once: Duration) -> Self {
        Self { part, at_once, clear_at: None }
    }

    /// Counts a piece of work that took this long, up to 2 ms.
    pub fn count(&mut self, took: Duration, now: Instant) {
        let clear_at = self.clear_at.map_or(now, |at| at.max(now));
        self.clear_at = Some(clear_at + took.min(LONGEST) * self.part);
    }

    /// Returns the time to wait before more work.
    pub fn wait(&self, now: Instant) -> Duration {
        self.ahead(now).saturating_sub(self.at_once * self.part)
    }

    /// Returns the time until pauses will have made up for all work, as if none had been done.
    pub fn ahead(&self, now: Instant) -> Duration {
        self.clear_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }
}
