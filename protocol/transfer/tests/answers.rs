//! A receiver that says very much to a sender that is busy: what waits is bounded.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "tests may wait")]
// A panic is how a test fails; clippy exempts test functions, not those beside them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[path = "support/ends.rs"]
#[allow(dead_code, unreachable_pub, missing_docs)] // Each test program uses a part of it.
mod ends;
#[path = "support/script.rs"]
#[allow(dead_code, unreachable_pub, missing_docs)] // Each test program uses a part of it.
mod script;

use std::{
    fs,
    io::{self, Read, Write},
    sync::mpsc::{Receiver, Sender, channel},
};

use ends::{Events, source, tree_options};
use rcmd_transfer::{Summary, Transfer, TransferError};
use script::{hello, message, resume};

const MIB: u64 = 1 << 20;

/// Says a hello and, once the entries were announced, what a script has, as fast as it is read. Tells when nothing more
/// is read of it, and how many bytes were.
struct Flood<S> {
    now: Vec<u8>,
    at: usize,
    script: S,
    go: Option<Receiver<()>>,
    read: u64,
    over: Sender<u64>,
}

impl<S: Iterator<Item = Vec<u8>>> Read for Flood<S> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.at == self.now.len() {
            self.go.take().iter().for_each(|go| go.recv().unwrap());
            (self.now, self.at) = (self.script.next().unwrap_or_default(), 0);
        }
        let count = room.len().min(self.now.len() - self.at);
        room[..count].copy_from_slice(&self.now[self.at..self.at + count]);
        self.at += count;
        self.read += count as u64;
        Ok(count)
    }
}

impl<S> Drop for Flood<S> {
    fn drop(&mut self) {
        // The test may be over.
        let _ = self.over.send(self.read);
    }
}

/// Takes so many bytes, and more only once the flood is over.
struct Stuck {
    left: usize,
    go: Sender<()>,
    over: Receiver<u64>,
    read: Option<u64>,
}

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > 1_000 {
            // All entries were announced; the flood may have begun before.
            let _ = self.go.send(());
        }
        if bytes.len() > self.left && self.read.is_none() {
            self.read = Some(self.over.recv().unwrap());
        }
        self.left = self.left.saturating_sub(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends 200 files to a flood, and returns how that ended and how many bytes were read of it.
fn send_to(
    takes: usize,
    script: impl Iterator<Item = Vec<u8>> + Send + 'static,
) -> (Result<Summary, TransferError>, u64) {
    let place = tempfile::tempdir().unwrap();
    let from = place.path().join("s");
    fs::create_dir(&from).unwrap();
    for number in 0..200 {
        fs::write(from.join(format!("{number:03}")), vec![b'x'; 300_000]).unwrap();
    }
    let ((over, is_over), (go, told)) = (channel(), channel());
    let flood = Flood { now: hello(2), at: 0, script, go: Some(told), read: 0, over };
    let mut stuck = Stuck { left: takes, go, over: is_over, read: None };
    let mut events = Events::default();
    let transfer = Transfer::with_options(tree_options());
    let ended = transfer.send(flood, &mut stuck, vec![source(&from)], &mut events);
    (ended, stuck.read.unwrap_or_default())
}

#[test]
fn events_that_nobody_takes_are_held_only_up_to_a_limit() {
    let path = vec![b'p'; 380_000];
    let length = u32::try_from(path.len()).unwrap().to_be_bytes();
    let event = message(35, &[&[1, 4, 0], &length, &path]);
    // It stands still before its announcements are gone.
    let (ended, read) = send_to(100, std::iter::repeat_n(event, 400));
    assert!(matches!(ended, Err(TransferError::Protocol(_))), "{ended:?}");
    assert!((8 * MIB..20 * MIB).contains(&read), "{read}");
}

#[test]
fn digests_of_parts_are_held_only_for_as_many_as_may_be_offered() {
    let part = |index| resume(index, 1_024 * MIB, MIB, 1_024);
    for (parts, is_too_many) in [(128, false), (200, true)] {
        let (ended, _) = send_to(60_000, (1..=parts).map(part));
        let error = ended.unwrap_err();
        assert_eq!(error.to_string().contains("more parts"), is_too_many, "{error}");
        assert_eq!(matches!(error, TransferError::Lost(_)), !is_too_many, "{error:?}");
    }
}
