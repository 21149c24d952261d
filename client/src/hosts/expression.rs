//! Parsing text into terms, which operators join from left to right.

use std::net::Ipv6Addr;

use super::{
    error::{Fault, HostsError},
    limits::MAX_EXPRESSION,
    pattern::Pattern,
    range,
};
use crate::inventory::name::is_in_names;

/// A parsed expression: terms and operators. Its hosts depend on the inventory; see
/// [`Evaluation`](super::Evaluation).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expression {
    pub(super) text: String,
    pub(super) terms: Vec<Term>,
}

/// One term with its operator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Term {
    pub(super) operator: Operator,
    pub(super) meaning: Meaning,
    /// The text as written.
    pub(super) text: String,
    /// The column, in characters from 1.
    pub(super) column: usize,
}

/// The operator before a term.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operator {
    Union,
    Minus,
    And,
    Either,
}

/// The content of a term.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Meaning {
    /// Hosts by name.
    Names(Pattern),
    /// Known hosts whose names match wildcards.
    Wild(Pattern),
    /// The hosts of groups, each written as `GROUP` or `SOURCE:GROUP`.
    Groups(Pattern),
    /// All known hosts, or all hosts of a source.
    All(Option<String>),
}

impl Operator {
    fn read(character: char) -> Option<Self> {
        match character {
            ',' => Some(Self::Union),
            '!' => Some(Self::Minus),
            '&' => Some(Self::And),
            '^' => Some(Self::Either),
            _ => None,
        }
    }
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// The fault, with its column and advice.
    pub fn parse(text: &str) -> Result<Self, HostsError> {
        let failed = |at: usize, fault| {
            let column = text.get(..at).map_or(0, |before| before.chars().count() + 1);
            HostsError::given(text, column, fault)
        };
        if text.is_empty() {
            return Err(HostsError::given(text, 0, Fault::Empty));
        }
        if text.len() > MAX_EXPRESSION {
            return Err(HostsError::given("", 0, Fault::TooLong));
        }
        let (mut terms, mut operator, mut start) = (Vec::new(), None, 0);
        loop {
            let mut reader = Reader { text, start, at: start };
            let meaning = reader.term().map_err(|(at, fault)| failed(at, fault))?;
            let end = reader.at;
            let next = text.get(end..).and_then(|rest| rest.chars().next());
            let Some(meaning) = meaning else {
                let fault = match (operator, next) {
                    (_, Some(next)) => Fault::MissingName { operator: next, before: true },
                    (Some((operator, _)), None) => Fault::MissingName { operator, before: false },
                    (None, None) => Fault::Empty,
                };
                let at = if next.is_some() { end } else { start.saturating_sub(1) };
                return Err(failed(at, fault));
            };
            terms.push(Term {
                operator: operator.map_or(Operator::Union, |(_, operator)| operator),
                meaning,
                text: text.get(start..end).unwrap_or_default().to_owned(),
                column: text.get(..start).map_or(0, |before| before.chars().count()) + 1,
            });
            match next.and_then(|next| Some((next, Operator::read(next)?))) {
                None => break,
                found => {
                    operator = found;
                    start = end + 1;
                }
            }
        }
        Ok(Self { text: text.to_owned(), terms })
    }

    /// Returns the expression as written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Returns an IPv6 address in brackets at the beginning of a text, valid or not, and the text after it.
pub(super) fn address_in_brackets(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix('[')?;
    let end = inside.find(']')?;
    let (address, rest) = text.split_at_checked(end + 2)?;
    address.contains(':').then_some((address, rest))
}

/// A reader of one term, from `start` on.
struct Reader<'a> {
    text: &'a str,
    start: usize,
    /// The position of the next byte.
    at: usize,
}

