//! The account of a run: numbers that add up, names by reason, and the exit status.

use std::sync::Arc;

use rcmd_client::hosts::{HostSet, HostTarget};
use rcmd_client::{Report, Signal};

use crate::settings::Verbosity;
use crate::text::Tone;

mod groups;
mod reason;
#[cfg(test)]
mod tests;

pub(crate) use groups::{Counts, Groups, summary};
pub(crate) use reason::{Category, Reason};

/// The reason for which a run stopped before all of its targets had their turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stopped {
    /// The failures that `--canary` or `--max-failures` allows were exceeded.
    Failures,
    /// The time that `--deadline` allows was over.
    Deadline,
    /// A signal came to this process; SIGPIPE if the reader of standard output went away.
    Signal(Signal),
}

/// The ends of all targets of a run.
#[derive(Debug)]
pub(crate) struct Account {
    run: String,
    targets: Arc<[HostTarget]>,
    /// The places of the targets' groups; none for a target that has not ended.
    ends: Vec<Option<usize>>,
    groups: Groups,
    templates: Vec<String>,
    /// The command to type if something is left; none where the run can't be resumed.
    next: Option<String>,
    /// True if hosts are only asked what they would permit.
    asks: bool,
}

impl Account {
    /// Returns the account of a run in which nothing has ended yet.
    pub(crate) fn new(run: String, targets: Arc<[HostTarget]>) -> Self {
        let ends = vec![None; targets.len()];
        let groups = Groups::default();
        Self { run, targets, ends, groups, templates: Vec::new(), next: None, asks: false }
    }

    /// Names the templates that were used, such as `{host}`.
    pub(crate) fn set_templates(&mut self, templates: Vec<String>) {
        self.templates = templates;
    }

    /// Sets what resumes the run, as one would type it; none where there is no record by which it can be.
    pub(crate) fn set_next(&mut self, command: Option<String>) {
        self.next = command;
    }

    /// Sets whether hosts are only asked what they would permit.
    pub(crate) fn set_asks(&mut self, asks: bool) {
        self.asks = asks;
    }

    /// Adds how a target ended; `held_back` if it never had its turn because the run stopped. The first
    /// end of a target counts.
    pub(crate) fn add(&mut self, index: usize, report: &Report, held_back: bool) {
        let Some(end) = self.ends.get_mut(index).filter(|end| end.is_none()) else { return };
        let reason = match held_back {
            true => Reason::HeldBack,
            false if self.asks && report.error.is_none() => Reason::Permitted,
            false => Reason::of(report),
        };
        let place = self.groups.add(reason, report.error.as_ref());
        *end = Some(place);
    }

    /// Returns how many targets ended how. Those of which no end came count as unknown, so that the
    /// numbers add up at any time.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts { total: self.targets.len(), ..self.groups.counts() };
        counts.unknown += self.missing();
        counts.permitted = counts.permitted.or(self.asks.then_some(0));
        counts
    }

    /// Returns the targets of which no end came.
    pub(crate) fn unended(&self) -> Vec<usize> {
        let ends = self.ends.iter().enumerate();
        ends.filter(|(_, end)| end.is_none()).map(|(index, _)| index).collect()
    }

    /// Returns of how many targets no end came.
    fn missing(&self) -> usize {
        self.ends.iter().filter(|end| end.is_none()).count()
    }

    /// Returns the exit status of all. The least certain end decides; hosts that were held back leave it
    /// to what stopped the run.
    pub(crate) fn status(&self, stopped: Option<Stopped>) -> u8 {
        if let Some(Stopped::Signal(signal)) = stopped {
            return signal.exit_status();
        }
        let reasons = self.groups.reasons().filter(|reason| {
            // Without a reason to hold them back they simply did not start.
            *reason != Reason::HeldBack || stopped.is_none()
        });
        let cause = match stopped {
            Some(Stopped::Deadline) => Some(Category::TimedOut),
            Some(Stopped::Failures) => Some(Category::Failed),
            Some(Stopped::Signal(_)) | None => None,
        };
        let missing = (self.missing() > 0).then_some(Category::Unknown);
        let ends = reasons.map(Reason::category).chain(cause).chain(missing);
        ends.max().map_or(0, Category::status)
    }

    /// Returns the account as a line of JSON, without its end.
    pub(crate) fn event(&self) -> String {
        summary(&self.run, self.counts())
    }

    /// Returns the account as lines for a person: the numbers, then the groups, the most serious last.
    /// If nothing went wrong, there is nothing for a person who wants quiet.
    pub(crate) fn lines(&self, verbosity: Verbosity) -> Vec<(Tone, String)> {
        let counts = self.counts();
        if counts.are_well() && verbosity == Verbosity::Quiet {
            return Vec::new();
        }
        let all = match counts.total {
            1 => "1 host".to_owned(),
            total => format!("{total} hosts"),
        };
        let mut lines = vec![(Tone::Notice, counts.sentence(&all))];
        lines.extend(self.groups.lines(|place| self.names(|end| end == Some(place))));
        if self.missing() > 0 {
            let names = self.names(|end| end.is_none());
            lines.push((Tone::Error, format!("{} unknown: {names}: no end came", self.missing())));
        }
        if !self.templates.is_empty() && verbosity > Verbosity::Quiet {
            lines.push((Tone::Notice, format!("templates: {}", self.templates.join(" "))));
        }
        if let Some(next) = &self.next
            && counts.not_started + counts.unknown > 0
        {
            lines.push((Tone::Notice, format!("next: {next}")));
        }
        lines
    }

    /// Returns the folded names of the targets whose end is so.
    fn names(&self, chosen: impl Fn(Option<usize>) -> bool) -> String {
        let ends = self.ends.iter().zip(self.targets.iter());
        let chosen = ends.filter(|(end, _)| chosen(**end)).map(|(_, target)| &target.name);
        chosen.map(Arc::clone).collect::<HostSet>().fold()
    }
}
