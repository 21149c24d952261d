//! The bytes of each type of frame. If one of them differs, the wire has changed.

// A panic is how a test fails; clippy exempts test functions, not those beside them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use bytes::{Bytes, BytesMut};
use rcmd_protocol::{
    digest::{Algorithm, StreamDigest},
    frame::{
        Attach, Attached, Data, Decoder, End, Exit, Frame, Hello, Kind, Lock, OutputOffsets,
        Refusal, ServerHello, Start, StartBody, Started, Stream, StreamTotal, Verdict, Window,
    },
    ids::{AuditHead, Instance, JobId, Key, RequestDigest},
    outcome::{ErrorKind, Outcome, WireError},
    request::Request,
    signal::Signal,
};

const SHA256: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const AUDIT: &str = "abababababababababababababababababababababababababababababababab";
const BLAKE3: &str = "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";

fn key() -> Key {
    Key::from_hex("000102030405060708090a0b0c0d0e0f").unwrap()
}

fn request_digest() -> RequestDigest {
    RequestDigest::from_hex(SHA256.split_once(':').unwrap().1).unwrap()
}

fn job() -> JobId {
    JobId::parse("0123456789abcdef").unwrap()
}

/// Returns a kind of error that only a later version knows.
fn unknown_kind() -> ErrorKind {
    ErrorKind::parse("unreachable_there").unwrap()
}

