//! The answers to a connection that takes a command up, word for word: who may have it, from which
//! byte, and that nothing is carried out twice.

use std::io;

use rcmd_tests::raw::{self, Dial, RawPeer, Start, frame, sha256};
use rcmd_tests::{World, eventually};
use serde_json::{Value, json};

/// Returns an attach to what was started so, with a higher generation than the start has.
fn attach(start: &Start, ch: u64, generation: u64, stdout: u64) -> Vec<u8> {
    let known = start.header();
    let attach = json!({
        "type": "attach", "ch": ch, "key": known["key"], "generation": generation,
        "digest": known["digest"], "stdout": stdout, "stderr": 0,
    });
    frame(&attach, &[])
}

fn stdin(ch: u64, offset: usize, bytes: &[u8]) -> Vec<u8> {
    let header = json!({
        "type": "data", "ch": ch, "stream": "stdin", "offset": offset, "len": bytes.len(),
    });
    frame(&header, bytes)
}

fn end_stdin(ch: u64, all: &[u8]) -> Vec<u8> {
    let digest = sha256(all);
    let header = json!({
        "type": "end", "ch": ch, "stream": "stdin", "total": all.len(), "digest": digest,
    });
    frame(&header, &[])
}

fn done(ch: u64) -> Vec<u8> {
    frame(&json!({"type": "done", "ch": ch}), &[])
}

/// Reads output until all of this has come, from the offset on; other frames are passed over.
fn expect_output(peer: &mut RawPeer, mut offset: usize, expected: &[u8]) {
    let from = offset;
    while offset < from + expected.len() {
        let (header, bytes) = peer.expect_frame("data");
        assert_eq!(header["offset"], offset, "{header}");
        assert_eq!(bytes, expected[offset - from..][..bytes.len()]);
        offset += bytes.len();
    }
}

fn refusal(peer: &mut RawPeer) -> (Value, Value) {
    let (header, _) = peer.expect_frame("refused");
    (header["reason"].clone(), header["generation"].clone())
}

#[test]
fn output_goes_on_from_the_byte_that_the_client_has() {
    let world = World::start();
    let mut first = RawPeer::greeted(&world);
    let start = Start::exec(1, &["cat"]).stdin();
    first.send(&start.frame()).unwrap();
    first.send(&stdin(1, 0, b"0123456789")).unwrap();
    expect_output(&mut first, 0, b"0123456789");
    drop(first);
    for (turn, received) in [0, 4, 10].into_iter().enumerate() {
        let mut next = RawPeer::greeted(&world);
        next.send(&attach(&start, 7, 2 + turn as u64, received)).unwrap();
        let (attached, _) = next.expect_frame("attached");
        assert_eq!((&attached["stdout"], &attached["stdin"]), (&json!(received), &json!(10)));
        assert_ne!(attached["stdin_ended"], true, "a broken link is no end");
        expect_output(&mut next, received as usize, &b"0123456789"[received as usize..]);
    }
    let mut last = RawPeer::greeted(&world);
    last.send(&attach(&start, 1, 9, 10)).unwrap();
    // What was accepted before may come again, and is taken once.
    last.send(&stdin(1, 5, b"56789abc")).unwrap();
    expect_output(&mut last, 10, b"abc");
    last.send(&end_stdin(1, b"0123456789abc")).unwrap();
    last.send(&end_stdin(1, b"0123456789abc")).unwrap();
    let (exit, _) = last.expect_frame("exit");
    assert_eq!((&exit["code"], &exit["stdout_bytes"]), (&json!(0), &json!(13)));
    last.send(&done(1)).unwrap();
}

#[test]
fn only_a_higher_generation_takes_a_command_over_and_the_one_before_is_told() {
    let world = World::start();
    let (mut first, mut second) = (RawPeer::greeted(&world), RawPeer::greeted(&world));
    let start = Start::exec(1, &["cat"]).stdin();
    first.send(&start.frame()).unwrap();
    first.expect_frame("started");
    second.send(&attach(&start, 1, 1, 0)).unwrap();
    assert_eq!(refusal(&mut second), (json!("superseded"), json!(1)));
    second.send(&attach(&start, 2, 5, 0)).unwrap();
    second.expect_frame("attached");
    assert_eq!(refusal(&mut first), (json!("superseded"), json!(5)));
    // Nothing that the first still says, nor its end, concerns the command any more.
    first.send(&stdin(1, 0, b"stolen")).unwrap();
    first.send(&frame(&json!({"type": "cancel", "ch": 1}), &[])).unwrap();
    first.send(&attach(&start, 2, 4, 0)).unwrap();
    assert_eq!(refusal(&mut first), (json!("superseded"), json!(5)));
    drop(first);
    second.send(&stdin(2, 0, b"mine")).unwrap();
    expect_output(&mut second, 0, b"mine");
    second.send(&end_stdin(2, b"mine")).unwrap();
    let (exit, _) = second.expect_frame("exit");
    assert_eq!((&exit["outcome"], &exit["stdout_bytes"]), (&json!("exited"), &json!(4)));
    second.send(&done(2)).unwrap();
}

