//! Lines that were read and that not all of their hosts have taken.

use std::collections::VecDeque;
use std::sync::Arc;

use rcmd_client::WireError;

use crate::arguments::words::CommandSpec;

/// What a line costs in memory beside its text, and what each host that it names by itself does.
const LINE: usize = 256;
const NAMED: usize = 32;

/// A line on its way to its hosts.
#[derive(Debug)]
pub(in crate::commands) struct Entry {
    /// Its place among the lines that ask for something, from 0.
    pub(in crate::commands) place: u64,
    /// Its place among all lines, from 1.
    pub(in crate::commands) number: u64,
    /// What it asks for, or why that can't be told.
    pub(in crate::commands) words: Result<CommandSpec, WireError>,
}

/// The lines in their order, each until all of its hosts have taken it.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    kept: VecDeque<Option<Kept>>,
    /// The position of the first that is kept; positions count from 0.
    first: u64,
    /// The positions of the lines for all hosts of the set.
    wide: VecDeque<u64>,
    /// How many of those are gone.
    wide_gone: u64,
    weight: usize,
}

#[derive(Debug)]
struct Kept {
    entry: Arc<Entry>,
    /// Hosts that have not taken it.
    left: usize,
    weight: usize,
}

impl Backlog {
    /// Adds a line for so many hosts, and returns its position. A line for all hosts of the set is
    /// `wide`; any other weighs something for each host.
    pub(super) fn push(&mut self, entry: Entry, hosts: usize, wide: bool) -> u64 {
        let text = match &entry.words {
            Ok(CommandSpec::Shell(line)) => line.len(),
            Ok(CommandSpec::Exec { program, arguments }) => {
                let arguments = arguments.iter().map(|word| word.len() + 32);
                program.len() + arguments.sum::<usize>()
            }
            Err(failure) => failure.message.len(),
        };
        let weight = text + LINE + if wide { 0 } else { hosts.saturating_mul(NAMED) };
        let position = self.first + self.kept.len() as u64;
        self.weight += weight;
        self.kept.push_back(Some(Kept { entry: Arc::new(entry), left: hosts, weight }));
        if wide {
            self.wide.push_back(position);
        }
        position
    }

    /// Returns the position of a line for all hosts of the set, counted from 0 among those; none past the
    /// last.
    pub(super) fn wide_at(&self, number: u64) -> Option<u64> {
        let at = usize::try_from(number.checked_sub(self.wide_gone)?).ok()?;
        self.wide.get(at).copied()
    }

    /// Returns how many lines for all hosts of the set there were.
    pub(super) fn wide_end(&self) -> u64 {
        self.wide_gone + self.wide.len() as u64
    }

    /// Takes a line for one of its hosts.
    pub(super) fn take(&mut self, position: u64) -> Option<Arc<Entry>> {
        let at = usize::try_from(position.checked_sub(self.first)?).ok()?;
        let slot = self.kept.get_mut(at)?;
        let kept = slot.as_mut()?;
        let entry = Arc::clone(&kept.entry);
        kept.left = kept.left.saturating_sub(1);
        if kept.left == 0 {
            self.weight -= kept.weight;
            *slot = None;
            while matches!(self.kept.front(), Some(None)) {
                self.kept.pop_front();
                self.first += 1;
            }
            while self.wide.front().is_some_and(|position| *position < self.first) {
                self.wide.pop_front();
                self.wide_gone += 1;
            }
        }
        Some(entry)
    }

    /// Returns how much memory the lines take, about.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }
}