/// A fault and the position of its byte.
type Failed = (usize, Fault);

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Reads up to an operator or the end; `None` if there is no text before it.
    fn term(&mut self) -> Result<Option<Meaning>, Failed> {
        let group = self.rest().starts_with('@');
        if group {
            self.at += 1;
            if let Some(all) = self.all() {
                return Ok(Some(Meaning::All(all)));
            }
        }
        let (mut pattern, mut wild) = (Pattern::default(), false);
        if let Some((address, rest)) = address_in_brackets(self.rest()) {
            let inside = address.trim_start_matches('[').trim_end_matches(']');
            if inside.parse::<Ipv6Addr>().is_err() {
                return Err((self.at, Fault::NoAddress(inside.to_owned())));
            }
            pattern.push_text(address);
            self.at += address.len();
            if !rest.is_empty() && !rest.starts_with([':', ',', '!', '&', '^']) {
                return Err((self.at, Fault::TextBesideAddress));
            }
        }
        while let Some(next) = self.rest().chars().next() {
            match next {
                _ if Operator::read(next).is_some() => break,
                '[' => self.range(&mut pattern)?,
                ']' => return Err((self.at, Fault::StrayBracket)),
                '@' if !group => return Err((self.at, self.user())),
                '*' | '?' if group => return Err((self.at, Fault::WildGroup)),
                _ if next.is_whitespace() => return Err((self.at, Fault::Blank)),
                _ if !is_in_names(next) && !"*?".contains(next) => {
                    return Err((self.at, Fault::BadCharacter(next)));
                }
                _ => {
                    wild |= "*?".contains(next);
                    let end = self.at + next.len_utf8();
                    pattern.push_text(self.text.get(self.at..end).unwrap_or_default());
                    self.at = end;
                }
            }
        }
        let written = self.text.get(self.start..self.at).unwrap_or_default();
        match written {
            "" => return Ok(None),
            "@" => return Err((self.start, Fault::MissingGroup)),
            "." | ".." => return Err((self.start, Fault::Dots)),
            _ if written.starts_with('-') => return Err((self.start, Fault::Dash)),
            _ => {}
        }
        Ok(Some(match (group, wild) {
            (true, _) => Meaning::Groups(pattern),
            (false, true) => Meaning::Wild(pattern),
            (false, false) => Meaning::Names(pattern),
        }))
    }

    /// Reads `*` or `SOURCE:*` after the `@`, if the text has it.
    fn all(&mut self) -> Option<Option<String>> {
        let rest = self.rest();
        let end = rest.find([',', '!', '&', '^']).unwrap_or(rest.len());
        let name = rest.get(..end)?;
        let source = match name.strip_suffix('*')? {
            "" => None,
            source => Some(source.strip_suffix(':')?),
        };
        if source.is_some_and(|source| !source.chars().all(is_in_names) || source.contains(':')) {
            return None;
        }
        self.at += end;
        Some(source.map(str::to_owned))
    }

    /// Reads a pair of brackets and the digits after it. The digits before it are taken from the text read so
    /// far.
    fn range(&mut self, pattern: &mut Pattern) -> Result<(), Failed> {
        let opens = self.at;
        let inside = self.rest().strip_prefix('[').unwrap_or_default();
        let Some((inside, behind)) = inside.split_once(']') else {
            return Err((opens, Fault::OpenBracket));
        };
        if pattern.ends_with_range() {
            return Err((opens, Fault::TouchingRanges));
        }
        if inside.contains(':') {
            return Err((opens, Fault::TextBesideAddress));
        }
        if let Some(at) = inside.find(char::is_whitespace) {
            return Err((opens + 1 + at, Fault::Blank));
        }
        let digits = behind.len() - behind.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let behind = behind.get(..digits).unwrap_or_default();
        let before = pattern.take_digits();
        let ranges = range::read(inside, &before, behind).map_err(|(at, fault)| {
            let bytes = inside.char_indices().nth(at).map_or(inside.len(), |(byte, _)| byte);
            (opens + 1 + bytes, fault)
        })?;
        pattern.push_ranges(ranges);
        self.at = opens + inside.len() + 2 + digits;
        Ok(())
    }

    /// Returns the fault of a name with a user before it.
    fn user(&self) -> Fault {
        let user = self.text.get(self.start..self.at).unwrap_or_default().to_owned();
        let rest = self.rest().get(1..).unwrap_or_default();
        let host = rest.split([',', '!', '&', '^']).next().unwrap_or_default().to_owned();
        Fault::User { user, host }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> (usize, Fault) {
        let error = Expression::parse(text).unwrap_err();
        (error.column, *error.fault)
    }

    #[test]
    fn what_is_wrong_is_told_with_its_column() {
        let missing = |operator, before| Fault::MissingName { operator, before };
        for (text, column, wrong) in [
            ("", 0, Fault::Empty),
            (" ", 1, Fault::Blank),
            ("a b", 2, Fault::Blank),
            ("a[1 -2]", 4, Fault::Blank),
            (",", 1, missing(',', true)),
            ("a,", 2, missing(',', false)),
            ("a,,b", 3, missing(',', true)),
            ("!a", 1, missing('!', true)),
            ("a!", 2, missing('!', false)),
            ("é,a&", 4, missing('&', false)),
            ("a[1-3", 2, Fault::OpenBracket),
            ("a[1[2]", 3, Fault::NoNumber("1[2".to_owned())),
            ("a1-3]", 5, Fault::StrayBracket),
            ("a[1-2][3-4]", 7, Fault::TouchingRanges),
            ("a[1-2]3[4-5]", 8, Fault::TouchingRanges),
            ("a[]", 3, Fault::MissingNumber),
            ("a[1,]", 5, Fault::MissingNumber),
            ("a[1-3],b[x]", 10, Fault::NoNumber("x".to_owned())),
            ("[a:b]", 1, Fault::NoAddress("a:b".to_owned())),
            ("[::1]x", 6, Fault::TextBesideAddress),
            ("x[::1]", 2, Fault::TextBesideAddress),
            ("a,-x", 3, Fault::Dash),
            ("-[1-2]", 1, Fault::Dash),
            ("..", 1, Fault::Dots),
            ("a,.", 3, Fault::Dots),
            ("a;b", 2, Fault::BadCharacter(';')),
            ("a\u{1b}", 2, Fault::BadCharacter('\u{1b}')),
            ("@", 1, Fault::MissingGroup),
            ("@a*", 3, Fault::WildGroup),
            ("root@a", 5, Fault::User { user: "root".to_owned(), host: "a".to_owned() }),
        ] {
            assert_eq!(fault(text), (column, wrong), "{text:?}");
        }
        let long = "a,".repeat(MAX_EXPRESSION);
        assert_eq!(fault(&long), (0, Fault::TooLong));
    }

    #[test]
    fn every_fault_is_told_in_one_line_with_what_to_do() {
        for text in ["a\u{1b}[2J", "a\u{202e}b@c", "[a:b]", "@a*", "a[5-1]", "x\ny"] {
            let error = Expression::parse(text).unwrap_err();
            let told = format!("{error} {}", error.fault.hint());
            assert!(!told.chars().any(|c| !rcmd_certs::text::is_safe(c)), "{told:?}");
            assert!(error.fault.hint().ends_with('.'), "{told}");
        }
        let error = Expression::parse("web[1-").unwrap_err();
        assert_eq!(error.to_string(), "`web[1-`, column 4: the bracket is not closed");
    }

    #[test]
    fn terms_are_told_apart() {
        let meanings = |text: &str| -> Vec<_> {
            Expression::parse(text).unwrap().terms.into_iter().map(|term| term.meaning).collect()
        };
        assert!(matches!(&meanings("@*,@db:*,@web,w*")[..], [
            Meaning::All(None),
            Meaning::All(Some(source)),
            Meaning::Groups(_),
            Meaning::Wild(_),
        ] if source == "db"));
        let terms = Expression::parse("a!b[1-2]^c").unwrap().terms;
        let terms: Vec<_> =
            terms.iter().map(|term| (term.operator, term.text.as_str(), term.column)).collect();
        assert_eq!(
            terms,
            [
                (Operator::Union, "a", 1),
                (Operator::Minus, "b[1-2]", 3),
                (Operator::Either, "c", 10),
            ]
        );
    }
}
