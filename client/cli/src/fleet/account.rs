//! What came of all targets of a run: numbers that add up, names by reason, and the exit status.

use std::collections::HashMap;
use std::sync::Arc;

use rcmd_client::hosts::{HostSet, HostTarget};
use rcmd_client::{Report, Signal, WireError};
use serde::Serialize;

use crate::settings::Verbosity;
use crate::status;
use crate::text::Tone;

mod reason;
#[cfg(test)]
mod tests;

pub(crate) use reason::{Category, Reason};

/// What stopped a run before all of its targets had their turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stopped {
    /// `--canary` or `--max-failures`: too much failed.
    Failures,
    /// `--deadline`.
    Deadline,
    /// A signal of ours; SIGPIPE if the reader of standard output went away.
    Signal(Signal),
}

/// How many targets ended how. Serialized, with the run, it is the last event of `--json`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub(crate) struct Counts {
    /// With status 0.
    pub(crate) exited: usize,
    /// With another status, or by a signal.
    pub(crate) failed: usize,
    /// By their time limit.
    pub(crate) timed_out: usize,
    /// Nothing ran, those that were held back included.
    pub(crate) not_started: usize,
    /// Nobody knows.
    pub(crate) unknown: usize,
    /// All targets of the run.
    pub(crate) total: usize,
}

/// What came of all targets of a run.
#[derive(Debug)]
pub(crate) struct Account {
    run: String,
    targets: Arc<[HostTarget]>,
    /// For each target the place of its group, once it has ended.
    ends: Vec<Option<usize>>,
    groups: Vec<Group>,
    places: HashMap<Reason, usize>,
    templates: Vec<String>,
    /// What to type if something is left; none where the run can't be resumed.
    next: Option<String>,
}

/// The targets that ended for one reason.
#[derive(Debug)]
struct Group {
    reason: Reason,
    count: usize,
    /// What one of them said.
    example: Option<WireError>,
}

#[derive(Serialize)]
struct Event<'a> {
    event: &'static str,
    run: &'a str,
    #[serde(flatten)]
    counts: Counts,
}

impl Account {
    /// Returns the account of a run in which nothing has ended yet.
    pub(crate) fn new(run: String, targets: Arc<[HostTarget]>) -> Self {
        let ends = vec![None; targets.len()];
        let (groups, places) = (Vec::new(), HashMap::new());
        Self { run, targets, ends, groups, places, templates: Vec::new(), next: None }
    }

    /// Names the templates that were used, such as `{host}`.
    pub(crate) fn set_templates(&mut self, templates: Vec<String>) {
        self.templates = templates;
    }

    /// Sets what resumes the run, as one would type it; none where there is no record by which it can be.
    pub(crate) fn set_next(&mut self, command: Option<String>) {
        self.next = command;
    }

    /// Adds how a target ended; `held_back` if it never had its turn because the run stopped. The first
    /// end of a target counts.
    pub(crate) fn add(&mut self, index: usize, report: &Report, held_back: bool) {
        let Some(end) = self.ends.get_mut(index).filter(|end| end.is_none()) else { return };
        let reason = if held_back { Reason::HeldBack } else { Reason::of(report) };
        let groups = &mut self.groups;
        let place = *self.places.entry(reason).or_insert_with(|| {
            groups.push(Group { reason, count: 0, example: report.error.clone() });
            groups.len() - 1
        });
        if let Some(group) = groups.get_mut(place) {
            group.count += 1;
        }
        *end = Some(place);
    }

