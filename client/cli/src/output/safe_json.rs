//! JSON that may go to a terminal: its texts have escapes in place of what a terminal obeys or does not show.

use std::io::{self, Write};

use rcmd_certs::text::is_safe;
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// Appends a value as JSON in one line, without its end. Every control, invisible and direction-changing character is
/// escaped, wherever the line goes to: for a reader of JSON that is the same text.
///
/// # Errors
/// The value has keys that are no text.
pub(crate) fn append(out: &mut Vec<u8>, value: &impl Serialize) -> serde_json::Result<()> {
    value.serialize(&mut Serializer::with_formatter(out, Escaping))
}

struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(|character: char| !is_safe(character)) {
            let (plain, from) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            let mut characters = from.chars();
            if let Some(character) = characters.next() {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
            rest = characters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_or_does_not_show_is_escaped_and_reads_the_same() {
        for (text, written) in [
            ("a b\u{e4}\u{1f600}", "\"a b\u{e4}\u{1f600}\""),
            ("\u{9b}2K", r#""\u009b2K""#),
            ("x\u{202e}y\u{200f}", r#""x\u202ey\u200f""#),
            ("\u{7f}\u{1b}\n\"", r#""\u007f\u001b\n\"""#),
            ("\u{e0041}", r#""\udb40\udc41""#),
            ("", r#""""#),
        ] {
            let mut out = Vec::new();
            append(&mut out, &text).unwrap();
            assert_eq!(String::from_utf8_lossy(&out), written);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
