//! A client that may run everything, and wants others to have nothing.

use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Count, Kit};
use crate::raw::{Start, frame};
use crate::wait::keep_pace;

/// Commands that are asked for at once.
const AT_ONCE: usize = 16;
/// The time for which the commands are left alone before their client is gone.
const WHILE: Duration = Duration::from_secs(2);

fn done_with(ch: u64) -> Vec<u8> {
    frame(&json!({"type": "done", "ch": ch}), &[])
}

/// Starts commands whose keys are written down for a week.
pub(super) fn kept_keys(kit: &Kit, done: &Count) -> io::Result<()> {
    let mut talker = kit.permitted()?;
    loop {
        let start = |ch| [Start::exec(ch, &["true"]).keep().frame(), done_with(ch)].concat();
        talker.ask_many(AT_ONCE, start, &["exit"], done)?;
    }
}

/// Sends large requests that wait for a lock which one of them holds.
pub(super) fn waits_for_a_lock(kit: &Kit, done: &Count) -> io::Result<()> {
    let mut talker = kit.permitted()?;
    let word = "x".repeat(100_000);
    for _ in 0..AT_ONCE {
        let words = ["sh", "-c", "sleep 5", &word, &word, &word, &word, &word, &word, &word];
        let start = Start::exec(talker.channel(), &words).lock("attacked", 3_600_000);
        talker.peer.send(&start.frame())?;
        done.fetch_add(1, Ordering::Relaxed);
    }
    keep_pace(Instant::now(), WHILE);
    Ok(())
}

/// Starts a command whose client goes at once.
pub(super) fn abandoned(kit: &Kit, done: &Count) -> io::Result<()> {
    let mut talker = kit.permitted()?;
    let start = Start::exec(talker.channel(), &["cat"]).stdin();
    talker.peer.send(&start.frame())?;
    talker.read_until(&["started", "exit"])?;
    done.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Starts commands with endless output that nobody reads.
pub(super) fn readers_of_nothing(kit: &Kit, done: &Count) -> io::Result<()> {
    let mut talker = kit.permitted()?;
    for _ in 0..AT_ONCE {
        let start = Start::exec(talker.channel(), &["cat", "/dev/zero"]);
        talker.peer.send(&start.frame())?;
        done.fetch_add(1, Ordering::Relaxed);
    }
    keep_pace(Instant::now(), WHILE);
    Ok(())
}

/// Calls commands off as soon as they were asked for.
pub(super) fn called_off(kit: &Kit, done: &Count) -> io::Result<()> {
    let mut talker = kit.permitted()?;
    loop {
        let both = |ch| {
            let cancel = frame(&json!({"type": "cancel", "ch": ch}), &[]);
            [Start::exec(ch, &["sleep", "600"]).frame(), cancel, done_with(ch)].concat()
        };
        talker.ask_many(AT_ONCE, both, &["exit"], done)?;
    }
}

/// Starts trees that hear no signal and leave their session.
pub(super) fn stubborn_trees(kit: &Kit, done: &Count) -> io::Result<()> {
    let mut talker = kit.permitted()?;
    let line = "trap '' TERM HUP INT; setsid sleep 600 & (setsid sleep 600 &) ; sleep 600";
    let start = Start::exec(talker.channel(), &["sh", "-c", line]);
    talker.peer.send(&start.frame())?;
    talker.read_until(&["started", "exit"])?;
    done.fetch_add(1, Ordering::Relaxed);
    keep_pace(Instant::now(), WHILE);
    Ok(())
}

/// Starts commands in a folder that nobody can enter, nor be called back from.
pub(super) fn stuck_folders(kit: &Kit, done: &Count) -> io::Result<()> {
    let Some(local) = &kit.local else { return Ok(()) };
    let mut talker = kit.permitted()?;
    let folder = local.stuck.to_string_lossy();
    for user in [None, Some("nobody")] {
        let start = Start::exec(talker.channel(), &["true"]).cwd(&folder);
        let start = user.into_iter().fold(start, Start::user);
        talker.peer.send(&start.frame())?;
        done.fetch_add(1, Ordering::Relaxed);
    }
    keep_pace(Instant::now(), WHILE);
    Ok(())
}
