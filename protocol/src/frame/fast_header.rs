//! A fast path without serde for the headers of `data` and `window`, nearly all that a busy connection carries.
//!
//! They are written as the general writer writes them, and read only in exactly that form. A header in any other
//! form is read by the general reader, which returns the same frame or the error; tests compare the two.

use bytes::{Bytes, BytesMut};

use crate::{
    frame::{Data, Frame, Kind, Stream, Window, pen::Pen},
    limits,
};

/// Appends the header of a `data` or `window` frame. Returns false for any other frame.
pub(crate) fn write(frame: &Frame, out: &mut BytesMut) -> bool {
    match frame {
        Frame::Data(data) => {
            let Data { ch, stream, offset, time, payload } = data;
            let mut pen = begin(out, Kind::Data, *ch, *stream);
            pen.number("offset", *offset);
            if let Some(time) = time {
                pen.number("time", *time);
            }
            pen.number("len", payload.len() as u64);
            pen.end();
        }
        Frame::Window(Window { ch, stream, got, upto }) => {
            let mut pen = begin(out, Kind::Window, *ch, *stream);
            pen.number("got", *got);
            pen.number("upto", *upto);
            pen.end();
        }
        _ => return false,
    }
    true
}

fn begin(out: &mut BytesMut, kind: Kind, ch: u32, stream: Stream) -> Pen<'_> {
    let mut pen = Pen::begin(out, kind);
    pen.number("ch", u64::from(ch));
    pen.put(",\"stream\":\"");
    pen.put(stream.as_str());
    pen.put("\"");
    pen
}

/// Returns the frame and the length of its payload, if the header has exactly the form that is written here.
pub(crate) fn read(header: &[u8]) -> Option<(Frame, usize)> {
    let mut text = Text(header);
    text.skip("{\"type\":\"")?;
    if text.skip("data\"").is_some() {
        let (ch, stream) = text.place()?;
        let offset = text.field(",\"offset\":")?;
        let time = text.field(",\"time\":");
        let length = usize::try_from(text.field(",\"len\":")?).ok()?;
        text.end()?;
        (1..=limits::PAYLOAD).contains(&length).then_some(())?;
        let data = Data { ch, stream, offset, time, payload: Bytes::new() };
        return Some((Frame::Data(data), length));
    }
    text.skip("window\"")?;
    let (ch, stream) = text.place()?;
    let (got, upto) = (text.field(",\"got\":")?, text.field(",\"upto\":")?);
    text.end()?;
    Some((Frame::Window(Window { ch, stream, got, upto }), 0))
}

struct Text<'a>(&'a [u8]);

