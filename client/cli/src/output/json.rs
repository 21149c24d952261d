//! `--json`: one event on each line, from one writer, so that lines never mix.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcmd_client::{Chunk, Report};
use rcmd_protocol::frame::Stream;
use serde::Serialize;

use crate::output::piece::{Piece, Render};
use crate::output::safe_json;
use crate::output::stamp::rfc3339;

/// The events of one command.
pub(crate) struct Json {
    /// The host; `None` in events about a whole run over many hosts.
    host: Option<String>,
    /// The place of the host in a set.
    index: Option<usize>,
    job: Option<String>,
    stdout: Tail,
    stderr: Tail,
    out: Vec<u8>,
}

/// The first bytes of an incomplete character, at most 3. They are kept for the next event, so that text is not
/// encoded in base64 because a character is split between two chunks.
#[derive(Default)]
struct Tail {
    bytes: Vec<u8>,
    /// The position of the first byte in its stream.
    offset: u64,
    time: Option<u64>,
}

#[derive(Serialize)]
struct Event<'a> {
    event: &'a str,
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    job: Option<&'a str>,
    #[serde(flatten)]
    body: Body<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    Start {
        started_at: Option<String>,
    },
    Data {
        offset: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        time: Option<String>,
        data: Cow<'a, str>,
        encoding: &'static str,
    },
    Note {
        data: &'a str,
        encoding: &'static str,
    },
    End {
        result: &'a Report,
    },
}

impl Json {
    /// Returns the events of a command on a single host.
    pub(crate) fn new(host: String) -> Self {
        Self::of_run(Some(host), None)
    }

    /// Returns the events of a command on a host of a set; `index` is its place in the set.
    pub(crate) fn of_set(host: String, index: usize) -> Self {
        Self::of_run(Some(host), Some(index))
    }

    /// Returns the events about a host on which nothing began, or about a whole run.
    pub(crate) fn of_run(host: Option<String>, index: Option<usize>) -> Self {
        let (stdout, stderr) = (Tail::default(), Tail::default());
        Self { host, index, job: None, stdout, stderr, out: Vec::new() }
    }

    /// Appends the events of a piece.
    pub(crate) fn put(&mut self, piece: &Piece, out: &mut Vec<u8>) {
        match piece {
            Piece::Started { job, started_at } => {
                self.job = Some(job.clone());
                self.event("start", Body::Start { started_at: rfc3339(*started_at) }, out);
            }
            Piece::Data(stream, chunk) => self.data(*stream, chunk, out),
            Piece::End(stream) => self.end(*stream, out),
            Piece::Note(text) => {
                self.event("note", Body::Note { data: text, encoding: "utf-8" }, out);
            }
            Piece::Report(result) => self.event("end", Body::End { result }, out),
        }
    }

    fn event(&self, event: &str, body: Body<'_>, out: &mut Vec<u8>) {
        let (host, index, job) = (self.host.as_deref(), self.index, self.job.as_deref());
        // Writing to memory with text as keys does not fail.
        if safe_json::append(out, &Event { event, host, index, job, body }).is_ok() {
            out.push(b'\n');
        }
    }

    fn data(&mut self, stream: Stream, chunk: &Chunk, out: &mut Vec<u8>) {
        let kept = std::mem::take(self.tail(stream));
        let mut put = |offset, time, bytes: &[u8]| {
            if !bytes.is_empty() {
                self.event(stream.as_str(), body(offset, time, bytes), out);
            }
        };
        let joined;
        let (offset, bytes) = if kept.bytes.is_empty() {
            (chunk.offset, &chunk.bytes[..])
        } else if kept.offset + kept.bytes.len() as u64 == chunk.offset {
            joined = [&kept.bytes[..], &chunk.bytes].concat();
            (kept.offset, &joined[..])
        } else {
            // Bytes between the two are missing, and with them the rest of the character.
            put(kept.offset, kept.time, &kept.bytes);
            (chunk.offset, &chunk.bytes[..])
        };
        let (whole, rest) = bytes.split_at(bytes.len() - unfinished(bytes));
        put(offset, chunk.time, whole);
        *self.tail(stream) =
            Tail { bytes: rest.to_vec(), offset: offset + whole.len() as u64, time: chunk.time };
    }

    fn end(&mut self, stream: Stream, out: &mut Vec<u8>) {
        let kept = std::mem::take(self.tail(stream));
        if !kept.bytes.is_empty() {
            self.event(stream.as_str(), body(kept.offset, kept.time, &kept.bytes), out);
        }
    }

    fn tail(&mut self, stream: Stream) -> &mut Tail {
        if stream == Stream::Stdout { &mut self.stdout } else { &mut self.stderr }
    }
}

