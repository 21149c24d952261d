//! How far the transfers are: numbers that the engines' threads set and the display reads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rcmd_transfer::Progress;

/// How far one host is.
#[derive(Debug, Default)]
pub(super) struct HostTally {
    entries: AtomicU64,
    announced: AtomicU64,
    settled: AtomicU64,
    crossed: AtomicU64,
    passed: AtomicU64,
    /// True once a file was met that is there already: then bytes say little.
    has_unsent: AtomicBool,
    runs: AtomicBool,
    has_ended: AtomicBool,
}

impl HostTally {
    /// Notes that the host's turn has come.
    pub(super) fn begin(&self) {
        self.runs.store(true, Ordering::Relaxed);
    }

    /// Notes that the host has ended.
    pub(super) fn end(&self) {
        self.runs.store(false, Ordering::Relaxed);
        self.has_ended.store(true, Ordering::Relaxed);
    }

    /// Notes how far the engine is.
    pub(super) fn set(&self, progress: &Progress) {
        self.entries.store(progress.entries, Ordering::Relaxed);
        self.announced.store(progress.announced, Ordering::Relaxed);
        self.settled.store(progress.settled, Ordering::Relaxed);
        self.crossed.store(progress.crossed, Ordering::Relaxed);
        self.passed.store(progress.passed, Ordering::Relaxed);
    }

    /// Notes a file that was not sent.
    pub(super) fn note_unsent(&self) {
        self.has_unsent.store(true, Ordering::Relaxed);
    }

    /// Returns the numbers now.
    pub(super) fn look(&self) -> Look {
        Look {
            progress: Progress {
                entries: self.entries.load(Ordering::Relaxed),
                announced: self.announced.load(Ordering::Relaxed),
                settled: self.settled.load(Ordering::Relaxed),
                crossed: self.crossed.load(Ordering::Relaxed),
                passed: self.passed.load(Ordering::Relaxed),
            },
            has_unsent: self.has_unsent.load(Ordering::Relaxed),
            runs: self.runs.load(Ordering::Relaxed),
            has_ended: self.has_ended.load(Ordering::Relaxed),
        }
    }
}

/// How far one host was at one time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Look {
    pub(super) progress: Progress,
    pub(super) has_unsent: bool,
    pub(super) runs: bool,
    pub(super) has_ended: bool,
}

impl Look {
    /// Returns how much is done, in percent, as far as is known: of the bytes, or of the files if some need not be sent.
    pub(super) fn percent(&self) -> Option<u64> {
        let Progress { entries, announced, settled, passed, .. } = self.progress;
        let (done, all) = match self.has_unsent || announced == 0 {
            true => (settled, entries),
            false => (passed, announced),
        };
        // Not all is done before the end was agreed on.
        let percent = (u128::from(done) * 100).checked_div(u128::from(all))?;
        Some(u64::try_from(percent).unwrap_or(u64::MAX).min(99))
    }

    /// Returns how long the rest takes at this rate, in bytes a second; none if that is not known.
    pub(super) fn left(&self, rate: u64) -> Option<Duration> {
        let rest = self.progress.announced.checked_sub(self.progress.passed)?;
        let known = !self.has_unsent && rest > 0;
        known.then(|| rest.checked_div(rate)).flatten().map(Duration::from_secs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(progress: [u64; 4], has_unsent: bool) -> Look {
        let [entries, announced, settled, passed] = progress;
        // Holes, and what was there, need not cross.
        let progress = Progress { entries, announced, settled, crossed: passed / 2, passed };
        Look { progress, has_unsent, ..Look::default() }
    }

    #[test]
    fn percent_are_of_bytes_or_of_files_if_some_are_there_already() {
        assert_eq!(look([2, 1000, 1, 250], false).percent(), Some(25));
        assert_eq!(look([4, 1000, 1, 0], true).percent(), Some(25));
        assert_eq!(look([0, 0, 0, 0], false).percent(), None);
        assert_eq!(look([1, 0, 1, 0], false).percent(), Some(99));
        assert_eq!(look([1, 10, 1, u64::MAX], false).percent(), Some(99));
    }

    #[test]
    fn the_time_left_is_told_where_it_can_be_known() {
        assert_eq!(look([1, 1000, 0, 200], false).left(100), Some(Duration::from_secs(8)));
        assert_eq!(look([1, 1000, 0, 200], false).left(0), None);
        assert_eq!(look([1, 1000, 0, 200], true).left(100), None);
        assert_eq!(look([1, 1000, 0, 1000], false).left(100), None);
        assert_eq!(look([1, 1000, 0, 2000], false).left(100), None);
    }
}
