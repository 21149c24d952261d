//! Patterns in a path that was typed, of one name each: `*` is any characters, `?` is one, and `[a-z]` and `[!a-z]` are
//! one of a set and one of none. A name that begins with a dot is meant only by a pattern that does.
//!
//! Both ends of a transfer read them here, so that a receiver can tell whether what it is sent was asked for.

/// Returns whether a name on the way of a path stands for others.
#[must_use]
pub fn is_pattern(name: &[u8]) -> bool {
    name.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['))
}

/// Returns whether a pattern means a name. Both are bytes; `?` and a set are one byte. It takes a time that grows with
/// the product of the two lengths at most.
#[must_use]
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    let (mut pattern, mut name) = (pattern, name);
    // What the last star is followed by, and where it was tried last.
    let mut again: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => return true,
            (Some((b'*', rest)), _) => {
                again = Some((rest, name));
                pattern = rest;
                continue;
            }
            (Some(_), Some((byte, after))) => {
                if let Some(rest) = one(pattern, *byte) {
                    (pattern, name) = (rest, after);
                    continue;
                }
            }
            _ => {}
        }
        // The last star takes one byte more.
        match again.and_then(|(rest, tried)| Some((rest, tried.split_first()?.1))) {
            Some((rest, tried)) => {
                again = Some((rest, tried));
                (pattern, name) = (rest, tried);
            }
            None => return false,
        }
    }
}

/// Returns the rest of a pattern whose first element, which is no star, means a byte.
fn one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    let (first, rest) = pattern.split_first()?;
    match first {
        b'?' => Some(rest),
        b'[' => match set(rest, byte) {
            Some((true, after)) => Some(after),
            Some((false, _)) => None,
            // A set without an end is the character itself.
            None => (byte == b'[').then_some(rest),
        },
        first => (*first == byte).then_some(rest),
    }
}

/// Returns whether a set has a byte, and what follows the set; nothing if it has no end. A `]` that comes first is one
/// of its characters.
fn set(inner: &[u8], byte: u8) -> Option<(bool, &[u8])> {
    let negated = inner.strip_prefix(b"!").or_else(|| inner.strip_prefix(b"^"));
    let mut rest = negated.unwrap_or(inner);
    let mut has = false;
    let mut is_first = true;
    loop {
        let (low, after) = rest.split_first()?;
        if *low == b']' && !is_first {
            return Some((has != negated.is_some(), after));
        }
        is_first = false;
        (has, rest) = match after {
            [b'-', high, beyond @ ..] if *high != b']' => {
                (has || (*low..=*high).contains(&byte), beyond)
            }
            _ => (has || *low == byte, after),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_what_a_shell_takes_it_for() {
        let cases: [(&str, &[&str], &[&str]); 9] = [
            ("*", &["a", "a.b", "-rf"], &[".a"]),
            (".*", &[".a", "."], &["a"]),
            ("*.txt", &["a.txt", "a.b.txt"], &[".txt", "a.txt.gz", "atxt"]),
            ("a*b*c", &["abc", "axbxbxc"], &["ab", "acb", "abcd"]),
            ("?", &["a", "*"], &["", "ab", "."]),
            ("r[1-3].x", &["r1.x", "r3.x"], &["r4.x", "r[1-3].x", "r.x"]),
            ("[!a-c]x", &["dx", "]x"], &["ax", "x"]),
            ("[]a-]x", &["]x", "ax", "-x"], &["bx"]),
            ("a[b", &["a[b"], &["ab"]),
        ];
        for (pattern, yes, no) in cases {
            let means = |name: &str| matches(pattern.as_bytes(), name.as_bytes());
            assert!(yes.iter().all(|name| means(name)), "{pattern}");
            assert!(!no.iter().any(|name| means(name)), "{pattern}");
        }
        assert!(matches(b"\xff*", b"\xff\xfe") && !matches(b"\xff", b"\xfe"));
        assert!(is_pattern(b"a[") && is_pattern(b"*") && is_pattern(b"?") && !is_pattern(b"a]!^-"));
    }

    #[test]
    fn many_stars_are_no_trap() {
        let (pattern, name) = (b"*a".repeat(1_000), b"a".repeat(100_000));
        assert!(!matches(&[&pattern[..], b"b"].concat(), &name));
    }
}
