//! Bytes in a record: everything reads back as it was, and nothing in it can control a terminal.

use std::io;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcmd_certs::text::{escaped, is_safe};
use serde::{Deserialize, Serialize};

/// A string of any bytes, as a record holds it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Text {
    /// UTF-8, unchanged.
    Plain(String),
    /// Bytes that are not UTF-8.
    Base64 {
        /// The bytes, in standard base64.
        base64: String,
    },
    /// Text whose secret parts are replaced by `***`.
    Masked {
        /// The text.
        masked: String,
    },
}

impl Text {
    /// Makes a text of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Plain(text.to_owned()),
            Err(_) => Self::Base64 { base64: STANDARD.encode(bytes) },
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
        }
    }
}

/// Writes every control, invisible and direction-changing character in a JSON string as `\uXXXX`,
/// so that a log can be viewed with any tool.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SafeJson;

impl serde_json::ser::Formatter for SafeJson {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // What JSON itself escapes never comes here; of ASCII, DEL remains.
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
                Text::Masked { .. } => unreachable!(),
            };
            prop_assert_eq!(back, bytes);
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
}