#[test]
fn an_end_is_told_until_it_is_confirmed_and_then_forgotten() {
    let world = World::start();
    // Neither its timeout nor the 2 s that a pipe may be held are deadlines for this.
    let start = Start::exec(1, &["printf", "all"]).timeout_ms(1000);
    let mut first = RawPeer::greeted(&world);
    first.send(&start.frame()).unwrap();
    let told = first.expect_frame("exit").0;
    outlast_deadlines(&world);
    drop(first);
    for (generation, received) in [(2, 0), (3, 1), (4, 3)] {
        let mut next = RawPeer::greeted(&world);
        next.send(&attach(&start, 1, generation, received)).unwrap();
        next.expect_frame("attached");
        if received < 3 {
            expect_output(&mut next, received as usize, &b"all"[received as usize..]);
        }
        for stream in ["stdout", "stderr"] {
            assert_eq!(next.expect_frame("end").0["stream"], stream);
        }
        assert_eq!(next.expect_frame("exit").0, told);
    }
    let mut last = RawPeer::greeted(&world);
    last.send(&attach(&start, 1, 5, 3)).unwrap();
    last.expect_frame("exit");
    last.send(&done(1)).unwrap();
    last.send(&attach(&start, 2, 6, 3)).unwrap();
    assert_eq!(refusal(&mut last).0, "gone");
    // Nor does its key start it anew.
    last.send(&start.channel(3).frame()).unwrap();
    assert_eq!(refusal(&mut last).0, "gone");
}

#[test]
fn the_end_of_a_kept_key_is_told_to_an_attach_long_after_it_was_confirmed() {
    let mut world = World::start();
    let start = Start::exec(1, &["printf", "all"]).keep();
    let mut first = RawPeer::greeted(&world);
    first.send(&start.frame()).unwrap();
    let told = first.expect_frame("exit").0;
    first.send(&done(1)).unwrap();
    first.close().unwrap();
    first.expect_closed();
    for generation in [2, 3] {
        let mut next = RawPeer::greeted(&world);
        next.send(&attach(&start, 1, generation, 0)).unwrap();
        assert_eq!(next.expect_frame("attached").0["stdout"], 3, "what it wrote is gone");
        assert_eq!(next.expect_frame("exit").0["code"], told["code"]);
        drop(next);
        world.restart();
    }
}

#[test]
fn an_end_that_is_kept_for_its_client_holds_no_descriptor() {
    let world = World::start();
    let before = world.settled_snapshot();
    let mut peer = RawPeer::greeted(&world);
    peer.send(&Start::exec(1, &["true"]).stdin().frame()).unwrap();
    peer.expect_frame("exit");
    peer.close().unwrap();
    drop(peer);
    world.assert_settles_to(&before);
}

#[test]
fn a_start_that_comes_again_attaches_and_another_request_is_a_conflict() {
    let world = World::start();
    let file = world.scratch("starts");
    let line = format!("echo x >> {}; echo here; exec cat", file.display());
    let start = Start::shell(1, &line).stdin();
    let mut first = RawPeer::greeted(&world);
    first.send(&start.frame()).unwrap();
    expect_output(&mut first, 0, b"here\n");
    let mut second = RawPeer::greeted(&world);
    second.send(&start.clone().channel(2).frame()).unwrap();
    assert_eq!(refusal(&mut second).0, "superseded", "the same generation is not a higher one");
    let again = start.clone().channel(3);
    let mut header = again.header();
    header["generation"] = 2.into();
    second.send(&frame(&header, &again.payload())).unwrap();
    let (attached, _) = second.expect_frame("attached");
    assert_eq!(attached["stdout"], 0);
    expect_output(&mut second, 0, b"here\n");
    let known = u128::from_str_radix(start.header()["key"].as_str().unwrap(), 16).unwrap();
    second.send(&Start::shell(4, "echo other").key(known).frame()).unwrap();
    assert_eq!(refusal(&mut second).0, "conflict");
    second.send(&attach(&Start::shell(1, "echo other").key(known), 5, 9, 0)).unwrap();
    assert_eq!(refusal(&mut second).0, "conflict");
    assert_eq!(std::fs::read(&file).unwrap(), b"x\n");
    second.send(&frame(&json!({"type": "cancel", "ch": 3}), &[])).unwrap();
    second.expect_frame("exit");
    second.send(&done(3)).unwrap();
}

#[test]
fn a_key_that_was_never_used_is_unknown_and_attaching_starts_nothing() {
    let world = World::start();
    let mut peer = RawPeer::greeted(&world);
    let file = world.scratch("never");
    let start = Start::exec(1, &["touch", file.to_str().unwrap()]);
    peer.send(&attach(&start, 1, 2, 0)).unwrap();
    assert_eq!(refusal(&mut peer).0, "unknown_key");
    assert!(!file.exists());
}

