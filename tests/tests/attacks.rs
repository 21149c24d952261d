//! Framing under attack: whatever a peer sends, it is told the fault once, its connection and commands
//! end, the server's memory stays where it was, and the honest peer beside it is served.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rcmd_tests::attack::AttackHarness;
use rcmd_tests::raw::{Start, frame, hello, text_frame};
use rcmd_tests::wait::DEADLINE;
use rcmd_tests::{RawPeer, World};
use serde_json::{Value, json};

fn number(length: u32) -> Vec<u8> {
    length.to_be_bytes().to_vec()
}

fn header(header: Value) -> Vec<u8> {
    frame(&header, &[])
}

#[test]
fn a_length_past_its_limit_is_refused_before_anything_is_kept_for_it() {
    let mut harness = AttackHarness::new(&[]);
    for length in [4097, 65_536, 1 << 24, u32::MAX] {
        harness.expect_rejected_at_once(&number(length), "past the limit of 4096");
    }
    for length in [65_537, 1 << 24, 1 << 31, u32::MAX] {
        harness.expect_rejected(&number(length), "past the limit of 65536");
    }
    harness.expect_rejected_at_once(&number(0), "empty header");
    harness.expect_rejected(&number(0), "empty header");
    harness.finish("lengths", 4 * 1024);
}

#[test]
fn a_header_of_the_full_length_is_read() {
    let world = World::start();
    let mut hello = json!({"type": "hello", "agent": "a", "capabilities": [], "x": ""});
    hello["x"] = "x".repeat(4096 - hello.to_string().len()).into();
    let mut ping = json!({"type": "ping", "number": 7, "x": ""});
    ping["x"] = "x".repeat(65_536 - ping.to_string().len()).into();
    let mut peer = RawPeer::connect(&world);
    peer.send(&[header(hello), header(ping)].concat()).unwrap();
    assert_eq!(peer.expect_frame("pong").0["number"], 7);
}

#[test]
fn a_payload_past_its_limit_is_refused_before_it_comes() {
    let mut harness = AttackHarness::new(&[]);
    for len in [(1_u64 << 20) + 1, 1 << 40, (1 << 53) - 1] {
        let data = json!({"type": "data", "ch": 1, "stream": "stdin", "offset": 0, "len": len});
        harness.expect_rejected(&header(data), "past the limit of 1048576");
    }
    let hello = json!({"type": "hello", "agent": "", "capabilities": [], "len": 1 << 30});
    harness.expect_rejected_at_once(&header(hello), "past the limit of 1048576");
    let hello = json!({"type": "hello", "agent": "", "capabilities": [], "len": 1 << 20});
    harness.expect_rejected_at_once(&header(hello), "hello frame");
    harness.finish("payloads", 4 * 1024);
}

#[test]
fn a_payload_where_none_belongs_and_an_empty_one_are_refused() {
    let mut harness = AttackHarness::new(&[]);
    harness.expect_rejected(
        &frame(&json!({"type": "ping", "number": 1}), b"x"),
        "ping frame has an invalid len",
    );
    let data = json!({"type": "data", "ch": 1, "stream": "stdin", "offset": 0});
    harness.expect_rejected(&header(data), "data frame");
    harness.finish("empty payloads", 4 * 1024);
}

