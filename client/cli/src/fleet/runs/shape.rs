//! Text that fits a width.

use std::fmt;
use std::io::{self, IsTerminal as _};

use rcmd_certs::clock;

use crate::terminal;
use crate::text::{CUT, columns, columns_of};

/// Returns the columns of standard output; none if it is no terminal, where nothing is cut.
pub(super) fn width() -> Option<usize> {
    let out = io::stdout();
    out.is_terminal().then(|| terminal::columns(&out))
}

/// Returns a text, cut to so many columns.
pub(super) fn cut(text: &str, most: usize) -> String {
    if columns(text) <= most {
        return text.to_owned();
    }
    let mut room = most.saturating_sub(columns_of(CUT));
    let fits = |character: &char| {
        let fits = columns_of(*character) <= room;
        room = room.saturating_sub(columns_of(*character));
        fits
    };
    let mut cut: String = text.chars().take_while(fits).collect();
    cut.push(CUT);
    cut
}

/// Returns how many of `room` columns each of two texts gets: all that it needs, or half, or what the other
/// leaves.
pub(super) fn room_for_two(first: &str, second: &str, room: usize) -> (usize, usize) {
    let (first, second) = (columns(first), columns(second));
    let half = room / 2;
    let given = first.min(half.max(room.saturating_sub(second)));
    (given, room.saturating_sub(given))
}

/// A time of the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ago {
    /// The date and time in the form of RFC 3339, in UTC.
    pub(super) date: String,
    seconds: u64,
}

impl Ago {
    /// Returns the time `at` as it is seen `now`, both in milliseconds since 1970.
    pub(super) fn new(at: u64, now: u64) -> Self {
        let date = clock::date(i64::try_from(at / 1000).unwrap_or(i64::MAX));
        // A time to come is of a clock that was set back.
        Self { date, seconds: now.saturating_sub(at) / 1000 }
    }
}

impl fmt::Display for Ago {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ago", clock::span(self.seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_to_its_room_and_says_so() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdef", 5), "abcd…");
        assert_eq!(cut("北京市", 5), "北京…");
        assert_eq!(cut("北京市", 4), "北…");
        assert_eq!(cut("abc", 0), "…");
    }

    #[test]
    fn two_texts_share_the_room_by_need() {
        assert_eq!(room_for_two("ab", "cd", 80), (2, 78));
        assert_eq!(room_for_two(&"a".repeat(50), "cd", 20), (18, 2));
        assert_eq!(room_for_two("ab", &"c".repeat(50), 20), (2, 18));
        assert_eq!(room_for_two(&"a".repeat(50), &"c".repeat(50), 21), (10, 11));
        assert_eq!(room_for_two("ab", "cd", 0), (0, 0));
    }

    #[test]
    fn a_time_is_told_as_date_and_as_time_since() {
        let ago = Ago::new(1_764_279_676_123, 1_764_279_676_123 + 180_999);
        assert_eq!((&*ago.date, &*ago.to_string()), ("2025-11-27T21:41:16Z", "3 minutes ago"));
        assert_eq!(Ago::new(9_000, 0).to_string(), "0 seconds ago");
    }
}
