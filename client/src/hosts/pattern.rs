//! The names of one term: text with ranges. Names are counted before they are made.

use std::collections::HashSet;

use super::{
    error::Fault,
    limits::{MAX_HOSTS, MAX_NAME},
    range::Range,
};

/// Text and ranges in turn.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Pattern {
    pieces: Vec<Piece>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Piece {
    Text(String),
    Ranges(Vec<Range>),
}

impl Pattern {
    pub(super) fn push_text(&mut self, text: &str) {
        match self.pieces.last_mut() {
            Some(Piece::Text(before)) => before.push_str(text),
            _ if text.is_empty() => {}
            _ => self.pieces.push(Piece::Text(text.to_owned())),
        }
    }

    pub(super) fn push_ranges(&mut self, ranges: Vec<Range>) {
        self.pieces.push(Piece::Ranges(ranges));
    }

    /// Removes and returns the digits at the end of the text, which belong to the range that follows.
    pub(super) fn take_digits(&mut self) -> String {
        let Some(Piece::Text(text)) = self.pieces.last_mut() else { return String::new() };
        let kept = text.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let digits = text.split_off(kept);
        if text.is_empty() {
            self.pieces.pop();
        }
        digits
    }

    pub(super) fn ends_with_range(&self) -> bool {
        matches!(self.pieces.last(), Some(Piece::Ranges(_)))
    }

    /// Checks the number of names and their length before any is made.
    ///
    /// # Errors
    /// [`Fault::TooMany`] or [`Fault::LongName`].
    pub(super) fn check(&self) -> Result<(), Fault> {
        let shortest = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::Ranges(_) => 1,
        });
        if shortest.sum::<usize>() > MAX_NAME {
            return Err(Fault::LongName);
        }
        Ok(())
    }

    /// Returns how many numbers and names will be made.
    pub(super) fn work(&self) -> u128 {
        let counts = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Ranges(ranges) => Some(ranges.iter().map(Range::count).sum::<u128>()),
        });
        counts.fold(1, u128::saturating_add)
    }

    /// Returns the names, each once, in the order as written: the last range changes fastest. The caller must have
    /// checked [`Pattern::work`].
    ///
    /// # Errors
    /// [`Fault::TooMany`], before any name is made, or [`Fault::LongName`].
    pub(super) fn names(&self) -> Result<Vec<String>, Fault> {
        let parts: Vec<Vec<String>> = self
            .pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => vec![text.clone()],
                Piece::Ranges(ranges) => {
                    let mut seen = HashSet::new();
                    let numbers = ranges.iter().flat_map(Range::numbers);
                    numbers.filter(|number| seen.insert(number.clone())).collect()
                }
            })
            .collect();
        let count = parts.iter().map(|part| part.len() as u128).fold(1, u128::saturating_mul);
        if count > MAX_HOSTS as u128 {
            return Err(Fault::TooMany(count));
        }
        let longest = parts.iter().map(|part| part.iter().map(String::len).max());
        if longest.flatten().sum::<usize>() > MAX_NAME {
            return Err(Fault::LongName);
        }
        let mut names = vec![String::new()];
        for part in &parts {
            let with = |name: &String| -> Vec<String> {
                part.iter().map(|piece| format!("{name}{piece}")).collect()
            };
            names = names.iter().flat_map(with).collect();
        }
        Ok(names)
    }
}
