//! Strings of any bytes in a record: each can be read back exactly, and none can control a
//! terminal.

use std::io;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcmd_certs::text::{escaped, is_safe};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The maximum bytes of a text that stays readable in a record, however long its escapes make it.
const SHORT: usize = 32;

/// A string of any bytes, as a record contains it: at most a third longer than the bytes, or short.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Text {
    /// Unchanged UTF-8.
    Plain(String),
    /// Bytes that are not UTF-8, or of which most would be escapes.
    Base64 {
        /// The bytes, in standard base64.
        base64: String,
    },
    /// Text whose secret parts are replaced by `***`.
    Masked {
        /// The text.
        masked: String,
    },
    /// Text that may contain a secret which can't be separated from the rest.
    Digest {
        /// The SHA-256 of the bytes.
        sha256: String,
        /// The number of bytes.
        bytes: u64,
    },
}

impl Text {
    /// Makes a text from bytes.
    pub fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) if is_dense(text) => Self::Plain(text.to_owned()),
            _ => Self::Base64 { base64: STANDARD.encode(bytes) },
        }
    }

    /// Makes a text of which only the digest and the length are kept.
    pub(super) fn digest(bytes: &[u8]) -> Self {
        let sha256 = hex::encode(Sha256::digest(bytes));
        Self::Digest { sha256, bytes: bytes.len() as u64 }
    }

    /// Returns whether JSON does not make the text much longer.
    pub(super) fn is_dense(&self) -> bool {
        match self {
            Self::Plain(text) | Self::Masked { masked: text } => is_dense(text),
            Self::Base64 { .. } | Self::Digest { .. } => true,
        }
    }

    /// Returns the text for people: one line without control characters, and `\xff` for bytes that
    /// are not UTF-8.
    pub fn shown(&self) -> String {
        match self {
            Self::Plain(text) | Self::Masked { masked: text } => escaped(text),
            Self::Base64 { base64 } => match STANDARD.decode(base64) {
                Ok(bytes) => bytes.escape_ascii().to_string(),
                Err(_) => escaped(base64),
            },
            Self::Digest { bytes, .. } => format!("({bytes} bytes that may hold a secret)"),
        }
    }
}

/// Returns whether a text is short, or no longer in JSON than in base64.
fn is_dense(text: &str) -> bool {
    text.len() <= SHORT || json_len(text) <= text.len().div_ceil(3) * 4
}

/// Returns the number of bytes that a text takes in JSON, without its quotes.
fn json_len(text: &str) -> usize {
    let of = |c: char| match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        c if is_safe(c) => c.len_utf8(),
        c => 6 * c.len_utf16(),
    };
    text.chars().map(of).sum()
}

/// A formatter that writes every control, invisible and direction-changing character of a JSON
/// string as `\uXXXX`, so that a log can be viewed with any tool.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SafeJson;

impl serde_json::ser::Formatter for SafeJson {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // Characters that JSON itself escapes never arrive here; of ASCII, only DEL is left.
        if fragment.bytes().all(|byte| byte.is_ascii() && byte != 0x7f) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut plain = 0;
        for (at, character) in fragment.char_indices().filter(|(_, c)| !is_safe(*c)) {
            writer.write_all(fragment.get(plain..at).unwrap_or_default().as_bytes())?;
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            plain = at + character.len_utf8();
        }
        writer.write_all(fragment.get(plain..).unwrap_or_default().as_bytes())
    }
}

/// Appends a value as JSON.
pub(super) fn write_json(value: &impl Serialize, out: &mut Vec<u8>) -> serde_json::Result<()> {
    value.serialize(&mut serde_json::Serializer::with_formatter(out, SafeJson))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &Text) -> Vec<u8> {
        let mut out = Vec::new();
        write_json(text, &mut out).unwrap();
        out
    }

    proptest! {
        #[test]
        fn any_bytes_read_back_and_are_one_plain_line(bytes: Vec<u8>) {
            let text = Text::of(&bytes);
            let line = written(&text);
            prop_assert!(std::str::from_utf8(&line).unwrap().chars().all(is_safe));
            let read: Text = serde_json::from_slice(&line).unwrap();
            let back = match &read {
                Text::Plain(text) => text.clone().into_bytes(),
                Text::Base64 { base64 } => STANDARD.decode(base64).unwrap(),
                Text::Masked { .. } | Text::Digest { .. } => unreachable!(),
            };
            prop_assert_eq!(&back, &bytes);
            prop_assert!(line.len() <= (bytes.len().div_ceil(3) * 4).max(6 * SHORT) + 16);
            prop_assert!(read.shown().chars().all(is_safe));
        }
    }

    #[test]
    fn text_that_looks_like_an_encoding_is_still_text() {
        for text in ["{\"base64\":\"AA==\"}", "***", "\\u001b", "a\nb\u{7f}\u{9b}\u{202e}\u{e0041}"]
        {
            let line = written(&Text::of(text.as_bytes()));
            assert!(line.starts_with(b"\""), "{text}");
            assert_eq!(serde_json::from_slice::<String>(&line).unwrap(), text);
        }
        assert!(written(&Text::of(b"\xff")).starts_with(b"{\"base64\":"));
    }

    #[test]
    fn a_text_takes_in_json_what_was_counted_for_it() {
        for c in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
            let text = c.to_string();
            let mut out = Vec::new();
            write_json(&text, &mut out).unwrap();
            assert_eq!(out.len(), json_len(&text) + 2, "{c:?}");
        }
        assert!(matches!(Text::of(&[1; SHORT]), Text::Plain(_)));
        assert!(matches!(Text::of(&[1; SHORT + 1]), Text::Base64 { .. }));
    }
}