    /// Returns how many targets ended how. Those of which no end came count as unknown, so that the
    /// numbers add up at any time.
    pub(crate) fn counts(&self) -> Counts {
        let total = self.targets.len();
        let mut counts = Counts { total, ..Counts::default() };
        for group in &self.groups {
            let count = match group.reason.category() {
                Category::Exited => &mut counts.exited,
                Category::Failed => &mut counts.failed,
                Category::TimedOut => &mut counts.timed_out,
                Category::NotStarted => &mut counts.not_started,
                Category::Unknown => &mut counts.unknown,
            };
            *count += group.count;
        }
        counts.unknown += self.missing();
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
        let any = |wanted: &[Category]| {
            let groups = self.groups.iter().filter(|group| {
                // Without a reason to hold them back they simply did not start.
                group.reason != Reason::HeldBack || stopped.is_none()
            });
            groups.map(|group| group.reason.category()).any(|category| wanted.contains(&category))
        };
        if any(&[Category::Unknown]) || self.missing() > 0 {
            status::UNKNOWN
        } else if any(&[Category::NotStarted]) {
            status::NOT_STARTED
        } else if any(&[Category::TimedOut]) || stopped == Some(Stopped::Deadline) {
            status::TIMED_OUT
        } else {
            u8::from(any(&[Category::Failed]) || stopped == Some(Stopped::Failures))
        }
    }

    /// Returns the account as a line of JSON, without its end.
    pub(crate) fn event(&self) -> String {
        let event = Event { event: "summary", run: &self.run, counts: self.counts() };
        // Into memory, and with keys that are text: this can't fail.
        serde_json::to_string(&event).unwrap_or_default()
    }

    /// Returns the account as lines for a person: the numbers, then the groups, the most serious last.
    /// If nothing went wrong, there is nothing for a person who wants quiet.
    pub(crate) fn lines(&self, verbosity: Verbosity) -> Vec<(Tone, String)> {
        let counts = self.counts();
        let well = counts.exited == counts.total;
        if well && verbosity == Verbosity::Quiet {
            return Vec::new();
        }
        let mut lines = vec![(Tone::Notice, counts.sentence())];
        let mut groups: Vec<_> = self.groups.iter().enumerate().collect();
        groups.sort_by_key(|(place, group)| (severity(group.reason), *place));
        for (place, group) in groups {
            if group.reason.category() != Category::Exited {
                self.put_group(place, group, &mut lines);
            }
        }
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

    fn put_group(&self, place: usize, group: &Group, lines: &mut Vec<(Tone, String)>) {
        let names = self.names(|end| end == Some(place));
        let mut line = format!("{} {}: {names}", group.count, group.reason);
        if let Some(error) = &group.example {
            // One host's message stands for all, and does not say which host's it is by itself.
            let example = if group.count > 1 { "for one: " } else { "" };
            line.extend([": ", example, &error.message]);
        }
        lines.push((Tone::Error, line));
        if let Some(hint) = group.example.as_ref().and_then(|error| error.hint.as_ref()) {
            lines.push((Tone::Notice, format!("hint: {hint}")));
        }
    }

    /// Returns the folded names of the targets whose end is so.
    fn names(&self, chosen: impl Fn(Option<usize>) -> bool) -> String {
        let ends = self.ends.iter().zip(self.targets.iter());
        let chosen = ends.filter(|(end, _)| chosen(**end)).map(|(_, target)| &target.name);
        chosen.map(Arc::clone).collect::<HostSet>().fold()
    }
}

/// Returns a reason's place among the others: what is certain stands first.
fn severity(reason: Reason) -> u8 {
    match reason {
        Reason::Status(_) => 0,
        Reason::Signal(_) => 1,
        Reason::TimedOut => 2,
        Reason::HeldBack => 3,
        Reason::NotStarted(_) => 4,
        Reason::Unknown(_) => 5,
    }
}

impl Counts {
    /// Returns the numbers in a sentence, without those that are 0.
    fn sentence(&self) -> String {
        let hosts = match self.total {
            1 => "1 host".to_owned(),
            total => format!("{total} hosts"),
        };
        let kinds = [
            (self.exited, "exited 0"),
            (self.failed, "failed"),
            (self.timed_out, "timed out"),
            (self.not_started, "not started"),
            (self.unknown, "unknown"),
        ];
        let kinds = kinds.iter().filter(|(count, _)| *count > 0);
        let kinds: Vec<_> = kinds.map(|(count, word)| format!("{count} {word}")).collect();
        format!("{hosts}: {}", kinds.join(", "))
    }
}
