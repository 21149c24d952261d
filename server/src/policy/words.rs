//! The text of a policy as words, for what Cedar does not tell of a rule.

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

/// Returns whether a rule's text has an attribute of the context: `context.NAME` or
/// `context["NAME"]`. A test with `has` alone does not count.
pub(super) fn names(rule: &str, attribute: &str) -> bool {
    let words: Vec<_> = Words::of(rule).map(|(_, word)| word).collect();
    let literal = format!("\"{attribute}\"");
    words.windows(3).any(|some| match some {
        ["context", ".", name] => *name == attribute,
        ["context", "[", name] => *name == literal,
        _ => false,
    })
}

/// Returns whether a rule's text asks whether the context has an attribute: `context has NAME`.
pub(super) fn tests_for(rule: &str, attribute: &str) -> bool {
    let words: Vec<_> = Words::of(rule).map(|(_, word)| word).collect();
    let literal = format!("\"{attribute}\"");
    words.windows(3).any(|some| match some {
        ["context", "has", name] => *name == attribute || *name == literal,
        _ => false,
    })
}

/// Returns the texts that a rule compares an attribute of the context with, by `==` or `!=`: each in
/// its quotes, with the offset of its first byte.
pub(super) fn compared<'a>(rule: &'a str, attribute: &str) -> Vec<(usize, &'a str)> {
    let words: Vec<_> = Words::of(rule).collect();
    let compared = words.windows(6).filter_map(|some| match some {
        [(_, "context"), (_, "."), (_, name), (_, "=" | "!"), (_, "="), (at, literal)]
            if *name == attribute && literal.starts_with('"') =>
        {
            Some((*at, *literal))
        }
        _ => None,
    });
    compared.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(condition: &str) -> String {
        format!(
            "@id(\"context.address\") permit (principal, action, resource) when {{ {condition} }};"
        )
    }

    #[test]
    fn an_attribute_is_named_where_it_is_read_and_nowhere_else() {
        for condition in [
            "context.address == ip(\"10.0.0.1\")",
            "context . address.isInRange(ip(\"10.0.0.0/8\"))",
            "context\n// which one\n.address.isIpv6()",
            "context[\"address\"].isLoopback()",
        ] {
            assert!(names(&rule(condition), "address"), "{condition}");
        }
        for condition in [
            "context has address",
            "context.path == \"context.address\"",
            "true // context.address",
            "context.addresses.contains(1)",
            "principal.address == 1",
            "context[\"addr\"]",
        ] {
            assert!(!names(&rule(condition), "address"), "{condition}");
        }
    }

    #[test]
    fn a_test_for_an_attribute_is_one_with_has() {
        for condition in ["context has lock", "!(context has \"lock\")", "context\nhas lock"] {
            assert!(tests_for(&rule(condition), "lock"), "{condition}");
        }
        for condition in [
            "context.lock == \"has lock\"",
            "context has locks",
            "true // context has lock",
            "context.path == \"context has lock\"",
            "principal has lock",
        ] {
            assert!(!tests_for(&rule(condition), "lock"), "{condition}");
        }
    }

    #[test]
    fn the_texts_that_an_attribute_is_compared_with_are_found_with_their_place() {
        let rule = rule("context.way == \"a\" && (context . way!=\"b\" || context.ways == \"c\")");
        let found = compared(&rule, "way");
        let texts: Vec<_> = found.iter().map(|(_, text)| *text).collect();
        assert_eq!(texts, ["\"a\"", "\"b\""]);
        assert!(found.iter().all(|(at, text)| rule[*at..].starts_with(text)));
    }
}
