//! The deeds of a peer without a certificate, towards a server and the authority.

use std::io::{self, Read as _, Write as _};
use std::time::Duration;

use serde_json::json;
use socket2::SockRef;

use super::ground::{Ground, Held, Side, drain, drained};
use super::members::exchange;
use super::{Count, Done};
use crate::Random;
use crate::raw::Wire;

/// Connections of one turn.
const CONNECTIONS: u64 = 4;
/// Asks that one connection to the authority may make.
const ASKS: u64 = 8;

fn each(count: &Count, mut act: impl FnMut() -> io::Result<Wire>) -> io::Result<Done> {
    let mut done = Done::default();
    for _ in 0..CONNECTIONS {
        done.add(1, act()?);
        count.add(1);
    }
    Ok(done)
}

/// Opens a connection, sends these bytes, and reads the answer.
fn say(ground: &Ground, side: Side, bytes: &[u8]) -> io::Result<Wire> {
    let mut stream = ground.unknown(side)?;
    stream.write_all(bytes)?;
    let received = drain(&stream);
    // No port in use is left behind.
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    Ok(Wire { sent: bytes.len() as u64, received })
}

pub(super) fn silence(ground: &Ground, side: Side, count: &Count) -> io::Result<Done> {
    each(count, || {
        let stream = ground.unknown(side)?;
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        Ok(Wire::default())
    })
}

pub(super) fn hold_silence(ground: &Ground, side: Side) -> io::Result<Held> {
    Ok(Box::new(ground.unknown(side)?))
}

pub(super) fn garbage(ground: &Ground, side: Side, count: &Count) -> io::Result<Done> {
    let bytes = Random::new(ground.number()).take_bytes(300);
    each(count, || say(ground, side, &bytes))
}

pub(super) fn half(ground: &Ground, side: Side, count: &Count) -> io::Result<Done> {
    let first = ground.first_message(side)?;
    each(count, || {
        let mut stream = ground.unknown(side)?;
        stream.write_all(&first)?;
        // The server's part comes at once, and then it waits.
        let received = stream.read(&mut [0; 64 * 1024])? as u64;
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        Ok(Wire { sent: first.len() as u64, received })
    })
}

pub(super) fn hold_half(ground: &Ground, side: Side) -> io::Result<Held> {
    let mut stream = ground.unknown(side)?;
    stream.write_all(&ground.first_message(side)?)?;
    Ok(Box::new(stream))
}

pub(super) fn no_certificate(ground: &Ground, side: Side, count: &Count) -> io::Result<Done> {
    each(count, || {
        let mut peer = ground.stranger(side)?;
        // Where nothing is refused yet there is nothing to wait for.
        let _ = peer.close();
        drained(peer)
    })
}

/// Asks to renew as often as one connection may; each ask is refused.
pub(super) fn asks(ground: &Ground, side: Side, count: &Count) -> io::Result<Done> {
    let mut peer = ground.stranger(side)?;
    let before = peer.wire();
    let mut done = Done::default();
    for _ in 0..ASKS {
        exchange(&mut peer, &json!({"ask": "renew", "time": 0}))?;
        count.add(1);
    }
    done.add(ASKS, peer.wire() - before);
    Ok(done)
}
