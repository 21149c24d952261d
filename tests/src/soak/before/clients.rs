//! The deeds of a client, whether it may run something or nothing.

use std::io;

use serde_json::json;

use super::ground::{Ground, Held, Side, drained, greet, read_one};
use super::{Count, Done};
use crate::raw::{CompressedPings, Dial, Start, frame};
use crate::{Random, RawPeer};

/// Frames that are sent before an answer is read.
const AT_ONCE: u64 = 16;
/// The longest argument, in bytes.
const LONGEST: usize = (128 << 10) - 1;

pub(super) fn dial(ground: &Ground, _: Side, count: &Count) -> io::Result<Done> {
    let mut done = Done::default();
    for _ in 0..8 {
        let mut peer = greet(&ground.denied())?;
        peer.close()?;
        done.add(1, drained(peer)?);
        count.add(1);
    }
    Ok(done)
}

pub(super) fn hold_connection(ground: &Ground, _: Side) -> io::Result<Held> {
    Ok(Box::new(greet(&ground.denied())?))
}

/// Sends so many frames at once, and reads until each has one of these answers.
fn ask(
    dial: &Dial,
    frames: u64,
    answers: &[&str],
    count: &Count,
    make: impl Fn(u64) -> Vec<u8>,
) -> io::Result<Done> {
    let (mut peer, mut done) = (greet(dial)?, Done::default());
    let before = peer.wire();
    let bytes: Vec<_> = (1..=frames).map(make).collect();
    peer.send(&bytes.concat())?;
    for _ in 0..frames {
        read_one(&mut peer, answers)?;
        count.add(1);
    }
    done.add(frames, peer.wire() - before);
    leave(peer);
    Ok(done)
}

/// Closes a connection as an honest client does, so that no loss of it is told.
fn leave(mut peer: RawPeer) {
    let _ = peer.close();
    let _ = drained(peer);
}

fn done_with(ch: u64) -> Vec<u8> {
    frame(&json!({"type": "done", "ch": ch}), &[])
}

/// Sends pings at once, of which the last is answered and others may be left out.
pub(super) fn pings(ground: &Ground, _: Side, count: &Count) -> io::Result<Done> {
    const PINGS: u64 = 64;
    let (mut peer, mut done) = (greet(&ground.denied())?, Done::default());
    let before = peer.wire();
    let ping = |number: u64| frame(&json!({"type": "ping", "number": number}), &[]);
    peer.send(&(1..=PINGS).flat_map(ping).collect::<Vec<_>>())?;
    while read_one(&mut peer, &["pong"])?["number"] != PINGS {}
    count.add(PINGS);
    done.add(PINGS, peer.wire() - before);
    leave(peer);
    Ok(done)
}

pub(super) fn compressed_pings(ground: &Ground, _: Side, count: &Count) -> io::Result<Done> {
    let (pings, mut done) = (&ground.pings, Done::default());
    let mut peer = CompressedPings::connect(&ground.denied())?;
    let before = peer.wire();
    // Two thirds of that is in what begins, and all of it is answered.
    peer.send(&[&pings.begin[..], &pings.again].concat())?;
    let after = drained(peer)?;
    done.add(3 * CompressedPings::EACH, after - before);
    count.add(3 * CompressedPings::EACH);
    Ok(done)
}

pub(super) fn asks(ground: &Ground, _: Side, count: &Count) -> io::Result<Done> {
    let asked = |ch| Start::exec(ch, &["true"]).ask();
    ask(&ground.denied(), AT_ONCE, &["verdict", "exit", "refused"], count, asked)
}

pub(super) fn starts(ground: &Ground, _: Side, count: &Count) -> io::Result<Done> {
    let start = |ch| [Start::exec(ch, &["true"]).frame(), done_with(ch)].concat();
    ask(&ground.denied(), AT_ONCE, &["exit"], count, start)
}

pub(super) fn large_starts(ground: &Ground, _: Side, count: &Count) -> io::Result<Done> {
    let word = "\u{1}".repeat(LONGEST);
    let start = |ch| [Start::exec(ch, &[&word[..]; 7]).frame(), done_with(ch)].concat();
    ask(&ground.denied(), 2, &["exit"], count, start)
}

pub(super) fn unknown_keys(ground: &Ground, _: Side, count: &Count) -> io::Result<Done> {
    let attach = |ch: u64| {
        let header = json!({
            "type": "attach", "ch": ch, "key": format!("{ch:032x}"), "generation": 1,
            "digest": "0".repeat(64), "stdout": 0, "stderr": 0,
        });
        frame(&header, &[])
    };
    ask(&ground.denied(), AT_ONCE, &["refused"], count, attach)
}

pub(super) fn nonsense(ground: &Ground, _: Side, count: &Count) -> io::Result<Done> {
    let mut done = Done::default();
    for _ in 0..8 {
        let mut peer = greet(&ground.denied())?;
        let before = peer.wire();
        peer.send(&Random::new(ground.number()).take_bytes(300))?;
        done.add(1, drained(peer)? - before);
        count.add(1);
    }
    Ok(done)
}

/// Sends a start of 1 MiB without its last byte.
pub(super) fn hold_payload(ground: &Ground, _: Side) -> io::Result<Held> {
    let mut peer = greet(&ground.denied())?;
    let word = "x".repeat(LONGEST);
    let start = Start::exec(1, &[&word[..]; 7]).frame();
    // What the server does not read for want of room stays in the socket.
    peer.socket().set_write_timeout(Some(std::time::Duration::from_millis(200)))?;
    let _ = peer.send(&start[..start.len() - 1]);
    Ok(Box::new(peer))
}

pub(super) fn called_off(ground: &Ground, _: Side, count: &Count) -> io::Result<Done> {
    let both = |ch| {
        let cancel = frame(&json!({"type": "cancel", "ch": ch}), &[]);
        [Start::exec(ch, &["true"]).frame(), cancel, done_with(ch)].concat()
    };
    ask(&ground.permitted(), AT_ONCE, &["exit"], count, both)
}

pub(super) fn kept_keys(ground: &Ground, _: Side, count: &Count) -> io::Result<Done> {
    let start = |ch| [Start::exec(ch, &["true"]).keep().frame(), done_with(ch)].concat();
    ask(&ground.permitted(), AT_ONCE, &["exit"], count, start)
}

/// Sends a start of 64 KiB that waits for a lock: all of them want the same, and the first has it.
pub(super) fn hold_lock(ground: &Ground, _: Side) -> io::Result<Held> {
    let mut peer = greet(&ground.permitted())?;
    let word = "x".repeat(64 << 10);
    let start = Start::exec(1, &["sh", "-c", "sleep 600", &word]).lock("held", 3_600_000);
    peer.send(&start.frame())?;
    let answer = read_one(&mut peer, &["started", "queued", "exit"])?;
    if answer["type"] == "exit" {
        Err(io::Error::other(answer.to_string()))
    } else {
        Ok(Box::new(peer))
    }
}
