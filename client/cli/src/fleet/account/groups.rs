//! Ends by their reason, and how many there are of each.

use std::cmp::Reverse;
use std::collections::HashMap;

use rcmd_client::WireError;
use serde::Serialize;

use super::reason::{Category, Reason};
use crate::text::Tone;

/// The numbers of ends of each kind. Serialized, with the run, they are the account as an object.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub(crate) struct Counts {
    /// The number that ended with status 0.
    pub(crate) exited: usize,
    /// The number that ended with another status, or by a signal.
    pub(crate) failed: usize,
    /// The number that ended at their time limit.
    pub(crate) timed_out: usize,
    /// The number that never ran, those that were held back included.
    pub(crate) not_started: usize,
    /// The number whose end is not known.
    pub(crate) unknown: usize,
    /// The number that would be permitted; none where that is not what was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) permitted: Option<usize>,
    /// The number of all ends.
    pub(crate) total: usize,
    /// The number of lines of a file of commands that were not read, and so have no end; none if all were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unread: Option<u64>,
}

/// Ends by their reason.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    groups: Vec<Group>,
    places: HashMap<Reason, usize>,
}

/// Ends for one reason.
#[derive(Debug)]
struct Group {
    reason: Reason,
    count: usize,
    /// The failure of one of them.
    example: Option<WireError>,
}

#[derive(Serialize)]
struct Event<'a> {
    event: &'static str,
    run: &'a str,
    #[serde(flatten)]
    counts: Counts,
}

/// Returns the account of a run as a line of JSON, without its end.
pub(crate) fn summary(run: &str, counts: Counts) -> String {
    let event = Event { event: "summary", run, counts };
    // Into memory, and with keys that are text: this can't fail.
    serde_json::to_string(&event).unwrap_or_default()
}

impl Groups {
    /// Adds an end, and returns the place of its group.
    pub(crate) fn add(&mut self, reason: Reason, error: Option<&WireError>) -> usize {
        let groups = &mut self.groups;
        let place = *self.places.entry(reason).or_insert_with(|| {
            groups.push(Group { reason, count: 0, example: error.cloned() });
            groups.len() - 1
        });
        if let Some(group) = groups.get_mut(place) {
            group.count += 1;
        }
        place
    }

    /// Returns how many ended how.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for group in &self.groups {
            let count = match group.reason.category() {
                Category::Exited => &mut counts.exited,
                Category::Failed => &mut counts.failed,
                Category::TimedOut => &mut counts.timed_out,
                Category::Permitted => counts.permitted.get_or_insert_default(),
                Category::NotStarted => &mut counts.not_started,
                Category::Unknown => &mut counts.unknown,
            };
            *count += group.count;
            counts.total += group.count;
        }
        counts
    }

    /// Returns the reasons for which anything ended.
    pub(super) fn reasons(&self) -> impl Iterator<Item = Reason> {
        self.groups.iter().map(|group| group.reason)
    }

    /// Returns lines for a person about the groups in which something went wrong, the most serious last;
    /// `names` are those of a group by its place.
    pub(crate) fn lines(&self, names: impl Fn(usize) -> String) -> Vec<(Tone, String)> {
        let mut lines = Vec::new();
        let mut groups: Vec<_> = self.groups.iter().enumerate().collect();
        // In an order that does not hang on which host ended first.
        groups.sort_by_key(|(place, Group { reason, count, .. })| {
            let status = if let Reason::Status(status) = reason { *status } else { 0 };
            (severity(*reason), status, Reverse(*count), *place)
        });
        for (place, group) in groups {
            if !group.reason.category().is_well() {
                group.put(&names(place), &mut lines);
            }
        }
        lines
    }
}

impl Group {
    fn put(&self, names: &str, lines: &mut Vec<(Tone, String)>) {
        let mut line = format!("{} {}: {names}", self.count, self.reason);
        if let Some(error) = &self.example {
            // One message stands for all, and does not say whose it is by itself.
            let example = if self.count > 1 { "for one: " } else { "" };
            line.extend([": ", example, &error.message]);
        }
        lines.push((Tone::Error, line));
        if let Some(hint) = self.example.as_ref().and_then(|error| error.hint.as_ref()) {
            lines.push((Tone::Notice, format!("hint: {hint}")));
        }
    }
}

/// Returns a reason's place among the others: what is certain stands first.
fn severity(reason: Reason) -> u8 {
    match reason {
        Reason::Status(_) | Reason::Permitted => 0,
        Reason::Signal(_) => 1,
        Reason::TimedOut => 2,
        Reason::HeldBack => 3,
        Reason::NotStarted(_) => 4,
        Reason::Unknown(_) => 5,
    }
}

impl Counts {
    /// Returns whether nothing went wrong.
    pub(crate) fn are_well(&self) -> bool {
        self.exited + self.permitted.unwrap_or_default() == self.total
    }

    /// Returns the numbers in a sentence about `all`, without those that are 0.
    pub(crate) fn sentence(&self, all: &str) -> String {
        let kinds = [
            (self.exited, "exited 0"),
            (self.permitted.unwrap_or_default(), "would be permitted"),
            (self.failed, "failed"),
            (self.timed_out, "timed out"),
            (self.not_started, "not started"),
            (self.unknown, "unknown"),
        ];
        let kinds = kinds.iter().filter(|(count, _)| *count > 0);
        let kinds: Vec<_> = kinds.map(|(count, word)| format!("{count} {word}")).collect();
        match kinds.is_empty() {
            true => all.to_owned(),
            false => format!("{all}: {}", kinds.join(", ")),
        }
    }
}
