//! The words of a line, as far as they can be determined without a shell.

/// The maximum bytes of the name of a setting that are examined.
const NAME: usize = 256;

/// Returns whether a byte ends a word of a shell where it is not quoted.
pub(super) fn ends_word(byte: u8) -> bool {
    b" \t\n;|&()<>".contains(&byte)
}

/// Returns whether a byte quotes others, or makes a shell substitute something.
pub(super) fn quotes(byte: u8) -> bool {
    b"'\"\\`$".contains(&byte)
}

/// Returns the text before the byte at `end` that may be the name of a setting, or the end of one.
pub(super) fn name_before(text: &str, end: usize) -> &str {
    let before = text.get(..end).unwrap_or_default();
    let part = |byte: u8| !ends_word(byte) && !b"=,{}`".contains(&byte);
    let length = before.bytes().rev().take(NAME).take_while(|&byte| part(byte)).count();
    // The limit may have cut a character.
    let starts = (end - length..=end).find(|&at| before.is_char_boundary(at));
    starts.and_then(|at| before.get(at..)).unwrap_or_default()
}

/// Returns whether a character can't be part of an option or a name.
fn is_apart(c: char) -> bool {
    !c.is_alphanumeric() && c != '_' && c != '-'
}

/// A text without its quotes and backslashes.
#[derive(Debug)]
pub(super) struct Scan {
    bare: String,
    /// The offsets in `bare` at which something was left out.
    joints: Vec<usize>,
    /// True if a quote is open at the end, or if an expansion of a shell may contain quotes of its
    /// own.
    doubtful: bool,
    /// True if characters are written as their numbers.
    escaped: bool,
}

impl Scan {
    pub(super) fn of(text: &str) -> Self {
        let (mut bare, mut joints) = (String::with_capacity(text.len()), Vec::new());
        let (mut quote, mut doubtful) = (None, false);
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            let next = rest.peek().copied();
            doubtful |= match (quote, c, next) {
                (Some('\''), ..) => false,
                (_, '`', _) | (_, '$', Some('(' | '{' | '\'')) => true,
                (Some(_), '\\', _) => true,
                (None, '<' | '>', Some('(')) | (None, '<', Some('<')) => true,
                _ => false,
            };
            match (quote, c) {
                (Some(open), c) if open == c => quote = None,
                (None, '\'' | '"') => quote = Some(c),
                _ => {}
            }
            let left_out = match c {
                '\'' | '"' | '\\' => true,
                '$' => matches!(next, Some('\'' | '"')),
                _ => false,
            };
            if !left_out {
                bare.push(c);
                continue;
            }
            if joints.last() != Some(&bare.len()) {
                joints.push(bare.len());
            }
            // A character after a backslash does not quote; a backslash and a newline together are
            // nothing.
            match next {
                Some('\n') if c == '\\' => _ = rest.next(),
                Some(quoted) if c == '\\' && quote.is_none() => {
                    bare.push(quoted);
                    rest.next();
                }
                _ => {}
            }
        }
        let escaped = text.contains("$'") && text.contains('\\');
        Self { bare, joints, doubtful: doubtful || quote.is_some(), escaped }
    }

    /// Returns the text without quotes and backslashes.
    pub(super) fn bare(&self) -> &str {
        &self.bare
    }

    /// Returns whether a word may begin at this offset of the bare text, whichever program reads
    /// it.
    pub(super) fn begins(&self, at: usize) -> bool {
        let before = self.bare.get(..at).and_then(|before| before.chars().next_back());
        before.is_none_or(is_apart) || self.joints.binary_search(&at).is_ok()
    }

    /// Returns whether a word may end at this offset of the bare text.
    pub(super) fn ends(&self, at: usize) -> bool {
        let after = self.bare.get(at..).and_then(|after| after.chars().next());
        after.is_none_or(is_apart) || self.joints.binary_search(&at).is_ok()
    }

    /// Returns whether the ends of words can't be determined.
    pub(super) fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// Returns whether characters may be written as their numbers, so that a pattern would not be
    /// found.
    pub(super) fn is_escaped(&self) -> bool {
        self.escaped
    }
}

/// An iterator over words, each with the text between it and the next. Quotes and backslashes keep
/// a word together.
pub(super) struct Words<'a>(pub(super) &'a str);

impl<'a> Iterator for Words<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let is_end = |c: char| u8::try_from(c).is_ok_and(ends_word);
        let (mut quote, mut escape) = (None, false);
        let ends = |(at, c): (usize, char)| {
            let inside = quote.is_some() || std::mem::take(&mut escape);
            match (quote, c) {
                _ if !inside && is_end(c) => return Some(at),
                (Some(open), c) if open == c => quote = None,
                (None, '\'' | '"') if !inside => quote = Some(c),
                (None, '\\') if !inside => escape = true,
                _ => {}
            }
            None
        };
        let end = self.0.char_indices().find_map(ends).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        let next = rest.find(|c: char| !is_end(c));
        let (gap, rest) = rest.split_at(next.unwrap_or(rest.len()));
        self.0 = rest;
        Some((word, gap))
    }
}