impl Text<'_> {
    fn skip(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(text.as_bytes())?;
        Some(())
    }

    /// Reads the channel, which is never 0, and the stream.
    fn place(&mut self) -> Option<(u32, Stream)> {
        let ch = u32::try_from(self.field(",\"ch\":")?).ok().filter(|&ch| ch > 0)?;
        self.skip(",\"stream\":\"std")?;
        let streams = [Stream::Stdout, Stream::Stderr, Stream::Stdin];
        let rest = |stream: Stream| stream.as_str().strip_prefix("std");
        let stream = streams
            .into_iter()
            .find(|&of| rest(of).is_some_and(|rest| self.skip(rest).is_some()))?;
        self.skip("\"")?;
        Some((ch, stream))
    }

    /// Reads a field whose value is an integer as serde writes it. Skips nothing if there is no such field.
    fn field(&mut self, name: &str) -> Option<u64> {
        /// The number of digits of the largest integer.
        const DIGITS: usize = limits::INTEGER.ilog10() as usize + 1;
        let text = self.0.strip_prefix(name.as_bytes())?;
        let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = text.split_at_checked(length)?;
        if !(1..=DIGITS).contains(&length) || length > 1 && digits.starts_with(b"0") {
            return None;
        }
        let value = digits.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0'));
        (value <= limits::INTEGER).then_some(())?;
        self.0 = rest;
        Some(value)
    }

    fn end(self) -> Option<()> {
        (self.0 == b"}").then_some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::{Decoder, pen::ROOM};

    /// Returns the header as the general writer writes it.
    fn generally(frame: &Frame) -> Vec<u8> {
        let mut header = BytesMut::new();
        frame.write_any(&mut header).unwrap();
        header.to_vec()
    }

    /// Checks that both writers write a frame alike, and that both readers read it so.
    fn check(frame: &Frame) {
        let mut header = BytesMut::new();
        assert!(write(frame, &mut header));
        assert_eq!(header, &*generally(frame));
        assert!(header.len() <= ROOM, "{} bytes", header.len());
        let (mut found, length) = read(&header).unwrap();
        assert_eq!(Decoder::read_any(&header), Ok((found.clone(), length)));
        assert_eq!(length, frame.payload().len());
        if let (Frame::Data(found), Frame::Data(data)) = (&mut found, frame) {
            found.payload = data.payload.clone();
        }
        assert_eq!(found, *frame);
    }

    fn frames() -> impl Strategy<Value = Frame> {
        let number = || prop_oneof![0..100_u64, 0..=limits::INTEGER, Just(limits::INTEGER)];
        let stream = proptest::sample::select(Stream::ALL);
        let time = proptest::option::of(number());
        (1..=u32::MAX, stream, number(), number(), time, 1..300_usize, any::<bool>()).prop_map(
            |(ch, stream, first, second, time, length, is_data)| match is_data {
                true => {
                    let payload = Bytes::from(vec![b'x'; length]);
                    Frame::Data(Data { ch, stream, offset: first, time, payload })
                }
                false => Frame::Window(Window { ch, stream, got: first, upto: second }),
            },
        )
    }

    proptest! {
        #[test]
        fn it_writes_and_reads_what_the_general_writer_and_reader_do(frame in frames()) {
            check(&frame);
        }

        #[test]
        fn what_it_reads_is_what_the_reader_of_all_headers_reads(
            frame in frames(),
            at in any::<proptest::sample::Index>(),
            byte in proptest::sample::select(b"0919 ,:\"\\{}eEa-.\0\xff".as_slice()),
            what in 0..3,
        ) {
            let mut header = generally(&frame);
            let at = at.index(header.len());
            match what {
                0 => header[at] = byte,
                1 => header.insert(at, byte),
                _ => _ = header.remove(at),
            }
            if let Some(found) = read(&header) {
                prop_assert_eq!(Some(found), Decoder::read_any(&header).ok());
            }
        }
    }

    #[test]
    fn all_values_at_an_edge_are_written_and_read_alike() {
        let edges =
            [0, 1, 9, 10, 4_294_967_295, 4_294_967_296, limits::INTEGER - 1, limits::INTEGER];
        let lengths = [1, 9, 10, limits::PAYLOAD - 1, limits::PAYLOAD];
        let bytes = Bytes::from(vec![b'x'; limits::PAYLOAD]);
        let times = edges.map(Some).into_iter().chain([None]);
        for ch in [1, 9, 10, u32::MAX] {
            for &stream in Stream::ALL {
                for first in edges {
                    for second in edges {
                        check(&Frame::Window(Window { ch, stream, got: first, upto: second }));
                    }
                    for (time, length) in times.clone().zip(lengths.into_iter().cycle()) {
                        let payload = bytes.slice(..length);
                        check(&Frame::Data(Data { ch, stream, offset: first, time, payload }));
                    }
                }
            }
        }
    }

    #[test]
    fn what_may_not_be_is_left_to_the_reader_that_says_why() {
        for header in [
            r#"{"type":"data","ch":0,"stream":"stdout","offset":0,"len":1}"#,
            r#"{"type":"data","ch":4294967296,"stream":"stdout","offset":0,"len":1}"#,
            r#"{"type":"data","ch":1,"stream":"stdout","offset":0,"len":0}"#,
            r#"{"type":"data","ch":1,"stream":"stdout","offset":0,"len":1048577}"#,
            r#"{"type":"data","ch":1,"stream":"stdout","offset":9007199254740992,"len":1}"#,
            r#"{"type":"data","ch":1,"stream":"stdout","offset":01,"len":1}"#,
            r#"{"type":"data","ch":1,"stream":"stdout","offset":0,"time":9907199254740991,"len":1}"#,
            r#"{"type":"data","ch":1,"stream":"stdout","offset":0,"time":01,"len":1}"#,
            r#"{"type":"window","ch":1,"stream":"stdnone","got":1,"upto":1}"#,
            r#"{"type":"window","ch":1,"stream":"stdout","got":,"upto":1}"#,
            r#"{"type":"window","ch":1,"stream":"stdout","got":1,"upto":1} "#,
            r#"{"type":"window","ch":1,"stream":"stdout","got":1,"upto":18446744073709551617}"#,
        ] {
            assert_eq!(read(header.as_bytes()), None, "{header}");
        }
    }
}