/// Returns each frame with its header: once with all of its fields, and once with as few as it may have.
fn golden() -> Vec<(Frame, String)> {
    let mut builder = Request::shell("exit 3");
    builder.env(&b"A=\xff"[..]).cwd("/tmp").user("app").stdin(true).timeout_ms(1500);
    builder.lock(Lock { name: "deploy".to_owned(), wait_ms: 5000 });
    let body = StartBody::new(&builder.build().unwrap())
        .with_grace_ms(Some(0))
        .with_digests(vec!["blake3".to_owned(), "sha256".to_owned()])
        .with_keep(true)
        .with_timestamps(true);
    let start = Start { ch: 1, key: key(), generation: 1_700_000_000_000_000, body };
    let body = StartBody::new(&Request::exec(["true"]).build().unwrap());
    let sparse = Start { body, ..start };
    let bounded = sparse.body.clone().with_credit(Some(65_536));
    let bounded = Start { body: bounded, ..sparse };
    let (full_digest, sparse_digest) = (start.body.digest(), sparse.body.digest());
    let attached = Attached {
        ch: 2,
        job: job(),
        digest: Algorithm::Sha256,
        started_at: Some(7),
        stdin: 5,
        stdin_ended: true,
        number: 3,
        output: OutputOffsets { stdout: 9_007_199_254_740_991, stderr: 0 },
    };
    let stopped =
        WireError::new(ErrorKind::ServerStopped, "stopped").hint("again").retry_after_ms(10);
    let exit = Exit::new(Outcome::TimedOut, Some(255), Some(Signal::KILL), Some(stopped), 2)
        .unwrap()
        .with_output(
            StreamTotal { bytes: 3, digest: StreamDigest::parse(BLAKE3) },
            StreamTotal { bytes: 0, digest: StreamDigest::parse(SHA256) },
        )
        .with_open(true)
        .with_times(Some(1), Some(1))
        .with_audit(Some(AuditHead { seq: 9_007_199_254_740_991, hash: [0xab; 32] }));
    let never = Exit::not_started(WireError::new(ErrorKind::NotFound, "no \"x\"\n\u{e9}"), 2);
    let later = Exit::not_started(WireError::new(unknown_kind(), "no"), 2);
    let digest = request_digest();
    let server = ServerHello {
        instance: Instance::from_hex("ffffffffffffffffffffffffffffffff").unwrap(),
        grace_ms: 10_000,
        retain_ms: 600_000,
        keepalive_ms: 15_000,
    };
    let hello =
        Hello { agent: "x 1".to_owned(), capabilities: vec!["exec".to_owned()], server: None };
    let payload = Bytes::from_static(b"\0{}\n");
    let data = Data { ch: 1, stream: Stream::Stdin, offset: 0, time: None, payload };
    let end = End {
        ch: 1,
        stream: Stream::Stderr,
        total: 0,
        digest: StreamDigest::parse(BLAKE3).unwrap(),
        open: true,
    };
    let failure = WireError::new(ErrorKind::Protocol, "no");
    let key = key();
    [
        (Frame::Hello(hello.clone()), r#"{"type":"hello","agent":"x 1","capabilities":["exec"]}"#.to_owned()),
        (Frame::Hello(Hello { server: Some(server), ..hello }), r#"{"type":"hello","agent":"x 1","capabilities":["exec"],"instance":"ffffffffffffffffffffffffffffffff","grace_ms":10000,"retain_ms":600000,"keepalive_ms":15000}"#.to_owned()),
        (Frame::Ping { number: 7 }, r#"{"type":"ping","number":7}"#.to_owned()),
        (Frame::Pong { number: 0 }, r#"{"type":"pong","number":0}"#.to_owned()),
        (Frame::Suspend, r#"{"type":"suspend"}"#.to_owned()),
        (Frame::Resume, r#"{"type":"resume"}"#.to_owned()),
        (Frame::Compress, r#"{"type":"compress"}"#.to_owned()),
        (Frame::Error(failure.clone()), r#"{"type":"error","kind":"protocol","message":"no"}"#.to_owned()),
        (Frame::Error(failure.hint("h")), r#"{"type":"error","kind":"protocol","message":"no","hint":"h"}"#.to_owned()),
        (Frame::Error(WireError::new(unknown_kind(), "no")), r#"{"type":"error","kind":"unreachable_there","message":"no"}"#.to_owned()),
        (Frame::Start(start), format!(r#"{{"type":"start","ch":1,"key":"{key}","generation":1700000000000000,"digest":"{full_digest}","mode":"shell","argc":1,"envc":1,"cwd":true,"user":true,"stdin":true,"timeout_ms":1500,"lock":"deploy","lock_wait_ms":5000,"grace_ms":0,"digests":["blake3","sha256"],"keep":true,"timestamps":true,"len":20}}"#)),
        (Frame::Ask(sparse.clone()), format!(r#"{{"type":"ask","ch":1,"key":"{key}","generation":1700000000000000,"digest":"{sparse_digest}","mode":"exec","argc":1,"len":5}}"#)),
        (Frame::Verdict(Verdict { ch: 1, answer: Ok(Some("n".to_owned())) }), r#"{"type":"verdict","ch":1,"permitted":true,"note":"n"}"#.to_owned()),
        (Frame::Verdict(Verdict { ch: 1, answer: Err(WireError::new(ErrorKind::Denied, "no")) }), r#"{"type":"verdict","ch":1,"permitted":false,"kind":"denied","message":"no"}"#.to_owned()),
        (Frame::Verdict(Verdict { ch: 1, answer: Err(WireError::new(unknown_kind(), "no")) }), r#"{"type":"verdict","ch":1,"permitted":false,"kind":"unreachable_there","message":"no"}"#.to_owned()),
        (Frame::Start(sparse), format!(r#"{{"type":"start","ch":1,"key":"{key}","generation":1700000000000000,"digest":"{sparse_digest}","mode":"exec","argc":1,"len":5}}"#)),
        (Frame::Start(bounded), format!(r#"{{"type":"start","ch":1,"key":"{key}","generation":1700000000000000,"digest":"{sparse_digest}","mode":"exec","argc":1,"credit":65536,"len":5}}"#)),
        (
            Frame::Attach(Attach { ch: 2, key, generation: 2, digest, received: OutputOffsets { stdout: 3, stderr: 4 } }),
            format!(r#"{{"type":"attach","ch":2,"key":"{key}","generation":2,"digest":"{digest}","stdout":3,"stderr":4}}"#),
        ),
        (Frame::Queued { ch: 1, position: 12 }, r#"{"type":"queued","ch":1,"position":12}"#.to_owned()),
        (
            Frame::Started(Started { ch: 1, job: job(), digest: Algorithm::Blake3, started_at: 9, note: Some("n".to_owned()) }),
            r#"{"type":"started","ch":1,"job":"0123456789abcdef","digest":"blake3","started_at":9,"note":"n"}"#.to_owned(),
        ),
        (Frame::Attached(attached.clone()), r#"{"type":"attached","ch":2,"job":"0123456789abcdef","digest":"sha256","started_at":7,"stdin":5,"stdin_ended":true,"number":3,"stdout":9007199254740991,"stderr":0}"#.to_owned()),
        (Frame::Attached(Attached { started_at: None, stdin_ended: false, ..attached }), r#"{"type":"attached","ch":2,"job":"0123456789abcdef","digest":"sha256","stdin":5,"number":3,"stdout":9007199254740991,"stderr":0}"#.to_owned()),
        (Frame::Refused { ch: 2, reason: Refusal::Superseded, generation: Some(3) }, r#"{"type":"refused","ch":2,"reason":"superseded","generation":3}"#.to_owned()),
        (Frame::Refused { ch: 2, reason: Refusal::UnknownKey, generation: None }, r#"{"type":"refused","ch":2,"reason":"unknown_key"}"#.to_owned()),
        (Frame::Data(data.clone()), r#"{"type":"data","ch":1,"stream":"stdin","offset":0,"len":4}"#.to_owned()),
        (Frame::Data(Data { stream: Stream::Stdout, time: Some(5), ..data }), r#"{"type":"data","ch":1,"stream":"stdout","offset":0,"time":5,"len":4}"#.to_owned()),
        (Frame::End(end.clone()), format!(r#"{{"type":"end","ch":1,"stream":"stderr","total":0,"digest":"{BLAKE3}","open":true}}"#)),
        (Frame::End(End { open: false, ..end }), format!(r#"{{"type":"end","ch":1,"stream":"stderr","total":0,"digest":"{BLAKE3}"}}"#)),
        (Frame::Window(Window { ch: 1, stream: Stream::Stdout, got: 3, upto: 4 }), r#"{"type":"window","ch":1,"stream":"stdout","got":3,"upto":4}"#.to_owned()),
        (Frame::Stop { ch: 4_294_967_295, stream: Stream::Stdout }, r#"{"type":"stop","ch":4294967295,"stream":"stdout"}"#.to_owned()),
        (Frame::Signal { ch: 1, number: 1, signal: Signal::INT }, r#"{"type":"signal","ch":1,"number":1,"signal":"SIGINT"}"#.to_owned()),
        (Frame::Cancel { ch: 1 }, r#"{"type":"cancel","ch":1}"#.to_owned()),
        (Frame::Exit { ch: 1, exit }, format!(r#"{{"type":"exit","ch":1,"outcome":"timed_out","code":255,"signal":"SIGKILL","kind":"server_stopped","message":"stopped","hint":"again","retry_after_ms":10,"stdout_bytes":3,"stderr_bytes":0,"stdout_digest":"{BLAKE3}","stderr_digest":"{SHA256}","open":true,"started_at":1,"ended_at":2,"duration_ms":1,"audit":"9007199254740991:{AUDIT}"}}"#)),
        (
            Frame::Exit { ch: 1, exit: later },
            r#"{"type":"exit","ch":1,"outcome":"not_started","kind":"unreachable_there","message":"no","stdout_bytes":0,"stderr_bytes":0,"ended_at":2}"#.to_owned(),
        ),
        (Frame::Exit { ch: 1, exit: never }, r#"{"type":"exit","ch":1,"outcome":"not_started","kind":"not_found","message":"no \"x\"\né","stdout_bytes":0,"stderr_bytes":0,"ended_at":2}"#.to_owned()),
        (Frame::Done { ch: 1 }, r#"{"type":"done","ch":1}"#.to_owned()),
    ]
    .to_vec()
}

fn bytes(frame: &Frame, header: &str) -> Vec<u8> {
    let length = u32::try_from(header.len()).unwrap();
    [&length.to_be_bytes(), header.as_bytes(), frame.payload()].concat()
}

#[test]
fn each_frame_is_written_as_these_bytes() {
    for (frame, header) in golden() {
        let mut written = BytesMut::new();
        frame.encode(&mut written).unwrap();
        let expected = bytes(&frame, &header);
        assert_eq!(written, expected, "\n{}\n{header}", String::from_utf8_lossy(&written));
    }
}

#[test]
fn each_frame_is_read_from_these_bytes() {
    for (frame, header) in golden() {
        let mut buffer = BytesMut::from(&*bytes(&frame, &header));
        assert_eq!(Decoder::default().decode(&mut buffer), Ok(Some(frame)), "{header}");
        assert!(buffer.is_empty(), "{header}");
    }
}

#[test]
fn order_of_fields_white_space_and_escapes_do_not_matter_to_a_reader() {
    let header = " { \"\\u006eumber\" : 7 , \"new\" : {} , \"type\" : \"p\\u0069ng\" } ";
    let mut buffer = BytesMut::from(&*bytes(&Frame::Suspend, header));
    assert_eq!(Decoder::default().decode(&mut buffer), Ok(Some(Frame::Ping { number: 7 })));
}

#[test]
fn every_type_of_frame_stands_here() {
    let golden = golden();
    for kind in Kind::ALL {
        assert!(golden.iter().any(|(frame, _)| frame.kind() == *kind), "{kind}");
    }
}
