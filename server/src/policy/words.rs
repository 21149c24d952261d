//! The text of a policy as words.

/// The words of a policy, without its comments. A string is one word.
pub(super) struct Words<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Words<'a> {
    /// Returns the words of a text, each with the offset of its first byte.
    pub(super) fn of(text: &'a str) -> Self {
        Self { text, at: 0 }
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = (usize, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.text.get(self.at..)?;
            let first = rest.chars().next()?;
            let at = self.at;
            let length = if rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
                continue;
            } else if first == '"' {
                string(rest)
            } else if is_of_a_word(first) {
                rest.find(|c| !is_of_a_word(c)).unwrap_or(rest.len())
            } else {
                first.len_utf8()
            };
            self.at += length;
            if !first.is_whitespace() {
                return Some((at, rest.get(..length).unwrap_or(rest)));
            }
        }
    }
}

fn is_of_a_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns the length of the string that a text begins with, or of the whole text if the string is
/// not closed.
fn string(text: &str) -> usize {
    let mut escaped = true;
    let end = text.char_indices().find(|(at, c)| {
        let closes = *at > 0 && *c == '"' && !escaped;
        escaped = *at > 0 && *c == '\\' && !escaped;
        closes
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}
