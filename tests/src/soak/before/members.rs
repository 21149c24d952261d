//! The deeds of a member of the authority.

use std::io::{self, Read as _};

use serde_json::{Value, json};

use super::ground::{Ground, Held, Side, drained};
use super::{Count, Done};
use crate::RawPeer;

/// Asks of one turn.
const ASKS: u64 = 8;

/// Sends an ask and reads its answer.
pub(super) fn exchange(peer: &mut RawPeer, ask: &Value) -> io::Result<Value> {
    let ask = ask.to_string();
    let length = u32::try_from(ask.len()).unwrap_or(u32::MAX);
    peer.send(&[&length.to_be_bytes(), ask.as_bytes()].concat())?;
    let mut length = [0; 4];
    peer.read_exact(&mut length)?;
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    peer.read_exact(&mut answer)?;
    Ok(serde_json::from_slice(&answer)?)
}

fn ask_again(peer: &mut RawPeer, ask: &Value, count: &Count) -> io::Result<Done> {
    let (before, mut done) = (peer.wire(), Done::default());
    for _ in 0..ASKS {
        let answer = exchange(peer, ask)?;
        if answer["answer"] == "refused" {
            return Err(io::Error::other(answer.to_string()));
        }
        count.add(1);
    }
    done.add(ASKS, peer.wire() - before);
    Ok(done)
}

pub(super) fn dial(ground: &Ground, _: Side, count: &Count) -> io::Result<Done> {
    let mut done = Done::default();
    for _ in 0..ASKS {
        let mut peer = ground.member()?;
        let _ = peer.close();
        done.add(1, drained(peer)?);
        count.add(1);
    }
    Ok(done)
}

pub(super) fn renew(ground: &Ground, _: Side, count: &Count) -> io::Result<Done> {
    ask_again(&mut ground.member()?, &json!({"ask": "renew", "time": 0}), count)
}

pub(super) fn lists(ground: &Ground, _: Side, count: &Count) -> io::Result<Done> {
    ask_again(&mut ground.member()?, &json!({"ask": "lists", "newer_than": 0}), count)
}

/// Waits for lists that there are not yet.
pub(super) fn hold_wait(ground: &Ground, _: Side) -> io::Result<Held> {
    let mut peer = ground.member()?;
    // The first answer shows that it has a place.
    exchange(&mut peer, &json!({"ask": "lists", "newer_than": 0}))?;
    let ask = json!({"ask": "lists", "newer_than": 1_u64 << 40, "wait": 60}).to_string();
    let length = u32::try_from(ask.len()).unwrap_or(u32::MAX);
    peer.send(&[&length.to_be_bytes(), ask.as_bytes()].concat())?;
    Ok(Box::new(peer))
}
