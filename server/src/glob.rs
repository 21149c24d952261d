//! Patterns in which `*` matches any text.

/// Returns whether a text matches a pattern, in which `*` matches any bytes.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let mut parts = pattern.split(|&byte| byte == b'*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        // The first match is the best: it leaves the most text for the parts that follow.
        match rest.windows(part.len().max(1)).position(|window| window.starts_with(part)) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None if part.is_empty() => {}
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_anywhere() {
        let cases: [(&str, &str, bool); 12] = [
            ("", "", true),
            ("", "*", true),
            ("abc", "*", true),
            ("abc", "a*c", true),
            ("ac", "a*c", true),
            ("abcd", "a*c", false),
            ("abcbc", "a*bc", true),
            ("aXbYc", "a*b*c", true),
            ("ab", "a*b*b", false),
            ("x", "**", true),
            ("ab", "b*", false),
            ("aa", "a", false),
        ];
        for (text, pattern, expected) in cases {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{text} {pattern}");
        }
    }
}
