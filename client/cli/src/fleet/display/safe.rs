//! Foreign bytes as text that a terminal shows and does not obey.

use std::fmt::Write as _;

use rcmd_certs::text::is_safe;

/// Appends bytes to a text: control, invisible and direction-changing characters but tab and newline are
/// escaped as `\u{1b}`, bytes that are no UTF-8 as `\xff`.
pub(super) fn put_safe(bytes: &[u8], text: &mut Vec<u8>) {
    let mut escape = String::new();
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(at) = rest.find(|c| !is_safe(c) && c != '\t' && c != '\n') {
            let (safe, behind) = rest.split_at(at);
            text.extend_from_slice(safe.as_bytes());
            let mut behind = behind.chars();
            escape.clear();
            escape.extend(behind.next().into_iter().flat_map(char::escape_unicode));
            text.extend_from_slice(escape.as_bytes());
            rest = behind.as_str();
        }
        text.extend_from_slice(rest.as_bytes());
        for byte in chunk.invalid() {
            escape.clear();
            // Writing to a String does not fail.
            let _ = write!(escape, "\\x{byte:02x}");
            text.extend_from_slice(escape.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn safe(bytes: &[u8]) -> String {
        let mut text = Vec::new();
        put_safe(bytes, &mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn what_a_terminal_would_obey_is_text() {
        assert_eq!(safe(b"\x1b]0;title\x07\rx\x1b[2J"), "\\u{1b}]0;title\\u{7}\\u{d}x\\u{1b}[2J");
        assert_eq!(safe("\u{9b}2J\u{202e}\u{200b}".as_bytes()), "\\u{9b}2J\\u{202e}\\u{200b}");
        assert_eq!(safe(b"\x9b2J\xff\0"), "\\x9b2J\\xff\\u{0}");
    }

    #[test]
    fn text_stays_what_it_is() {
        assert_eq!(safe("a\tb\n磁盘 é \u{1d11e}\n\n".as_bytes()), "a\tb\n磁盘 é \u{1d11e}\n\n");
        assert_eq!(safe(b""), "");
    }

    #[test]
    fn every_byte_before_and_behind_every_other_is_safe() {
        for one in 0..=255 {
            for other in 0..=255 {
                let text = safe(&[one, other]);
                assert!(
                    text.chars().all(|c| is_safe(c) || c == '\t' || c == '\n'),
                    "{one} {other}"
                );
            }
        }
    }
}