#[test]
fn a_signal_is_carried_out_once_however_often_it_is_sent() {
    let world = World::start();
    let line = "trap 'echo hit' USR1; echo ready; while read x; do echo $x; done";
    let start = Start::shell(1, line).stdin();
    let signal = |ch: u64, number: u64| {
        let signal = json!({"type": "signal", "ch": ch, "number": number, "signal": "SIGUSR1"});
        frame(&signal, &[])
    };
    let mut first = RawPeer::greeted(&world);
    first.send(&start.frame()).unwrap();
    expect_output(&mut first, 0, b"ready\n");
    first.send(&signal(1, 1)).unwrap();
    expect_output(&mut first, 6, b"hit\n");
    drop(first);
    let mut second = RawPeer::greeted(&world);
    second.send(&attach(&start, 1, 2, 10)).unwrap();
    assert_eq!(second.expect_frame("attached").0["number"], 1);
    second.send(&signal(1, 1)).unwrap();
    second.send(&stdin(1, 0, b"no second\n")).unwrap();
    expect_output(&mut second, 10, b"no second\n");
    second.send(&signal(1, 2)).unwrap();
    expect_output(&mut second, 20, b"hit\n");
    second.send(&end_stdin(1, b"no second\n")).unwrap();
    second.expect_frame("exit");
    second.send(&done(1)).unwrap();
}

#[test]
fn bytes_that_were_never_sent_can_not_be_claimed() {
    let world = World::start();
    let start = Start::exec(1, &["cat"]).stdin();
    let mut first = RawPeer::greeted(&world);
    first.send(&start.frame()).unwrap();
    first.expect_frame("started");
    let mut second = RawPeer::greeted(&world);
    second.send(&attach(&start, 1, 2, 1)).unwrap();
    second.expect_protocol_error();
    // The honest owner has not noticed.
    first.send(&stdin(1, 0, b"fine")).unwrap();
    expect_output(&mut first, 0, b"fine");
    first.send(&end_stdin(1, b"fine")).unwrap();
    first.expect_frame("exit");
    first.send(&done(1)).unwrap();
}

#[test]
fn output_that_waits_for_its_reader_is_kept_past_every_deadline_of_the_command() {
    const CREDIT: usize = 1 << 20;
    const REST: usize = 50_000;
    let world = World::start();
    let mut peer = RawPeer::greeted(&world);
    let size = (CREDIT + REST).to_string();
    let start = Start::exec(1, &["head", "-c", &size, "/dev/zero"]).timeout_ms(1000);
    peer.send(&start.frame()).unwrap();
    expect_output(&mut peer, 0, &[0; CREDIT]);
    world.wait_for_log("ended");
    outlast_deadlines(&world);
    let window = json!({
        "type": "window", "ch": 1, "stream": "stdout", "got": CREDIT, "upto": 2 * CREDIT,
    });
    peer.send(&frame(&window, &[])).unwrap();
    expect_output(&mut peer, CREDIT, &[0; REST]);
    let (exit, _) = peer.expect_frame("exit");
    assert_eq!(
        (&exit["outcome"], &exit["stdout_bytes"]),
        (&json!("exited"), &json!(CREDIT + REST))
    );
    assert_ne!(exit["open"], true, "nothing held the pipe");
    peer.send(&done(1)).unwrap();
}

/// A key of another identity is as unknown as one that never was.
#[test]
fn a_key_belongs_to_the_identity_that_used_it() {
    let world = World::start();
    let start = Start::exec(1, &["cat"]).stdin();
    let mut owner = RawPeer::greeted(&world);
    owner.send(&start.frame()).unwrap();
    owner.expect_frame("started");
    let other = world.scratch("other");
    let leaf = rcmd_tests::pki::Leaf::client("someone-else");
    rcmd_tests::pki::Authority::of(world.dir()).issue(&leaf).write(&other);
    let mut other = greeted(&Dial::to(&world).identity(&other)).unwrap();
    other.send(&attach(&start, 1, 9, 0)).unwrap();
    assert_eq!(refusal(&mut other).0, "unknown_key");
    owner.send(&end_stdin(1, b"")).unwrap();
    owner.expect_frame("exit");
    owner.send(&done(1)).unwrap();
    eventually("the command is gone", || world.snapshot().children == 0);
}

/// Waits until a command that starts now is ended by the 2 s for which a pipe may be held. Then those 2 s
/// are over for every command that ended before, and so is a timeout of 1 s.
fn outlast_deadlines(world: &World) {
    let done = world.shell("sleep 600 & echo held").with_result().run();
    assert_eq!(done.result()["output_open"], true, "{}", done.result());
}

fn greeted(dial: &Dial) -> io::Result<RawPeer> {
    let mut peer = dial.connect()?;
    peer.send(&raw::hello())?;
    peer.expect_frame("hello");
    Ok(peer)
}
