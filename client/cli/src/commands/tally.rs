//! The number of commands that have ended, and the exit status of all together.

use std::fmt;

use rcmd_client::Report;

use crate::fleet::account::{Category, Reason};

/// The ends of commands so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    total: Option<u64>,
    done: u64,
    failed: u64,
    /// The least certain of the ends; none before the first.
    least_certain: Option<Category>,
}

impl Tally {
    /// Returns a tally of nothing yet; `total` is how many there will be, if that is known.
    pub(super) fn new(total: Option<u64>) -> Self {
        Self { total, ..Self::default() }
    }

    /// Counts a command that ended.
    pub(super) fn add(&mut self, report: &Report) {
        let category = Reason::of(report).category();
        self.done += 1;
        self.failed += u64::from(!category.is_well());
        self.least_certain = self.least_certain.max(Some(category));
    }

    /// Returns how many have not ended, if that is known.
    pub(super) fn left(&self) -> Option<u64> {
        self.total.map(|total| total.saturating_sub(self.done))
    }

    /// Returns the exit status of all, as of several hosts: the least certain of them decides.
    pub(super) fn status(&self) -> u8 {
        self.least_certain.map_or(0, Category::status)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.total {
            Some(total) => write!(f, "{}/{total} done", self.done)?,
            None => write!(f, "{} done", self.done)?,
        }
        match self.failed {
            0 => Ok(()),
            failed => write!(f, ", {failed} failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rcmd_client::{ErrorKind, Outcome, WireError};

    use super::*;

    fn ended(outcome: Outcome, code: Option<u8>) -> Report {
        Report { code, ..Report::without_job("web1", outcome, WireError::new(ErrorKind::Lost, "")) }
    }

    #[test]
    fn the_least_certain_end_decides() {
        let mut tally = Tally::new(Some(9));
        assert_eq!((tally.left(), Tally::new(None).left()), (Some(9), None));
        let ends = [
            (Outcome::Exited, Some(0), 0),
            (Outcome::Exited, Some(3), 1),
            (Outcome::TimedOut, Some(0), 124),
            (Outcome::Signaled, None, 124),
            (Outcome::NotStarted, None, 125),
            (Outcome::Exited, Some(0), 125),
            (Outcome::Unknown, None, 255),
            (Outcome::NotStarted, None, 255),
        ];
        for (outcome, code, status) in ends {
            tally.add(&ended(outcome, code));
            assert_eq!(tally.status(), status, "after {outcome}");
        }
        assert_eq!((tally.to_string(), tally.left()), ("8/9 done, 6 failed".to_owned(), Some(1)));
    }
}
