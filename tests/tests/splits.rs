//! A conversation cut in pieces, and cut off, at sampled places, against the real server. Every place
//! is tried on the protocol's core alone, in `protocol/tests/splits.rs`.

use std::path::Path;

use rcmd_tests::raw::{self, RawPeer, Start, sha256};
use rcmd_tests::{Random, World, eventually};
use serde_json::json;

/// The distance between two sampled places: a prime, so that they fall on all kinds of bytes.
const STRIDE: usize = 61;

/// The bytes that a client sends, the input of its command, and the place where its start is whole.
struct Conversation {
    bytes: Vec<u8>,
    input: Vec<u8>,
    started_at: usize,
}

/// Returns a command that leaves a line in `ledger` when it starts, then gives its input back.
fn conversation(ledger: &Path) -> Conversation {
    let line = format!("echo ran >> '{}'; cat; exit 3", ledger.display());
    let input = Random::new(7).take_bytes(1500);
    let hello = raw::hello();
    let start = Start::shell(1, &line).stdin().frame();
    let (first, second) = input.split_at(700);
    let data = |offset: usize, bytes: &[u8]| {
        let header = json!({"type": "data", "ch": 1, "stream": "stdin", "offset": offset});
        raw::frame(&header, bytes)
    };
    let end = json!({"type": "end", "ch": 1, "stream": "stdin", "total": input.len(),
        "digest": format!("sha256:{}", sha256(&input).trim_start_matches("sha256:"))});
    let started_at = hello.len() + start.len();
    let frames = [hello, start, data(0, first), data(first.len(), second), raw::frame(&end, &[])];
    Conversation { bytes: frames.concat(), input, started_at }
}

fn runs(ledger: &Path) -> usize {
    std::fs::read_to_string(ledger).map_or(0, |text| text.lines().count())
}

/// Sends the conversation in these pieces and asserts that the answer is the whole one.
fn assert_answered(world: &World, name: &str, pieces: impl Fn(&[u8]) -> Vec<Vec<u8>>) {
    let ledger = world.scratch(name);
    let said = conversation(&ledger);
    let mut peer = RawPeer::connect(world);
    for piece in pieces(&said.bytes) {
        peer.send(&piece).unwrap();
    }
    peer.expect_frame("started");
    let ran = peer.finish(1).unwrap();
    assert_eq!(ran.stdout, said.input, "{name}");
    assert_eq!(ran.exit["code"], 3, "{name}: {}", ran.exit);
    assert_eq!(runs(&ledger), 1, "{name}");
}

#[test]
fn a_conversation_in_two_pieces_is_answered_as_in_one() {
    let world = World::start();
    let length = conversation(&world.scratch("any")).bytes.len();
    for place in (1..length).step_by(STRIDE) {
        assert_answered(&world, &format!("split-{place}"), |bytes| {
            let (first, second) = bytes.split_at(place.min(bytes.len()));
            vec![first.to_vec(), second.to_vec()]
        });
    }
}

#[test]
fn a_conversation_byte_by_byte_is_answered_as_in_one() {
    let world = World::start();
    assert_answered(&world, "bytes", |bytes| bytes.iter().map(|&byte| vec![byte]).collect());
}

#[test]
fn a_conversation_that_is_cut_off_starts_nothing_unless_its_request_was_whole() {
    let world = World::builder().config("grace = \"300ms\"").start();
    let whole = conversation(&world.scratch("any"));
    let edges = [whole.started_at - 1, whole.started_at, whole.started_at + 1];
    for place in (0..whole.bytes.len()).step_by(STRIDE).chain(edges) {
        // Names of one length keep the places where they are.
        let ledger = world.scratch(&format!("cut{place:05}"));
        let said = conversation(&ledger);
        let cut = &said.bytes[..place.min(said.bytes.len() - 1)];
        let mut peer = RawPeer::connect(&world);
        peer.send(cut).unwrap();
        peer.close().unwrap();
        // The server closes its side when it has read all of it.
        peer.expect_closed();
        if cut.len() < said.started_at {
            assert_eq!(runs(&ledger), 0, "cut off after {} bytes", cut.len());
        } else {
            eventually("the command ran", || runs(&ledger) == 1);
        }
    }
}
