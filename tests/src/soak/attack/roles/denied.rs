//! A client with a certificate that may run nothing.

use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Count, Kit, Talker};
use crate::Random;
use crate::raw::{Start, frame};
use crate::wait::keep_pace;

/// Frames that are sent before an answer is read.
const AT_ONCE: usize = 64;
/// The longest argument, in bytes.
const LONGEST: usize = (128 << 10) - 1;
/// The time for which an answer is awaited that may never come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Makes connections one after the other.
pub(super) fn dials(kit: &Kit, done: &Count) -> io::Result<()> {
    kit.denied()?.read_until(&["hello"])?;
    done.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Asks whether something would be permitted, many at once.
pub(super) fn asks(kit: &Kit, done: &Count) -> io::Result<()> {
    let mut talker = kit.denied()?;
    loop {
        let ask = |ch| Start::exec(ch, &["true"]).ask();
        talker.ask_many(AT_ONCE, ask, &["verdict", "exit", "refused"], done)?;
    }
}

fn done_with(ch: u64) -> Vec<u8> {
    frame(&json!({"type": "done", "ch": ch}), &[])
}

/// Starts that are denied, many at once.
pub(super) fn starts(kit: &Kit, done: &Count) -> io::Result<()> {
    let mut talker = kit.denied()?;
    loop {
        let start = |ch| [Start::exec(ch, &["true"]).frame(), done_with(ch)].concat();
        talker.ask_many(AT_ONCE, start, &["exit"], done)?;
    }
}

/// Starts that are denied and whose record is as long as it can be.
pub(super) fn large_starts(kit: &Kit, done: &Count) -> io::Result<()> {
    let mut talker = kit.denied()?;
    let word = "\u{1}".repeat(LONGEST);
    loop {
        let start = |ch| [Start::exec(ch, &[&word[..]; 7]).frame(), done_with(ch)].concat();
        talker.ask_many(1, start, &["exit"], done)?;
    }
}

/// Attaches to keys that nobody has.
pub(super) fn unknown_keys(kit: &Kit, done: &Count) -> io::Result<()> {
    let mut talker = kit.denied()?;
    let attach = |ch: u64| {
        let header = json!({
            "type": "attach", "ch": ch, "key": format!("{ch:032x}"), "generation": 1,
            "digest": "0".repeat(64), "stdout": 0, "stderr": 0,
        });
        frame(&header, &[])
    };
    loop {
        talker.ask_many(AT_ONCE, attach, &["refused"], done)?;
    }
}

/// Starts whose payload comes ever slower.
pub(super) fn endless_payloads(kit: &Kit, done: &Count) -> io::Result<()> {
    let mut talker = kit.denied()?;
    let word = "x".repeat(LONGEST);
    let start = Start::exec(talker.channel(), &[&word[..]; 7]);
    let bytes = start.frame();
    let (first, rest) = bytes.split_at(bytes.len() - 4096);
    talker.peer.send(first)?;
    for byte in rest {
        let began = Instant::now();
        talker.peer.send(&[*byte])?;
        done.fetch_add(1, Ordering::Relaxed);
        keep_pace(began, Duration::from_secs(1));
    }
    Ok(())
}

/// Sends pings, many at once.
pub(super) fn pings(kit: &Kit, done: &Count) -> io::Result<()> {
    let mut talker = kit.denied()?;
    for round in 1_u64.. {
        let pings = (0..AT_ONCE as u64).map(|n| round * 1000 + n);
        let pings: Vec<_> =
            pings.map(|number| frame(&json!({"type": "ping", "number": number}), &[])).collect();
        talker.peer.send(&pings.concat())?;
        let last = round * 1000 + AT_ONCE as u64 - 1;
        while talker.read_until(&["pong"])?["number"] != last {}
        done.fetch_add(AT_ONCE as u64, Ordering::Relaxed);
    }
    Ok(())
}

/// Sends a greeting, and then what is no frame.
pub(super) fn nonsense(kit: &Kit, done: &Count) -> io::Result<()> {
    let mut talker = kit.denied()?;
    let bytes = Random::new(done.load(Ordering::Relaxed)).take_bytes(4096);
    talker.peer.send(&bytes)?;
    done.fetch_add(1, Ordering::Relaxed);
    talker.read_until(&[])?;
    Ok(())
}

/// Asks about programs and folders that a local user has put in the way.
pub(super) fn hostile_paths(kit: &Kit, done: &Count) -> io::Result<()> {
    let Some(local) = &kit.local else { return Ok(()) };
    let word = |path: &Path| path.to_string_lossy().into_owned();
    for path in &local.programs {
        let mut talker = kit.denied()?;
        talker.peer.socket().set_read_timeout(Some(PATIENCE))?;
        ask_once(&mut talker, |ch| Start::exec(ch, &[&word(path)]), done);
    }
    for folder in &local.folders {
        let mut talker = kit.denied()?;
        talker.peer.socket().set_read_timeout(Some(PATIENCE))?;
        ask_once(&mut talker, |ch| Start::exec(ch, &["true"]).cwd(&word(folder)), done);
    }
    Ok(())
}

/// Asks, and goes when no answer comes.
fn ask_once(talker: &mut Talker, start: impl Fn(u64) -> Start, done: &Count) {
    let answers = ["verdict", "exit", "refused"];
    let _ = talker.ask_many(1, |ch| start(ch).ask(), &answers, done);
}