impl Render for Json {
    fn render<'a>(&'a mut self, piece: &'a Piece) -> &'a [u8] {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        self.put(piece, &mut out);
        self.out = out;
        &self.out
    }
}

fn body(offset: u64, time: Option<u64>, bytes: &[u8]) -> Body<'_> {
    let (data, encoding) = match str::from_utf8(bytes) {
        Ok(text) => (Cow::Borrowed(text), "utf-8"),
        Err(_) => (Cow::Owned(STANDARD.encode(bytes)), "base64"),
    };
    Body::Data { offset, time: time.and_then(rfc3339), data, encoding }
}

/// Returns the number of bytes at the end, at most 3, that begin a character without completing it.
pub(crate) fn unfinished(bytes: &[u8]) -> usize {
    let begins = |count: &usize| {
        bytes.len().checked_sub(*count).and_then(|at| bytes.get(at..)).is_some_and(|end| {
            str::from_utf8(end)
                .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
        })
    };
    (1..=3).find(begins).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::Value;

    use super::*;

    fn events(pieces: &[(u64, &[u8])]) -> Vec<Value> {
        let mut json = Json::new("web1".to_owned());
        let mut out = Vec::new();
        for &(offset, bytes) in pieces {
            let chunk = Chunk { offset, time: None, bytes: Bytes::copy_from_slice(bytes) };
            out.extend_from_slice(json.render(&Piece::Data(Stream::Stdout, chunk)));
        }
        out.extend_from_slice(json.render(&Piece::End(Stream::Stdout)));
        let lines = str::from_utf8(&out).unwrap().lines();
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Puts the stream together again, and checks that each event stands where the last one ended.
    fn joined(events: &[Value], start: u64) -> Vec<u8> {
        let mut all = Vec::new();
        for event in events {
            assert_eq!(event["offset"], start + all.len() as u64);
            let data = event["data"].as_str().unwrap();
            match event["encoding"].as_str().unwrap() {
                "utf-8" => all.extend_from_slice(data.as_bytes()),
                "base64" => all.extend(STANDARD.decode(data).unwrap()),
                other => panic!("{other}"),
            }
        }
        all
    }

    #[test]
    fn text_stays_text_wherever_it_is_cut() {
        let text = "aé北𝄞\nz".as_bytes();
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let pieces = [
                    (7, &text[..first]),
                    (7 + first as u64, &text[first..second]),
                    (7 + second as u64, &text[second..]),
                ];
                let events = events(&pieces);
                assert_eq!(joined(&events, 7), text);
                assert!(events.iter().all(|event| event["encoding"] == "utf-8"), "{events:?}");
            }
        }
    }

    #[test]
    fn what_is_no_text_is_base64_and_text_after_it_is_text_again() {
        let events = events(&[(0, b"\xff\xfe\xe5\x8c"), (4, b"\x97 ok"), (8, b"\xe5")]);
        assert_eq!(joined(&events, 0), b"\xff\xfe\xe5\x8c\x97 ok\xe5");
        let encodings: Vec<_> = events.iter().map(|event| &event["encoding"]).collect();
        assert_eq!(encodings, ["base64", "utf-8", "base64"]);
    }

    #[test]
    fn half_a_character_before_a_gap_is_not_joined_with_what_follows() {
        let events = events(&[(0, b"\xe5\x8c"), (10, b"\x97")]);
        assert_eq!(events.len(), 2);
        assert_eq!((&events[0]["offset"], &events[1]["offset"]), (&0.into(), &10.into()));
    }

    #[test]
    fn an_event_has_the_contracts_fields() {
        let mut json = Json::new("web1".to_owned());
        let piece = Piece::Started { job: "k7".to_owned(), started_at: 0 };
        let start = json.render(&piece).to_vec();
        assert_eq!(
            str::from_utf8(&start).unwrap(),
            "{\"event\":\"start\",\"host\":\"web1\",\"job\":\"k7\",\
             \"started_at\":\"1970-01-01T00:00:00.000Z\"}\n"
        );
        let chunk = Chunk { offset: 3, time: Some(1), bytes: Bytes::from_static(b"x\n") };
        let data = json.render(&Piece::Data(Stream::Stderr, chunk)).to_vec();
        assert_eq!(
            str::from_utf8(&data).unwrap(),
            "{\"event\":\"stderr\",\"host\":\"web1\",\"job\":\"k7\",\"offset\":3,\
             \"time\":\"1970-01-01T00:00:00.001Z\",\"data\":\"x\\n\",\"encoding\":\"utf-8\"}\n"
        );
        let note = json.render(&Piece::Note("late".to_owned())).to_vec();
        assert!(str::from_utf8(&note).unwrap().contains("\"event\":\"note\""));
    }
}
