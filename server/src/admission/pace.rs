//! The pace at which commands end, and so at which a queue moves.

use std::time::{Duration, Instant};

/// The mean time between the ends of commands, weighted towards the latest.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    last: Option<Instant>,
    gap: Option<Duration>,
}

impl Pace {
    /// Counts the end of a command.
    pub(super) fn step(&mut self, now: Instant) {
        if let Some(last) = self.last.replace(now) {
            let gap = now.saturating_duration_since(last);
            self.gap = Some(self.gap.map_or(gap, |mean| (mean * 7 + gap) / 8));
        }
    }

    /// Returns how long to wait before trying a queue with `waiting` commands again: the time in which
    /// half of them are expected to leave, from 100 ms to 10 s, or 1 s if the pace is not known yet.
    pub(super) fn retry_after(&self, waiting: usize) -> Duration {
        const UNKNOWN: Duration = Duration::from_secs(1);
        const LEAST: Duration = Duration::from_millis(100);
        const MOST: Duration = Duration::from_secs(10);
        let turns = u32::try_from(waiting / 2 + 1).unwrap_or(u32::MAX);
        self.gap.map_or(UNKNOWN, |gap| gap.saturating_mul(turns).clamp(LEAST, MOST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_to_a_full_queue_is_told_to_come_when_half_of_it_has_gone() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert_eq!(pace.retry_after(100), Duration::from_secs(1));
        for n in 0..100 {
            pace.step(now + n * Duration::from_millis(20));
        }
        assert_eq!(pace.retry_after(100), Duration::from_millis(20 * 51));
        assert_eq!(pace.retry_after(0), Duration::from_millis(100));
        assert_eq!(pace.retry_after(usize::MAX), Duration::from_secs(10));
    }
}
