//! Results on their way to be printed.

use std::collections::BTreeMap;

use super::one::Done;

/// Commands that ended and are not printed.
#[derive(Debug)]
pub(super) struct Results {
    /// The commands, by their places if they are printed in the order of the lines, else by the order of their ends.
    ended: BTreeMap<u64, Done>,
    added: u64,
    printed: u64,
    /// True if they are printed in the order of the lines.
    ordered: bool,
}

impl Results {
    /// Holds nothing yet.
    pub(super) fn new(ordered: bool) -> Self {
        Self { ended: BTreeMap::new(), added: 0, printed: 0, ordered }
    }

    /// Adds a command that ended.
    pub(super) fn add(&mut self, done: Done) {
        let place = if self.ordered { done.place } else { self.added };
        self.added += 1;
        self.ended.insert(place, done);
    }

    /// Returns how many wait.
    pub(super) fn len(&self) -> usize {
        self.ended.len()
    }

    /// Returns whether one may be printed now.
    pub(super) fn is_ready(&self) -> bool {
        let first = self.ended.first_key_value();
        first.is_some_and(|(place, _)| !self.ordered || *place == self.printed)
    }

    /// Forgets all that wait: nobody reads them.
    pub(super) fn clear(&mut self) {
        self.ended.clear();
    }

    /// Takes the first one away to be printed.
    pub(super) fn pop(&mut self) -> Option<Done> {
        let (_, done) = self.ended.pop_first()?;
        self.printed += 1;
        Some(done)
    }
}
