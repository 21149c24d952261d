//! Tests that `docs/protocol.md` describes what the code does.

// A panic is how a test fails; clippy exempts test functions, not those beside them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::{collections::BTreeSet, fmt::Write as _};

use bytes::{Bytes, BytesMut};
use rcmd_protocol::{
    digest::{Algorithm, StreamDigest, StreamHasher},
    frame::{
        Data, Decoder, End, Exit, Frame, Hello, Kind, Refusal, ServerHello, Start, StartBody,
        Started, Stream, StreamTotal,
    },
    ids::{Instance, JobId, Key},
    limits,
    outcome::{ErrorKind, Outcome},
    request::Request,
};

const DOCUMENT: &str = include_str!("../../docs/protocol.md");

/// Returns the text of a section, without its heading.
fn section(heading: &str) -> &'static str {
    let (_, rest) = DOCUMENT.split_once(&format!("\n## {heading}\n")).expect(heading);
    rest.split_once("\n## ").map_or(rest, |(section, _)| section)
}

/// Returns the rows of a section's first table without its head, split into cells.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let lines = section(heading).lines().skip_while(|line| !line.starts_with('|'));
    let rows = lines.take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// Returns the texts between backquotes.
fn names(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn set<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
    names.into_iter().collect()
}

#[test]
fn the_table_of_limits_is_the_code_s() {
    let thousands = |number: u64| {
        let digits = number.to_string();
        let mut text = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        text
    };
    let bytes = |number: usize| format!("{} bytes", thousands(number as u64));
    let each = |number: usize| thousands(number as u64);
    assert_eq!(limits::ARGUMENTS, limits::SETTINGS);
    let expected = [
        ("header before the peer's hello was read", bytes(limits::HEADER_BEFORE_HELLO)),
        ("header", bytes(limits::HEADER)),
        ("payload", bytes(limits::PAYLOAD)),
        ("payload of a `data` frame as sent by rcmd", bytes(limits::CHUNK)),
        ("JSON depth", each(limits::DEPTH)),
        ("one string of a start, with its NUL", bytes(limits::STRING)),
        ("arguments; settings of the environment", format!("{} each", each(limits::ARGUMENTS))),
        (
            "paths of a transfer; one of them, with its NUL",
            format!("{}; {}", limits::PATHS, bytes(limits::PATH)),
        ),
        ("all strings of a start", bytes(limits::PAYLOAD)),
        ("credit of a stream", bytes(limits::CREDIT as usize)),
        ("agent, message, hint, note", format!("{} each", bytes(limits::TEXT))),
        ("kind of an error that the reader does not know", bytes(limits::KIND)),
        ("name of a lock", bytes(limits::LOCK)),
        ("window of a compressed stream", bytes(1 << limits::WINDOW_LOG)),
        (
            "capabilities; digests in a list",
            format!("{}; {}", limits::CAPABILITIES, limits::DIGESTS),
        ),
        // A limit of the server, which is checked there.
        ("channels open at once", "1,024 for an identity".to_owned()),
        ("frames other than data that may wait for a peer", each(limits::CONTROL_QUEUE)),
        (
            "time for a handshake and the hello",
            format!("{} s", limits::HANDSHAKE_DEADLINE.as_secs()),
        ),
        (
            "time for a header, from its first byte",
            format!("{} s", limits::HEADER_DEADLINE.as_secs()),
        ),
        (
            "time for a payload, from its header",
            format!(
                "{} s, and 1 s for each {}",
                limits::PAYLOAD_DEADLINE.as_secs(),
                bytes(limits::PAYLOAD_RATE as usize)
            ),
        ),
    ];
    let rows = table("Limits");
    let said: Vec<_> = rows.iter().map(|row| (row[0], row[1].to_owned())).collect();
    assert_eq!(said, expected);
}

#[test]
fn numbers_in_the_text_are_the_code_s() {
    assert_eq!(limits::INTEGER, (1 << 53) - 1);
    let all = DOCUMENT.split_whitespace().collect::<Vec<_>>().join(" ");
    let said = [
        format!("by default to port {}", limits::PORT),
        format!("The ALPN protocol is `{}`", str::from_utf8(limits::ALPN).unwrap()),
        "integers from 0 to 2^53 - 1".to_owned(),
        format!("Such a name has 1 to {} characters", limits::KIND),
        format!("({} s before it came)", limits::KEEPALIVE.as_secs()),
        "for three times that long".to_owned(),
        format!("JSON nested deeper than {}", limits::DEPTH),
        format!("is not complete {} s later", limits::HEADER_DEADLINE.as_secs()),
    ];
    for text in said {
        assert!(all.contains(&text), "{text}");
    }
    assert_eq!(limits::KEEPALIVES_TO_GONE, 3);
}

#[test]
fn every_type_of_frame_stands_in_the_table_and_no_other() {
    let rows = table("Frame types");
    let said: Vec<_> = rows.iter().flat_map(|row| names(row[0])).collect();
    assert_eq!(said.len(), Kind::ALL.len(), "{said:?}");
    assert_eq!(set(said), set(Kind::ALL.iter().map(|kind| kind.as_str())));
}

