//! How many commands have ended, and the exit status of all together.

use std::fmt;

use rcmd_client::{Outcome, Report};

use crate::status;

/// What came of the commands so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    total: Option<u64>,
    done: u64,
    failed: u64,
    unknown: bool,
    not_started: bool,
    timed_out: bool,
}

impl Tally {
    /// Returns a tally of nothing yet; `total` is how many there will be, if that is known.
    pub(super) fn new(total: Option<u64>) -> Self {
        Self { total, ..Self::default() }
    }

    /// Counts a command that ended.
    pub(super) fn add(&mut self, report: &Report) {
        self.done += 1;
        self.failed += u64::from(!report.has_succeeded());
        match report.outcome {
            Outcome::Unknown => self.unknown = true,
            Outcome::NotStarted => self.not_started = true,
            Outcome::TimedOut => self.timed_out = true,
            _ => {}
        }
    }

    /// Returns the exit status of all, as of several hosts: the least certain of them decides.
    pub(super) fn status(&self) -> u8 {
        match self {
            Self { unknown: true, .. } => status::UNKNOWN,
            Self { not_started: true, .. } => status::NOT_STARTED,
            Self { timed_out: true, .. } => status::TIMED_OUT,
            Self { failed: 1.., .. } => 1,
            _ => 0,
        }
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
    use rcmd_client::{ErrorKind, WireError};

    use super::*;

    fn ended(outcome: Outcome, code: Option<u8>) -> Report {
        Report { code, ..Report::without_job("web1", outcome, WireError::new(ErrorKind::Lost, "")) }
    }

    #[test]
    fn the_least_certain_end_decides() {
        let mut tally = Tally::new(Some(9));
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
        assert_eq!(tally.to_string(), "8/9 done, 6 failed");
    }
}
