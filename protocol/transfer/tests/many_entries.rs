//! A sender that announces entries without end: what is held of them is bounded. It has this program for itself, since
//! what all of its threads hold is measured.
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
    io::{self, Read},
};

use ends::{inside, tree_options};
use rcmd_transfer::{NoObserver, Transfer, TransferError};
use script::{file, folder, hello, leave, link};

/// Says one entry after the other, so many.
struct Endless {
    now: Vec<u8>,
    at: usize,
    next: u64,
    count: u64,
}

impl Read for Endless {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.at == self.now.len() && self.next < self.count {
            // The same names again and again, and some that are refused.
            self.now = match self.next % 8 {
                0 => link(b"link", if self.next.is_multiple_of(16) { b"a" } else { b"b" }),
                1 => folder(b"folder"),
                2 => leave(),
                3 => [folder(b"../folder"), file(b"below", 1), leave()].concat(),
                _ => file(format!("../{}", self.next).as_bytes(), 1),
            };
            (self.at, self.next) = (0, self.next + 1);
        }
        let count = room.len().min(self.now.len() - self.at);
        room[..count].copy_from_slice(&self.now[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// Returns the most memory that this process has had so far, in KiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn entries_without_end_take_no_more_memory_than_a_few() {
    let set = std::env::var("RCMD_TRANSFER_ENTRIES");
    let count = set.map_or(200_000, |count| count.parse().expect("a number of entries"));
    let place = tempfile::tempdir().unwrap();
    let hear = |count| {
        let sender = Endless { now: hello(1), at: 0, next: 0, count };
        let transfer = Transfer::with_options(tree_options());
        let ended = transfer.receive(sender, io::sink(), inside(place.path()), &mut NoObserver);
        assert!(matches!(ended, Err(TransferError::Lost(_))), "{ended:?}");
    };
    hear(2_000);
    let before = peak();
    hear(count);
    let grown = peak() - before;
    assert!(grown < 8 * 1_024, "{grown} KiB for {count} entries");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
}
