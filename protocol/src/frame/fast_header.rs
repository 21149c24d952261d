//! A fast path without serde for the headers of `data` and `window`, nearly all that a busy connection carries.
//!
//! They are written as serde writes them, and read only in exactly that form. A header in any other form is
//! read by the general reader, which returns the same frame or the error; tests compare the two.

use bytes::{Bytes, BytesMut};

use crate::{
    frame::{Data, Frame, Kind, Stream, Window},
    limits,
};

/// Bytes of room for the longest of these headers.
const LONGEST: usize = 192;

/// Appends the header of a `data` or `window` frame. Returns false for any other frame.
pub(crate) fn write(frame: &Frame, out: &mut BytesMut) -> bool {
    match frame {
        Frame::Data(data) => {
            let Data { ch, stream, offset, time, payload } = data;
            let mut pen = Pen::begin(out, Kind::Data, *ch, *stream);
            pen.field("offset", *offset);
            if let Some(time) = time {
                pen.field("time", *time);
            }
            pen.field("len", payload.len() as u64);
            pen.end();
        }
        Frame::Window(Window { ch, stream, got, upto }) => {
            let mut pen = Pen::begin(out, Kind::Window, *ch, *stream);
            pen.field("got", *got);
            pen.field("upto", *upto);
            pen.end();
        }
        _ => return false,
    }
    true
}

struct Pen<'a>(&'a mut BytesMut);

impl<'a> Pen<'a> {
    fn begin(out: &'a mut BytesMut, kind: Kind, ch: u32, stream: Stream) -> Self {
        out.reserve(LONGEST);
        let mut pen = Self(out);
        pen.put("{\"type\":\"");
        pen.put(kind.as_str());
        pen.put("\"");
        pen.field("ch", u64::from(ch));
        pen.put(",\"stream\":\"");
        pen.put(stream.as_str());
        pen.put("\"");
        pen
    }

    fn put(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    fn field(&mut self, name: &str, value: u64) {
        self.put(",\"");
        self.put(name);
        self.put("\":");
        self.put(itoa::Buffer::new().format(value));
    }

    fn end(mut self) {
        self.put("}");
    }
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
    use crate::frame::Decoder;

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
        fn it_writes_what_serde_writes_and_reads_it_again(frame in frames()) {
            let mut header = BytesMut::new();
            prop_assert!(write(&frame, &mut header));
            prop_assert_eq!(&header[..], &serde_json::to_vec(&frame).unwrap()[..]);
            prop_assert!(header.len() <= LONGEST);
            let (mut read, length) = read(&header).unwrap();
            if let (Frame::Data(read), Frame::Data(data)) = (&mut read, &frame) {
                prop_assert_eq!(length, data.payload.len());
                read.payload = data.payload.clone();
            }
            prop_assert_eq!(read, frame);
        }

        #[test]
        fn what_it_reads_is_what_the_reader_of_all_headers_reads(
            frame in frames(),
            at in any::<proptest::sample::Index>(),
            byte in proptest::sample::select(b"0919 ,:\"\\{}eEa-.\0\xff".as_slice()),
            what in 0..3,
        ) {
            let mut header = serde_json::to_vec(&frame).unwrap();
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
