//! `--encoding`: converts output to UTF-8, also where a character is split between chunks.

use encoding_rs::{CoderResult, Decoder, Encoding};
use rcmd_protocol::outcome::{ErrorKind, WireError};

/// The number of bytes of UTF-8 that are made at a time.
const BLOCK: usize = 16 * 1024;

/// Returns the encoding of a name.
///
/// # Errors
/// A usage error if there is none.
pub(crate) fn named(name: &str) -> Result<&'static Encoding, WireError> {
    Encoding::for_label(name.as_bytes()).ok_or_else(|| {
        let examples =
            "gbk, gb18030, big5, shift_jis, euc-jp, euc-kr, windows-1252, koi8-r, utf-16le";
        WireError::new(
            ErrorKind::Usage,
            format!("unknown encoding `{name}`; known are, among others, {examples}"),
        )
        .hint("Leave out --encoding to get the bytes unchanged.")
    })
}

/// The converter of one stream.
pub(crate) struct Converter {
    decoder: Decoder,
}

impl Converter {
    pub(crate) fn new(encoding: &'static Encoding) -> Self {
        Self { decoder: encoding.new_decoder_with_bom_removal() }
    }

    /// Converts `bytes` and appends them to `text`. Malformed bytes become U+FFFD. An incomplete character at the
    /// end is kept for the next call.
    pub(crate) fn convert(&mut self, bytes: &[u8], text: &mut Vec<u8>) {
        self.decode(bytes, false, text);
    }

    /// Appends U+FFFD to `text` if the bytes ended within a character.
    pub(crate) fn finish(&mut self, text: &mut Vec<u8>) {
        self.decode(&[], true, text);
    }

    fn decode(&mut self, mut bytes: &[u8], last: bool, text: &mut Vec<u8>) {
        let mut block = [0; BLOCK];
        loop {
            let (result, read, written, _) = self.decoder.decode_to_utf8(bytes, &mut block, last);
            text.extend_from_slice(block.get(..written).unwrap_or_default());
            bytes = bytes.get(read..).unwrap_or_default();
            if result == CoderResult::InputEmpty {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(encoding: &'static Encoding, pieces: &[&[u8]]) -> String {
        let mut converter = Converter::new(encoding);
        let mut text = Vec::new();
        for piece in pieces {
            converter.convert(piece, &mut text);
        }
        converter.finish(&mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_character_may_be_split_anywhere() {
        let text = "磁盘空间 ok\n".repeat(50);
        let (bytes, ..) = encoding_rs::GBK.encode(&text);
        for at in 0..bytes.len() {
            assert_eq!(converted(encoding_rs::GBK, &[&bytes[..at], &bytes[at..]]), text);
        }
        let single: Vec<_> = bytes.chunks(1).collect();
        assert_eq!(converted(encoding_rs::GBK, &single), text);
    }

    #[test]
    fn what_grows_past_a_block_is_whole() {
        let bytes = vec![0x80; 5 * BLOCK];
        assert_eq!(converted(encoding_rs::WINDOWS_1252, &[&bytes]), "€".repeat(5 * BLOCK));
    }

    #[test]
    fn half_a_character_at_the_end_is_marked() {
        assert_eq!(converted(encoding_rs::GBK, &[b"a\xb4"]), "a\u{fffd}");
    }

    #[test]
    fn an_unknown_name_is_answered_with_examples() {
        assert_eq!(named("GBK").unwrap(), encoding_rs::GBK);
        assert!(named("klingon").unwrap_err().message.contains("shift_jis"));
    }
}
