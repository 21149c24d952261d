//! What a receiver tells of content that it has: never so little that it could be guessed.
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
    os::{fd::BorrowedFd, unix::net::UnixStream},
    path::Path,
};

use ends::{Events, inside, scripted, tree_options};
use rcmd_transfer::{Observer, Transfer, TransferError, TransferOptions};
use script::{begin, file, hello, message, need};

const MIB: u64 = 1 << 20;

/// A receiver that writes in place.
fn in_place() -> Transfer {
    Transfer::with_options(TransferOptions { in_place: true, ..tree_options() })
}

/// Lets a receiver hear a script, and returns how it ended and what it said behind its hello.
fn hear(place: &Path, transfer: Transfer, messages: &[Vec<u8>]) -> (TransferError, Vec<u8>) {
    let (near, far) = UnixStream::pair().unwrap();
    let sender = scripted(far, [hello(1), messages.concat()].concat());
    let reader = near.try_clone().unwrap();
    let mut events = Events::default();
    let ended = transfer.receive(reader, near, inside(place), &mut events).unwrap_err();
    let heard = sender.join().unwrap();
    let length = u32::from_be_bytes(heard[..4].try_into().unwrap()) as usize;
    (ended, heard[4 + length..].to_vec())
}

#[test]
fn the_sender_learns_nothing_of_a_file_in_place_that_it_may_not_read() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("g"), vec![b's'; 3 << 20]).unwrap();
    let (_, heard) = hear(place.path(), in_place(), &[file(b"g", 4 * MIB)]);
    assert_eq!(heard, need(0));
}

#[test]
fn only_whole_ranges_are_told_of_whatever_size_the_sender_says() {
    let place = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..5 * MIB / 2).map(|at| (at % 251) as u8).collect();
    fs::write(place.path().join("g"), &content).unwrap();
    for size in [1, 2, 300_000, MIB - 1] {
        let (_, heard) = hear(place.path(), in_place().offering_in_place(), &[file(b"g", size)]);
        assert_eq!(heard, need(0), "{size}");
    }
    for size in [2 * MIB + 1, 9 * MIB] {
        let (_, heard) = hear(place.path(), in_place().offering_in_place(), &[file(b"g", size)]);
        let numbers = [0, 2 * MIB, MIB].map(u64::to_be_bytes).concat();
        let ranges = content.chunks(1 << 20).take(2).map(blake3::hash);
        let digests: Vec<_> = ranges.flat_map(|digest| *digest.as_bytes()).collect();
        assert_eq!(heard, message(33, &[&numbers, &digests]), "{size}");
    }
}

#[test]
fn a_content_begins_only_where_a_range_ends() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("g");
    fs::write(&path, vec![b's'; 3 << 20]).unwrap();
    // Cut there, the file would say by the next digest whether its beginning was guessed.
    for offset in [1, MIB - 1, MIB + 1, 2 * MIB + 5] {
        let messages = [file(b"g", 3 * MIB), begin(0, offset, offset)];
        let (ended, _) = hear(place.path(), in_place().offering_in_place(), &messages);
        assert!(matches!(ended, TransferError::Protocol(_)), "{offset}: {ended:?}");
        assert_eq!(fs::metadata(&path).unwrap().len(), 3 * MIB);
    }
}

/// Lets files be read up to a size.
struct Reads(u64);

impl Observer for Reads {
    fn may_read(&mut self, path: &[u8], file: BorrowedFd<'_>, size: u64) -> bool {
        assert_eq!((path, size), (&b"g"[..], 3 * MIB));
        assert_eq!(rustix::fs::fstat(file).unwrap().st_size, i64::try_from(size).unwrap());
        size <= self.0
    }
}

#[test]
fn nothing_is_told_of_a_file_in_place_that_the_caller_does_not_let_be_read() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("g"), vec![b's'; 3 << 20]).unwrap();
    for (largest, kind) in [(3 * MIB - 1, 32), (3 * MIB, 33)] {
        let (near, far) = UnixStream::pair().unwrap();
        let sender = scripted(far, [hello(1), file(b"g", 4 * MIB)].concat());
        let reader = near.try_clone().unwrap();
        let transfer = in_place().offering_in_place();
        transfer.receive(reader, near, inside(place.path()), &mut Reads(largest)).unwrap_err();
        let heard = sender.join().unwrap();
        let length = u32::from_be_bytes(heard[..4].try_into().unwrap()) as usize;
        assert_eq!(heard[4 + length + 4], kind, "{largest}");
    }
}
