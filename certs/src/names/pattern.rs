//! Many names in one word: `web[01-50]`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::text::printable;

/// The most names that one pattern may stand for.
pub const MAX_NAMES: usize = 10_000;

/// The longest pattern, in bytes.
const MAX_PATTERN: usize = 256;

/// A set of names that differ in a number: `web[01-50]`, `db[1-3,7].example.org`. There is one pair of brackets.
/// A number keeps its leading zeros: `[01-50]` begins with `01`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Pattern {
    text: String,
    before: String,
    ranges: Vec<Range>,
    after: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: u32,
    last: u32,
    width: usize,
}

/// The error of a text that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` is not a set of names: write one range in brackets, as in web[01-50] or db[1-3,7].example.org, \
     for at most {MAX_NAMES} names",
    printable(.0)
)]
pub struct BadPattern(String);

impl Pattern {
    /// Returns all the names, in order.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let numbers = self
            .ranges
            .iter()
            .flat_map(|range| (range.first..=range.last).map(|number| (number, range.width)));
        numbers.map(|(number, width)| format!("{}{number:0width$}{}", self.before, self.after))
    }

    /// Returns whether `name` is one of them.
    pub fn contains(&self, name: &str) -> bool {
        self.names().any(|each| each == name)
    }

    /// Returns the number of names, at most [`MAX_NAMES`].
    pub fn count(&self) -> usize {
        self.ranges.iter().map(Range::count).sum()
    }
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let digits = |text: &str| {
            let fits =
                (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
            if fits { text.parse().ok() } else { None }
        };
        let range = Self { first: digits(first)?, last: digits(last)?, width: first.len() };
        (range.first <= range.last && range.count() <= MAX_NAMES).then_some(range)
    }

    fn count(&self) -> usize {
        usize::try_from(self.last - self.first).map_or(usize::MAX, |more| more.saturating_add(1))
    }
}

fn parse(text: &str) -> Option<Pattern> {
    if text.len() > MAX_PATTERN {
        return None;
    }
    let (before, rest) = text.split_once('[')?;
    let (inside, after) = rest.split_once(']')?;
    if after.contains(['[', ']']) || before.contains(']') {
        return None;
    }
    let ranges = inside.split(',').map(Range::parse).collect::<Option<Vec<_>>>()?;
    let (text, before, after) = (text.to_owned(), before.to_owned(), after.to_owned());
    let pattern = Pattern { text, before, ranges, after };
    (pattern.count() <= MAX_NAMES).then_some(pattern)
}

impl FromStr for Pattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        parse(text).ok_or_else(|| BadPattern(text.to_owned()))
    }
}

impl TryFrom<String> for Pattern {
    type Error = BadPattern;

    fn try_from(text: String) -> Result<Self, BadPattern> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.parse::<Pattern>().unwrap().names().collect()
    }

    #[test]
    fn a_range_keeps_its_leading_zeros() {
        assert_eq!(names("web[08-11]"), ["web08", "web09", "web10", "web11"]);
        assert_eq!(names("db[1-2,7].example"), ["db1.example", "db2.example", "db7.example"]);
        let pattern: Pattern = "web[01-50]".parse().unwrap();
        assert_eq!(pattern.count(), 50);
        assert!(pattern.contains("web07") && !pattern.contains("web7"));
    }

    #[test]
    fn what_is_no_set_of_names_is_refused() {
        for text in [
            "",
            "web",
            "web[",
            "web]",
            "web[]",
            "web[a-b]",
            "web[5-1]",
            "web[1-2][3-4]",
            "web[1",
            "web[-1]",
            "web[1-]",
            "web[+1]",
            "web[1-99999]",
            "web[0-9999,1]",
            "web[1-9999999999]",
            "]a[1-2]",
        ] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
        assert!(("a".repeat(300) + "[1-2]").parse::<Pattern>().is_err());
    }
}