#[test]
fn a_header_that_is_not_the_json_it_must_be_is_refused() {
    let mut harness = AttackHarness::new(&[]);
    let deep = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        format!(r#"{{"type":"ping","number":1,"x":{open}{close}}}"#)
    };
    let cases = [
        (deep(16), "deep"),
        (deep(30_000), "deep"),
        (r#"{"type":"ping","number":1,"number":1}"#.to_owned(), "twice"),
        (r#"{"type":"ping","number":1,"x":{"y":1,"\u0079":2}}"#.to_owned(), "twice"),
        (r#"{"type":"ping","number":1}{}"#.to_owned(), "trailing"),
        (r#"{"type":"ping","number":1} x"#.to_owned(), "trailing"),
        (r#"{"type":"ping","number":1,"x":"a\u0000b"}"#.to_owned(), "NUL"),
        (r#"{"type":"ping","number":1,"a\u0000b":1}"#.to_owned(), "NUL"),
        (r#"{"type":"no such type"}"#.to_owned(), "type of frame"),
        (r#"{"type":null}"#.to_owned(), "not valid"),
        (r#"{"number":1}"#.to_owned(), "no \"type\" in it"),
        (r#"{"type":"ping"}"#.to_owned(), "lacks number"),
        (r#"{"type":"ping","number":-1}"#.to_owned(), "not valid"),
        (r#"{"type":"ping","number":1.5}"#.to_owned(), "not valid"),
        (r#"{"type":"ping","number":9007199254740992}"#.to_owned(), "2^53"),
        (r#"["type","ping"]"#.to_owned(), "not valid"),
        (" ".repeat(4096), "not valid"),
        ("\0".repeat(4096), "not valid"),
    ];
    for (text, told) in &cases {
        harness.expect_rejected(&text_frame(text, &[]), told);
        if text.len() <= 4096 {
            harness.expect_rejected_at_once(&text_frame(text, &[]), told);
        }
    }
    harness.expect_rejected(&[&number(4), &b"\"\xff\xfe\""[..]].concat(), "not valid");
    harness.finish("JSON", 4 * 1024);
}

#[test]
fn a_frame_that_only_a_server_sends_is_refused() {
    let mut harness = AttackHarness::new(&[]);
    let (key, digest) = ("0".repeat(32), format!("sha256:{}", "0".repeat(64)));
    let frames = [
        json!({"type": "queued", "ch": 1, "position": 0}),
        json!({"type": "started", "ch": 1, "job": "0123456789abcdef", "digest": "sha256", "started_at": 1}),
        json!({"type": "refused", "ch": 1, "reason": "gone"}),
        json!({"type": "end", "ch": 1, "stream": "stdout", "total": 0, "digest": digest}),
        json!({"type": "window", "ch": 1, "stream": "stdin", "got": 0, "upto": 0}),
        json!({"type": "stop", "ch": 1, "stream": "stdin"}),
        json!({"type": "exit", "ch": 1, "outcome": "exited", "code": 0, "stdout_bytes": 0,
            "stderr_bytes": 0, "ended_at": 1}),
        json!({"type": "attached", "ch": 1, "job": "0123456789abcdef", "digest": "sha256", "stdin": 0,
            "stdin_ended": false, "number": 0, "stdout": 0, "stderr": 0, "key": key}),
    ];
    for server_only in frames {
        harness.expect_rejected(&header(server_only), "this side does not send it");
    }
    let data = json!({"type": "data", "ch": 1, "stream": "stdout", "offset": 0});
    harness.expect_rejected(&frame(&data, b"x"), "this side does not send it");
    harness.finish("frames of the other side", 4 * 1024);
}

#[test]
fn a_frame_before_hello_a_second_hello_and_a_channel_never_opened_are_refused() {
    let mut harness = AttackHarness::new(&[]);
    harness.expect_rejected_at_once(
        &header(json!({"type": "ping", "number": 1})),
        "hello comes first",
    );
    harness.expect_rejected_at_once(&Start::exec(1, &["true"]).frame(), "hello comes first");
    harness.expect_rejected(&hello(), "hello comes once");
    harness.expect_rejected(&Start::exec(1, &["true"]).frame(), "its channel was used before");
    harness.expect_rejected(&Start::exec(0, &["true"]).frame(), "invalid ch");
    harness.expect_rejected(&Start::exec(1 << 32, &["true"]).frame(), "invalid ch");
    let digest = format!("sha256:{}", "0".repeat(64));
    let frames = [
        json!({"type": "end", "ch": 9, "stream": "stdin", "total": 0, "digest": digest}),
        json!({"type": "window", "ch": 9, "stream": "stdout", "got": 0, "upto": 0}),
        json!({"type": "stop", "ch": 9, "stream": "stdout"}),
        json!({"type": "signal", "ch": 9, "number": 1, "signal": "SIGINT"}),
        json!({"type": "cancel", "ch": 9}),
        json!({"type": "done", "ch": 9}),
    ];
    for stray in frames {
        harness.expect_rejected(&header(stray), "never opened");
    }
    let data = json!({"type": "data", "ch": 9, "stream": "stdin", "offset": 0});
    harness.expect_rejected(&frame(&data, b"x"), "never opened");
    harness.finish("order", 4 * 1024);
}

#[test]
fn data_with_a_gap_past_its_credit_or_behind_its_end_is_refused() {
    let mut harness = AttackHarness::new(&[]);
    let data = |offset: u64, size: usize| {
        let header = json!({"type": "data", "ch": 1, "stream": "stdin", "offset": offset});
        frame(&header, &vec![b'x'; size])
    };
    harness.expect_rejected(&data(1, 1), "stdin jumps from byte 0 to 1");
    harness.expect_rejected(&data((1 << 53) - 2, 1), "stdin");
    harness.expect_rejected(
        &[data(0, 1 << 20), data(1 << 20, 1 << 20)].concat(),
        "stdin goes to byte 2097152, past",
    );
    let empty = rcmd_tests::raw::sha256(b"");
    let end = json!({"type": "end", "ch": 1, "stream": "stdin", "total": 0, "digest": empty});
    harness.expect_rejected(&[header(end), data(0, 1)].concat(), "stdin goes on after its end");
    harness.finish("offsets", 8 * 1024);
}

#[test]
fn a_window_past_what_was_sent_is_refused() {
    let mut harness = AttackHarness::new(&[]);
    for stream in ["stdout", "stderr"] {
        let window =
            json!({"type": "window", "ch": 1, "stream": stream, "got": 1, "upto": 1 << 21});
        harness.expect_rejected(&header(window), &format!("{stream} goes to byte 1, past 0"));
    }
    harness.finish("windows", 4 * 1024);
}

#[test]
fn a_start_that_is_not_what_it_says_is_refused() {
    let mut harness = AttackHarness::new(&[]);
    let start = Start::exec(2, &["echo", "hi"]);
    let changed = |field: &str, value: Value| {
        let mut header = start.header();
        header[field] = value;
        frame(&header, &start.payload())
    };
    harness.expect_rejected(&changed("digest", "0".repeat(64).into()), "digest");
    harness.expect_rejected(&changed("argc", 3.into()), "start frame");
    harness.expect_rejected(&changed("argc", 1.into()), "start frame");
    harness.expect_rejected(&changed("cwd", true.into()), "start frame");
    harness.expect_rejected(&changed("mode", "other".into()), "this is not a mode");
    harness.expect_rejected(&changed("key", "0".into()), "this is not a key");
    let without_nul = frame(&start.header(), b"echo\0hi");
    harness.expect_rejected(&without_nul, "start frame");
    harness.finish("starts", 4 * 1024);
}

#[test]
fn a_header_that_trickles_in_is_given_up_after_its_time() {
    let mut harness = AttackHarness::new(&[]);
    let mut attacker = harness.attacker();
    let began = Instant::now();
    attacker.peer.send(&number(1000)).unwrap();
    attacker.peer.socket().set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    // A byte now and then is no progress.
    let mut header = loop {
        assert!(began.elapsed() < DEADLINE, "still read after {DEADLINE:?}");
        match attacker.peer.read_frame() {
            Ok(Some((header, _))) if header["type"] == "error" => break header,
            Ok(Some(_)) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let _ = attacker.peer.send(b" ");
                harness.honest.beat();
            }
            ended => panic!("no error frame but {ended:?}"),
        }
    };
    assert!(header["message"].take().as_str().unwrap().contains("was not complete after 10 s"));
    attacker.expect_killed();
    harness.finish("trickle", 4 * 1024);
}

#[test]
fn who_stays_silent_before_its_handshake_or_its_hello_is_sent_away() {
    let mut harness = AttackHarness::new(&["[limits]", "handshake = \"500ms\""]);
    let mut silent = TcpStream::connect(harness.world.address()).unwrap();
    let mut half = TcpStream::connect(harness.world.address()).unwrap();
    // The first bytes of a TLS record that never goes on.
    half.write_all(&[22, 3, 1, 1, 0, 1]).unwrap();
    let mut mute = RawPeer::connect(&harness.world);
    let mut begun = RawPeer::connect(&harness.world);
    begun.send(&hello()[..20]).unwrap();
    harness.honest.beat();
    for stream in [&mut silent, &mut half] {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let ended = stream.read_to_end(&mut Vec::new());
        assert!(!ended.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock));
    }
    mute.expect_closed();
    begun.expect_closed();
    let lines = harness.world.wait_for_log_lines("the handshake or the hello took too long", 4);
    assert_eq!(lines.len(), 4);
    harness.finish("silence", 4 * 1024);
}

#[test]
fn what_a_peer_has_done_before_it_was_judged_is_bounded() {
    // CI's share; `soak before` holds more of each and measures how often one peer can have it done.
    let figures = rcmd_tests::soak::before::run(32, None);
    let _ = write!(io::stderr(), "{figures}");
    assert_eq!(figures.excess(), [""; 0], "{figures}");
}
