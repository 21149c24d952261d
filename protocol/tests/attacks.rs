//! Bytes from a hostile peer, each of which must end in a fault: no panic, no hang, no memory taken.

// A panic is how a test fails; clippy exempts test functions, not those beside them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::time::Duration;

use bytes::{BufMut as _, BytesMut};
use rcmd_protocol::{
    connection::Role,
    error::ProtocolError,
    frame::{Decoder, Frame, Stream},
    limits,
    outbox::Outbox,
    outcome::{Outcome, WireError},
};

#[path = "support/victim.rs"]
mod victim;
use victim::{HELLO, ID, KEEPALIVE, Victim, framed, start};

fn padded(length: usize) -> String {
    let around = r#"{"type":"ping","number":1,"x":""}"#.len();
    format!(r#"{{"type":"ping","number":1,"x":"{}"}}"#, "x".repeat(length - around))
}

#[test]
fn an_empty_header_is_a_fault_at_once() {
    assert_eq!(Victim::server().take(&[0; 4]), Err(ProtocolError::EmptyHeader));
}

#[test]
fn a_length_past_the_limit_is_a_fault_before_anything_follows() {
    for length in [limits::HEADER as u32 + 1, 1 << 31, u32::MAX] {
        let fault = Victim::server().take(&length.to_be_bytes());
        assert!(matches!(fault, Err(ProtocolError::HeaderTooLong { limit: limits::HEADER, .. })));
    }
    let longest = padded(limits::HEADER);
    assert_eq!(Victim::server().header(&longest), Ok(vec![Frame::Ping { number: 1 }]));
}

#[test]
fn a_stranger_gets_room_for_one_honest_hello() {
    let too_long = (limits::HEADER_BEFORE_HELLO as u32 + 1).to_be_bytes();
    let fault = Victim::new(Role::Server).take(&too_long);
    let limit = limits::HEADER_BEFORE_HELLO;
    assert_eq!(fault, Err(ProtocolError::HeaderTooLong { length: limit + 1, limit }));

    let mut hello = HELLO.replace("\"a\"", "\"\"");
    hello = hello.replace("\"\"", &format!("\"{}\"", "a".repeat(limit - hello.len())));
    assert_eq!(hello.len(), limit);
    let mut victim = Victim::new(Role::Server);
    victim.header(&hello).unwrap();
    victim.header(&padded(limits::HEADER)).unwrap();
}

#[test]
fn what_a_side_may_not_say_is_refused_before_its_payload_comes() {
    let data = |stream| {
        format!(r#"{{"type":"data","ch":1,"stream":"{stream}","offset":0,"len":1048576}}"#)
    };
    let early = Victim::new(Role::Server).header(&data("stdin"));
    assert!(matches!(early, Err(ProtocolError::Unexpected { why: "hello comes first", .. })));
    let unopened = Victim::server().header(&data("stdin"));
    assert!(matches!(unopened, Err(ProtocolError::Unexpected { .. })));
    let mut victim = Victim::server();
    victim.take(&start(1)).unwrap();
    assert!(matches!(victim.header(&data("stdout")), Err(ProtocolError::Unexpected { .. })));
    assert!(matches!(
        Victim::client().header(&data("stdin")),
        Err(ProtocolError::Unexpected { .. })
    ));
}

#[test]
fn a_payload_past_the_limit_is_a_fault_when_it_is_announced() {
    for length in [limits::PAYLOAD as u64 + 1, limits::INTEGER] {
        let header =
            format!(r#"{{"type":"data","ch":1,"stream":"stdout","offset":0,"len":{length}}}"#);
        let limit = limits::PAYLOAD;
        assert_eq!(
            Victim::client().header(&header),
            Err(ProtocolError::PayloadTooLong { length, limit })
        );
    }
}

#[test]
fn a_promise_of_bytes_takes_no_memory() {
    let mut decoder = Decoder::default();
    let mut buffer =
        framed(r#"{"type":"data","ch":1,"stream":"stdout","offset":0,"len":1048576}"#, b"");
    let before = buffer.capacity();
    assert_eq!(decoder.decode(&mut buffer), Ok(None));
    buffer.put_u8(b'x');
    assert_eq!(decoder.decode(&mut buffer), Ok(None));
    assert!(buffer.capacity() <= before, "{} bytes", buffer.capacity());
}

#[test]
fn a_few_bytes_that_are_kept_do_not_keep_the_padding_they_came_in() {
    let header = r#"{"type":"data","ch":1,"stream":"stdout","offset":0,"len":1}"#;
    let mut buffer = framed(header, b"x");
    let block = buffer.as_ptr_range();
    let Ok(Some(Frame::Data(data))) = Decoder::default().decode(&mut buffer) else { panic!() };
    assert!(!block.contains(&data.payload.as_ptr()));
}

#[test]
fn a_payload_where_none_belongs_and_none_where_one_does_are_faults() {
    let with = [
        r#"{"type":"ping","number":1,"len":1}"#,
        r#"{"type":"suspend","len":1}"#,
        r#"{"type":"data","ch":1,"stream":"stdin","offset":0,"len":0}"#,
        r#"{"type":"data","ch":1,"stream":"stdin","offset":0}"#,
    ];
    for header in with {
        let mut victim = Victim::server();
        victim.take(&start(1)).unwrap();
        let fault = victim.header(header);
        assert!(
            matches!(fault, Err(ProtocolError::Invalid { field: "len", .. })),
            "{header}: {fault:?}"
        );
    }
    assert!(Victim::server().header(r#"{"type":"ping","number":1,"len":0}"#).is_ok());
}

#[test]
fn headers_that_are_not_exactly_one_strict_object_are_faults() {
    let deep = format!(r#"{{"type":"ping","number":1,"x":{}{}}}"#, "[".repeat(16), "]".repeat(16));
    let bottomless = "[".repeat(65_000);
    let objects = r#"{"a":"#.repeat(13_000);
    let bad = [
        &*deep,
        &*bottomless,
        &*objects,
        r#"{"type":"ping","number":1}x"#,
        r#"{"type":"ping","number":1}{}"#,
        r#"{"type":"ping","number":1,"number":1}"#,
        r#"{"type":"ping","number":1,"x":[{"a":{"b":1,"\u0062":2}}]}"#,
        r#"{"type":"ping","number":1,"x":"\u0000"}"#,
        r#"{"type":"ping","number":1,"x":{"\u0000":1}}"#,
        r#"{"type":"ping","number":1,"x":"\ud800"}"#,
        r#"{"type":"ping","number":1,"x":NaN}"#,
        r#"{"type":"ping","number":1,}"#,
        r#"{"type":"ping","number":null}"#,
        r#"{"type":"ping","number":9007199254740992}"#,
        r#"{"type":"ping"}"#,
        r#"{"type":"pıng","number":1}"#,
        r#"{"type":"Ping","number":1}"#,
        r#"{"type":"later","number":1}"#,
        r#"{"type":null}"#,
        r#"{"number":1}"#,
        "{}",
        "[]",
        "\"ping\"",
        "null",
        " ",
        "{",
        "\u{feff}{}",
    ];
    for header in bad {
        let fault = Victim::server().header(header);
        assert!(fault.is_err(), "{header:.80}");
    }
}

#[test]
fn a_fault_that_quotes_the_peer_still_fits_the_frame_that_tells_it() {
    for text in ["a".repeat(65_000), "\\u0001".repeat(10_000), "\u{10ffff}".repeat(16_000)] {
        let header = format!(r#"{{"type":"ping","number":"{text}"}}"#);
        let fault = Victim::server().header(&header).unwrap_err();
        let mut told = BytesMut::new();
        Frame::Error(fault.failure()).encode(&mut told).unwrap();
        let mut victim = Victim::client();
        assert!(matches!(victim.take(&told).as_deref(), Ok([Frame::Error(WireError { .. })])));
    }
}

#[test]
fn hello_comes_first_and_once() {
    let first = Victim::new(Role::Server).header(r#"{"type":"ping","number":1}"#);
    assert!(matches!(first, Err(ProtocolError::Unexpected { why: "hello comes first", .. })));
    let twice = Victim::server().header(HELLO);
    assert!(matches!(twice, Err(ProtocolError::Unexpected { why: "hello comes once", .. })));
    let client = Victim::new(Role::Client).header(HELLO);
    assert_eq!(client, Err(ProtocolError::Missing { frame: "hello", field: "instance" }));
}

#[test]
fn frames_of_the_other_side_are_faults() {
    let digest = "0".repeat(64);
    let from_client = [
        r#"{"type":"suspend"}"#.to_owned(),
        r#"{"type":"resume"}"#.to_owned(),
        r#"{"type":"cancel","ch":1}"#.to_owned(),
        r#"{"type":"done","ch":1}"#.to_owned(),
        r#"{"type":"signal","ch":1,"number":1,"signal":"SIGINT"}"#.to_owned(),
        r#"{"type":"window","ch":1,"stream":"stdout","got":0,"upto":0}"#.to_owned(),
        r#"{"type":"stop","ch":1,"stream":"stderr"}"#.to_owned(),
        format!(r#"{{"type":"end","ch":1,"stream":"stdin","total":0,"digest":"sha256:{digest}"}}"#),
        format!(
            r#"{{"type":"attach","ch":2,"key":"{ID}","generation":1,"digest":"{digest}","stdout":0,"stderr":0}}"#
        ),
    ];
    let from_server = [
        r#"{"type":"queued","ch":1,"position":1}"#.to_owned(),
        r#"{"type":"started","ch":1,"job":"0000000000000000","digest":"sha256","started_at":1}"#.to_owned(),
        r#"{"type":"attached","ch":1,"job":"0000000000000000","digest":"sha256","stdin":0,"number":0,"stdout":0,"stderr":0}"#.to_owned(),
        r#"{"type":"refused","ch":1,"reason":"gone"}"#.to_owned(),
        r#"{"type":"window","ch":1,"stream":"stdin","got":0,"upto":0}"#.to_owned(),
        r#"{"type":"stop","ch":1,"stream":"stdin"}"#.to_owned(),
        r#"{"type":"exit","ch":1,"outcome":"exited","code":0,"stdout_bytes":0,"stderr_bytes":0,"ended_at":1}"#.to_owned(),
        format!(r#"{{"type":"end","ch":1,"stream":"stdout","total":0,"digest":"sha256:{digest}"}}"#),
    ];
    let judged = |mut victim: Victim, header: &str| victim.header(header);
    let server = || {
        let mut victim = Victim::server();
        victim.take(&start(1)).unwrap();
        victim
    };
    for header in &from_client {
        assert!(judged(server(), header).is_ok(), "{header}");
        let fault = judged(Victim::client(), header);
        assert!(matches!(fault, Err(ProtocolError::Unexpected { .. })), "{header}: {fault:?}");
    }
    for header in &from_server {
        assert!(judged(Victim::client(), header).is_ok(), "{header}");
        let fault = judged(server(), header);
        assert!(matches!(fault, Err(ProtocolError::Unexpected { .. })), "{header}: {fault:?}");
    }
}

#[test]
fn channels_are_opened_once_and_before_they_are_used() {
    let mut victim = Victim::server();
    victim.take(&start(2)).unwrap();
    for ch in [1, 2] {
        let mut again = Victim::server();
        again.take(&start(2)).unwrap();
        assert!(matches!(again.take(&start(ch)), Err(ProtocolError::Unexpected { .. })), "{ch}");
    }
    victim.take(&start(u32::MAX)).unwrap();
    let unopened = Victim::server().header(r#"{"type":"cancel","ch":1}"#);
    assert!(matches!(unopened, Err(ProtocolError::Unexpected { .. })));
    let unopened = Victim::client().header(r#"{"type":"queued","ch":2,"position":1}"#);
    assert!(matches!(unopened, Err(ProtocolError::Unexpected { .. })));
    for ch in ["0", "4294967296"] {
        let fault = Victim::server().header(&format!(r#"{{"type":"cancel","ch":{ch}}}"#));
        assert_eq!(fault, Err(ProtocolError::Invalid { frame: "cancel", field: "ch" }));
    }
}

#[test]
fn an_exit_that_does_not_say_how_is_no_exit() {
    let rest = r#""ch":1,"stdout_bytes":0,"stderr_bytes":0,"ended_at":1"#;
    for outcome in Outcome::ALL {
        let header = format!(r#"{{"type":"exit","outcome":"{outcome}",{rest}}}"#);
        let fault = Victim::client().header(&header);
        assert!(matches!(fault, Err(ProtocolError::Missing { frame: "exit", .. })), "{header}");
    }
    for code in ["256", "9007199254740991"] {
        let header = format!(r#"{{"type":"exit","outcome":"exited","code":{code},{rest}}}"#);
        let fault = Victim::client().header(&header);
        assert_eq!(fault, Err(ProtocolError::Invalid { frame: "exit", field: "code" }));
    }
    let header = format!(r#"{{"type":"exit","outcome":"exited","code":0,{rest}}}"#);
    let exit = Victim::client().header(&header).unwrap();
    assert!(matches!(&*exit, [Frame::Exit { exit, .. }] if exit.code() == Some(0)));
}

#[test]
fn a_kind_of_error_is_a_short_word_or_a_fault() {
    let error = |kind: &str| {
        Victim::client().header(&format!(r#"{{"type":"error","kind":"{kind}","message":"m"}}"#))
    };
    for kind in ["refused", "x", &"k".repeat(limits::KIND)] {
        let frames = error(kind).unwrap();
        let [Frame::Error(failure)] = &*frames else { panic!("{frames:?}") };
        assert_eq!(failure.kind.as_str(), kind);
    }
    for kind in ["", "Refused", "a b", "\\u001b[2j", "\u{e9}", &"k".repeat(limits::KIND + 1)] {
        assert!(matches!(error(kind), Err(ProtocolError::Header(_))), "{kind:?}");
    }
}

#[test]
fn answers_that_nobody_reads_do_not_pile_up() {
    let windows = (0..).map(|n| Frame::Stop { ch: n % 7, stream: Stream::Stdin });
    let ends = (0..).map(|ch| Frame::Done { ch });
    let floods: [Box<dyn Iterator<Item = Frame>>; 2] = [Box::new(windows), Box::new(ends)];
    for flood in floods {
        let mut outbox = Outbox::default();
        let pushed = flood.map_while(|frame| outbox.push(frame).ok()).take(1_000_000).count();
        assert_eq!(pushed, limits::CONTROL_QUEUE);
        assert_eq!(std::iter::from_fn(|| outbox.pop()).count(), pushed);
    }
    let mut outbox = Outbox::default();
    (0..1_000_000).for_each(|number| outbox.push(Frame::Pong { number }).unwrap());
    assert_eq!(outbox.pop(), Some(Frame::Pong { number: 999_999 }));
    assert_eq!(outbox.pop(), None);
}

#[tokio::test]
async fn a_writer_stuck_in_the_socket_gives_up_at_a_flood() {
    let (ours, _theirs) = tokio::io::duplex(64);
    let (_reader, writer, sender) = rcmd_protocol::io::split(ours, Role::Server, KEEPALIVE);
    let stuck = tokio::spawn(writer.run());
    for number in 0..3 * limits::CONTROL_QUEUE as u64 {
        sender.send(Frame::Ping { number });
        if number % 1_000 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let ended = tokio::time::timeout(Duration::from_secs(10), stuck).await.unwrap().unwrap();
    assert!(
        matches!(ended, Err(rcmd_protocol::io::ConnectionError::Protocol(ProtocolError::Flood))),
        "{ended:?}"
    );
}

#[test]
fn random_bytes_and_flipped_bits_never_panic() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let honest = [&framed(HELLO, b"")[..], &start(1), &start(2)].concat();
    for _ in 0..20_000 {
        let mut bytes = honest.clone();
        for _ in 0..=random() % 4 {
            let at = random() as usize % bytes.len();
            bytes[at] ^= 1 << (random() % 8);
        }
        let _ = Victim::new(Role::Server).take(&bytes);
    }
}
