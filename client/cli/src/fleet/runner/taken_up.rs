//! Commands that were begun before and are taken up, and what is started after them.

use std::time::Duration;

use rcmd_client::fleet::{FleetRules, Stop};
use rcmd_client::{ErrorKind, Outcome, Report, WireError};
use tokio::time::Instant;

use super::{Runner, begin};
use crate::fleet::assignment::Task;
use crate::fleet::display::Shown;

impl Runner {
    /// Returns the attempt under which a command is started that was to be taken up.
    pub(super) fn again(
        &self,
        task: Task,
        report: &Report,
        held_back: Option<Stop>,
    ) -> Option<u32> {
        let Task::Attach { attempt, again, .. } = task else { return None };
        match report.outcome {
            // Its host never started it: under the same key it still starts at most once.
            Outcome::NotStarted if held_back.is_none() && never_started(report) => Some(attempt),
            Outcome::Unknown => again,
            // It was not reached.
            Outcome::NotStarted if held_back.is_none() && !is_answer(report) => again,
            _ => None,
        }
    }

    /// Ends what was to be started after this pass.
    pub(super) fn give_up_next(&mut self, why: Stop) {
        for (index, task, report) in std::mem::take(&mut self.next) {
            match (task, report) {
                // It was taken up, and its host has said what it knows of it.
                (_, Some(report)) if is_answer(&report) => self.handle_end(index, report, None),
                (_, Some(report)) => self.end(index, Box::new(not_taken_up(*report)), false),
                (_, None) => {
                    let host = self.maker.host(index);
                    let failure = WireError::new(ErrorKind::HeldBack, why.why());
                    let report = Report::without_job(&host, Outcome::NotStarted, failure);
                    self.handle_end(index, Box::new(report), Some(why));
                }
            }
        }
    }

    /// Begins what remains after a pass. Returns whether there is anything.
    pub(super) fn begin_next(&mut self) -> bool {
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            self.give_up_next(Stop::Deadline);
        }
        if self.next.is_empty() {
            return false;
        }
        let mut next = std::mem::take(&mut self.next);
        next.sort_unstable_by_key(|(index, ..)| *index);
        for (index, _, report) in &next {
            // It may have had output; what never ran had none.
            if report.as_ref().is_some_and(|report| report.outcome == Outcome::Unknown) {
                self.show(Shown::Again { index: *index });
            }
        }
        self.tasks = next.into_iter().map(|(index, task, _)| (index, task)).collect();
        let rules = FleetRules { deadline: left, ..self.rules.clone() };
        self.fleet = self.fleet.clone().rules(rules);
        self.run = begin(&self.fleet, &self.maker, &self.tasks);
        true
    }
}

/// Returns whether the host says that it never started a command that was to be taken up: what keeps it
/// from being reached says nothing of that.
fn never_started(report: &Report) -> bool {
    report.error.as_ref().is_some_and(|error| error.kind == ErrorKind::NeverStarted)
}

/// Returns whether a report of a command that was to be taken up is an answer of its host about it.
pub(super) fn is_answer(report: &Report) -> bool {
    report.outcome != Outcome::NotStarted || report.job.is_some() || never_started(report)
}

/// Returns the report of a command that was begun before and could not be taken up: nobody knows more of
/// it than before. It is not recorded, so that it is taken up again later.
pub(super) fn not_taken_up(report: Report) -> Report {
    Report { outcome: Outcome::Unknown, retry_safe: false, ..report }
}
