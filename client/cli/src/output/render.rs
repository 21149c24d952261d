//! The forms of text output: unchanged, converted, or with times before its lines.

use crate::output::Form;
use crate::output::encoding::Converter;
use crate::output::piece::{Piece, Render};
use crate::output::stamp::Stamper;

/// Returns the renderer of one stream.
pub(crate) fn text(form: Form) -> Box<dyn Render> {
    match form {
        Form::Text { encoding: None, timestamps: false } | Form::Json { .. } => Box::new(Raw),
        Form::Text { encoding, timestamps } => Box::new(Text {
            converter: encoding.map(Converter::new),
            stamper: timestamps.then(Stamper::default),
            time: None,
            converted: Vec::new(),
            out: Vec::new(),
        }),
    }
}

/// A renderer of unchanged bytes.
struct Raw;

impl Render for Raw {
    fn render<'a>(&'a mut self, piece: &'a Piece) -> &'a [u8] {
        match piece {
            Piece::Data(_, chunk) => &chunk.bytes,
            Piece::Note(line) => line.as_bytes(),
            _ => &[],
        }
    }
}

/// A renderer that converts bytes, and adds times to their lines.
struct Text {
    converter: Option<Converter>,
    stamper: Option<Stamper>,
    /// The time of the last bytes, also of those that the converter still holds at the end.
    time: Option<u64>,
    converted: Vec<u8>,
    out: Vec<u8>,
}

impl Text {
    /// Returns these bytes in their form; `None` is the end of them.
    fn put<'a>(&'a mut self, bytes: Option<&'a [u8]>) -> &'a [u8] {
        self.converted.clear();
        self.out.clear();
        let text = match (&mut self.converter, bytes) {
            (None, bytes) => bytes.unwrap_or_default(),
            (Some(converter), bytes) => {
                match bytes {
                    Some(bytes) => converter.convert(bytes, &mut self.converted),
                    None => converter.finish(&mut self.converted),
                }
                &self.converted[..]
            }
        };
        match &mut self.stamper {
            None => text,
            Some(stamper) => {
                stamper.stamp(text, self.time, &mut self.out);
                &self.out
            }
        }
    }
}

impl Render for Text {
    fn render<'a>(&'a mut self, piece: &'a Piece) -> &'a [u8] {
        match piece {
            Piece::Data(_, chunk) => {
                self.time = chunk.time.or(self.time);
                self.put(Some(&chunk.bytes))
            }
            Piece::End(_) => self.put(None),
            Piece::Note(line) => line.as_bytes(),
            Piece::Started { .. } | Piece::Report(_) => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rcmd_client::Chunk;
    use rcmd_protocol::frame::Stream;

    use super::*;

    fn data(bytes: &'static [u8]) -> Piece {
        let bytes = Bytes::from_static(bytes);
        Piece::Data(Stream::Stdout, Chunk { offset: 0, time: Some(0), bytes })
    }

    #[test]
    fn raw_output_is_the_bytes_themselves() {
        let mut raw = text(Form::Text { encoding: None, timestamps: false });
        let piece = data(b"\xff\0\n");
        let Piece::Data(_, chunk) = &piece else { unreachable!() };
        assert_eq!(raw.render(&piece).as_ptr(), chunk.bytes.as_ptr());
    }

    #[test]
    fn lines_are_stamped_after_they_were_converted() {
        // In UTF-16 a byte 0x0a alone is no end of a line.
        let form = Form::Text { encoding: Some(encoding_rs::UTF_16LE), timestamps: true };
        let mut utf16 = text(form);
        let mut out = Vec::new();
        for piece in [data(b"\x0a\x4e"), data(b"\x0a"), data(b"\x00a"), data(b"\0"), data(b"b")] {
            out.extend_from_slice(utf16.render(&piece));
        }
        out.extend_from_slice(utf16.render(&Piece::End(Stream::Stdout)));
        let stamp = "1970-01-01T00:00:00.000Z";
        assert_eq!(String::from_utf8(out).unwrap(), format!("{stamp} 上\n{stamp} a\u{fffd}"));
    }
}
