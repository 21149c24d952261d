//! What a receiver tells of content that it has: never so little that it could be guessed.

use std::{
    fs::{self, File},
    io::Read as _,
    mem::MaybeUninit,
    os::{
        fd::BorrowedFd,
        unix::{fs::PermissionsExt as _, net::UnixStream},
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rcmd_transfer::{Cancel, Observer, Transfer, TransferError, TransferOptions};
use rustix::fs::inotify;

use crate::ends::{Events, inside, scripted, tree_options};
use crate::script::{begin, bytes16, file, hello, message, need};

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

/// Makes a part of the file `g`, which is a hole.
fn make_part(place: &Path, size: u64) -> PathBuf {
    let digits = blake3::hash(b"g").to_hex();
    let part = place.join(format!(".rcmd-part-{}-0123456789abcdef", &digits[..16]));
    File::create(&part).unwrap().set_len(size).unwrap();
    fs::set_permissions(&part, fs::Permissions::from_mode(0o600)).unwrap();
    part
}

#[test]
fn a_part_that_is_taken_up_goes_when_its_file_fails_before_its_content_begins() {
    let abandoned = |kind| message(13, &[&[0; 8], &[0, kind], &[0; 2]]);
    let enormous = 1 << 60;
    for (what, said, stays) in [
        ("denied", vec![abandoned(9)], false),
        ("vanished", vec![abandoned(11)], false),
        ("too large for the disk", vec![begin(0, 0, enormous)], false),
        ("the stream is lost", vec![], true),
    ] {
        let place = tempfile::tempdir().unwrap();
        let part = make_part(place.path(), 3 << 20);
        let transfer = Transfer::with_options(tree_options());
        let messages = [vec![file(b"g", 4 * MIB)], said].concat();
        let (_, heard) = hear(place.path(), transfer, &messages);
        // It was taken up.
        assert_eq!(heard[4], 33, "{what}");
        assert_eq!(part.exists(), stays, "{what}");
    }
}

#[test]
fn a_folder_is_listed_once_for_all_large_files_that_come_into_it() {
    let place = tempfile::tempdir().unwrap();
    let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
    let watch = inotify::init(flags).unwrap();
    // Openings in a row would be one event.
    let watched = inotify::WatchFlags::OPEN | inotify::WatchFlags::CLOSE_NOWRITE;
    inotify::add_watch(&watch, place.path(), watched).unwrap();
    let messages: Vec<_> =
        (0..30).map(|number| file(format!("{number}").as_bytes(), MIB)).collect();
    hear(place.path(), Transfer::with_options(tree_options()), &messages);
    let mut room = [MaybeUninit::uninit(); 4_096];
    let mut events = inotify::Reader::new(watch, &mut room);
    let mut opened = 0;
    while let Ok(event) = events.next() {
        opened += usize::from(event.events().contains(inotify::ReadFlags::OPEN));
    }
    // By the caller, and to be listed; two in a row are one event.
    assert!(opened <= 2, "{opened}");
}

#[test]
fn a_receiver_that_is_cancelled_reads_no_more_of_what_is_there() {
    // To read all of it takes half a minute at the least.
    let size: u64 = 64 << 30;
    let (mode, numbers) = (0o644_u32.to_be_bytes(), size.to_be_bytes());
    let compared = message(4, &[&mode, &[0; 12], &numbers, &[0, 1], &[0; 32], &bytes16(b"g")]);
    for (announced, is_compared) in [(compared, true), (file(b"g", size + 1), false)] {
        let place = tempfile::tempdir().unwrap();
        let mut path = make_part(place.path(), size);
        if is_compared {
            let file = place.path().join("g");
            fs::rename(&path, &file).unwrap();
            path = file;
        }
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&watch, &path, inotify::WatchFlags::OPEN).unwrap();
        let cancel = Cancel::default();
        let before = thread::scope(|scope| {
            scope.spawn(|| {
                assert!(File::from(watch).read(&mut [0; 4_096]).unwrap() > 0);
                cancel.cancel();
            });
            let before = Instant::now();
            let options = TransferOptions { checksum: is_compared, ..tree_options() };
            let transfer = Transfer::with_options(options).cancelled_by(&cancel);
            let (ended, _) = hear(place.path(), transfer, &[announced]);
            assert!(matches!(ended, TransferError::Cancelled), "{ended:?}");
            before
        });
        assert!(before.elapsed() < Duration::from_secs(10), "{:?}", before.elapsed());
    }
}