#[test]
fn every_outcome_reason_and_kind_of_error_is_listed_and_no_other() {
    let first = |heading: &str| {
        table(heading).iter().flat_map(|row| names(row[0])).collect::<BTreeSet<_>>()
    };
    let outcomes = first("Outcomes and kinds of error");
    assert_eq!(outcomes, set(Outcome::ALL.iter().map(|outcome| outcome.as_str())));
    let reasons = first("Resumption");
    assert_eq!(reasons, set(Refusal::ALL.iter().map(|reason| reason.as_str())));
    let (_, kinds) = section("Outcomes and kinds of error").split_once("Kinds: ").unwrap();
    let (kinds, _) = kinds.split_once(". ").unwrap();
    assert_eq!(names(kinds), set(ErrorKind::ALL.iter().map(|kind| kind.as_str())));
}

fn digest(bytes: &[u8]) -> StreamDigest {
    let mut hasher = StreamHasher::new(Algorithm::Blake3);
    hasher.update(bytes);
    hasher.finish()
}

fn end(stream: Stream, bytes: &[u8]) -> End {
    End { ch: 1, stream, total: bytes.len() as u64, digest: digest(bytes), open: false }
}

/// Returns the frames of `echo hi`, each with its sender.
fn example() -> Vec<(&'static str, Frame)> {
    let request = Request::exec(["echo", "hi"]).build().unwrap();
    let start = Start {
        ch: 1,
        key: Key::from_hex("5bd1e995f00ddeadbeef00112233c0de").unwrap(),
        generation: 1_767_225_600_000_000,
        body: StartBody::new(&request).with_digests(vec!["blake3".to_owned(), "sha256".to_owned()]),
    };
    let hello = |agent: &str, server| Hello {
        agent: agent.to_owned(),
        capabilities: vec!["exec".to_owned()],
        server,
    };
    let server = ServerHello {
        instance: Instance::from_hex("00112233445566778899aabbccddeeff").unwrap(),
        grace_ms: 10_000,
        retain_ms: 600_000,
        keepalive_ms: 15_000,
    };
    let started = Started {
        ch: 1,
        job: JobId::parse("7k2m9p4q8r1s5t3v").unwrap(),
        digest: Algorithm::Blake3,
        started_at: 1_767_225_600_020,
        note: None,
    };
    let data = Data {
        ch: 1,
        stream: Stream::Stdout,
        offset: 0,
        time: None,
        payload: Bytes::from_static(b"hi\n"),
    };
    let total =
        |bytes: &[u8]| StreamTotal { bytes: bytes.len() as u64, digest: Some(digest(bytes)) };
    let exit = Exit::exited(0, 1_767_225_600_022)
        .with_output(total(b"hi\n"), total(b""))
        .with_times(Some(1_767_225_600_020), Some(2));
    vec![
        ("client", Frame::Hello(hello("rcmd-client 0.1.0", None))),
        ("client", Frame::Start(start)),
        ("server", Frame::Hello(hello("rcmd-server 0.1.0", Some(server)))),
        ("server", Frame::Started(started)),
        ("server", Frame::Data(data)),
        ("server", Frame::End(end(Stream::Stdout, b"hi\n"))),
        ("server", Frame::End(end(Stream::Stderr, b""))),
        ("server", Frame::Exit { ch: 1, exit }),
        ("client", Frame::Done { ch: 1 }),
    ]
}

/// Returns a frame as the document shows it: its sender, the bytes, the header, the payload.
fn shown(sender: &str, frame: &Frame) -> String {
    let mut bytes = BytesMut::new();
    frame.encode(&mut bytes).unwrap();
    let mut text = format!("```text\n{sender}\n");
    for line in bytes.chunks(40) {
        line.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
        text.push('\n');
    }
    let header = &bytes[4..bytes.len() - frame.payload().len()];
    let _ = writeln!(text, "{}", str::from_utf8(header).unwrap());
    if !frame.payload().is_empty() {
        let _ = writeln!(text, "payload {}", frame.payload().escape_ascii());
    }
    text + "```\n"
}

#[test]
fn the_worked_example_is_what_the_code_writes() {
    let blocks: Vec<_> = example().iter().map(|(sender, frame)| shown(sender, frame)).collect();
    let expected = blocks.join("\n");
    let said = section("A worked example");
    assert!(said.contains(&expected), "the example should be:\n\n{expected}");
    assert_eq!(said.matches("```text").count(), blocks.len());
}

#[test]
fn the_worked_example_s_hexadecimal_reads_as_what_stands_below_it() {
    let mut frames = example().into_iter();
    for block in section("A worked example").split("```text\n").skip(1) {
        let block = block.split_once("```").unwrap().0;
        let mut hexadecimal = String::new();
        let mut header = "";
        for line in block.lines().skip(1) {
            if line.starts_with('{') {
                header = line;
            } else if !line.starts_with("payload ") {
                hexadecimal.push_str(line);
            }
        }
        let bytes = hex::decode(&hexadecimal).unwrap();
        let length = u32::from_be_bytes(*bytes.first_chunk().unwrap()) as usize;
        assert_eq!(&bytes[4..4 + length], header.as_bytes());
        let mut buffer = BytesMut::from(&*bytes);
        let frame = Decoder::default().decode(&mut buffer).unwrap().unwrap();
        assert!(buffer.is_empty());
        assert_eq!(frame, frames.next().unwrap().1);
        let mut again = BytesMut::new();
        frame.encode(&mut again).unwrap();
        assert_eq!(again, bytes);
    }
    assert_eq!(frames.next(), None);
}
