//! Lines that were read and that not all of their hosts have taken.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rcmd_client::WireError;

use crate::arguments::words::CommandSpec;

/// Bytes of memory that a line takes beside its text, and that each host takes which it names by itself.
const LINE: usize = 256;
const NAMED: usize = 32;

/// A line on its way to its hosts.
#[derive(Debug)]
pub(in crate::commands) struct Entry {
    /// The place of the line among those that ask for something, from 0.
    pub(in crate::commands) place: u64,
    /// The place of the line among all lines, from 1.
    pub(in crate::commands) number: u64,
    /// The command, or the reason why the line is no command.
    pub(in crate::commands) words: Result<CommandSpec, WireError>,
}

/// The lines by their positions, each until all of its hosts have taken it. Nothing is kept of a line that is
/// gone, also behind one that a host does not take.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    kept: BTreeMap<u64, Kept>,
    /// The position of the next line; positions count from 0.
    next: u64,
    /// The positions of the lines for all hosts of the set. As each host takes these in their order, the first is
    /// gone first.
    wide: VecDeque<u64>,
    /// The number of those that are gone.
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
        let position = self.next;
        self.next += 1;
        self.weight += weight;
        self.kept.insert(position, Kept { entry: Arc::new(entry), left: hosts, weight });
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
        let kept = self.kept.get_mut(&position)?;
        let entry = Arc::clone(&kept.entry);
        kept.left = kept.left.saturating_sub(1);
        if kept.left == 0 {
            self.weight -= kept.weight;
            self.kept.remove(&position);
            if self.wide.front() == Some(&position) {
                self.wide.pop_front();
                self.wide_gone += 1;
            }
        }
        Some(entry)
    }

    /// Returns how much memory the lines take, about, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(place: u64) -> Entry {
        Entry { place, number: place + 1, words: Ok(CommandSpec::Shell("true".into())) }
    }

    #[test]
    fn nothing_is_kept_of_lines_that_are_gone_behind_one_that_is_not_taken() {
        let mut backlog = Backlog::default();
        let hung = backlog.push(line(0), 1, false);
        let weight = backlog.weight();
        for place in 1..1000 {
            let position = backlog.push(line(place), 1, place % 2 == 0);
            assert_eq!(backlog.take(position).unwrap().place, place);
            assert!(backlog.take(position).is_none(), "its one host has taken it");
        }
        assert_eq!((backlog.kept.len(), backlog.wide.len()), (1, 0));
        assert_eq!((backlog.weight(), backlog.wide_end()), (weight, 499));
        assert_eq!(backlog.take(hung).unwrap().place, 0);
        assert_eq!(backlog.weight(), 0);
    }

    #[test]
    fn a_line_for_all_is_found_by_its_number_until_all_have_taken_it() {
        let mut backlog = Backlog::default();
        let positions: Vec<_> = (0..3).map(|place| backlog.push(line(place), 2, true)).collect();
        backlog.take(positions[0]);
        assert_eq!(backlog.wide_at(0), Some(positions[0]));
        backlog.take(positions[0]);
        assert_eq!((backlog.wide_at(0), backlog.wide_at(1)), (None, Some(positions[1])));
        assert_eq!((backlog.wide_at(2), backlog.wide_at(3)), (Some(positions[2]), None));
    }
}
