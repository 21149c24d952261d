//! Files that are replaced by newer versions, of which only the differences cross.

use std::{
    fs::{self, File},
    os::unix::{
        fs::{FileExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    path::Path,
};

use rcmd_transfer::{Summary, Transfer, TransferError, TransferOptions};

use crate::ends::{Cut, Ended, Events, inside, named, run, scripted, scripted_receiver, source};
use crate::script::{begin, copy, data, end, file, hello, known, message, need};
use crate::tree::{Dice, describe, holes, partials, set_time};

const MIB: usize = 1 << 20;

fn delta() -> TransferOptions {
    TransferOptions { delta: true, ..crate::ends::tree_options() }
}

fn send(options: &TransferOptions, from: &Path, to: &Path) -> Ended {
    let sender = Transfer::with_options(options.clone());
    let receiver = Transfer::with_peers_options().telling_chunks();
    run(sender, receiver, vec![source(from)], named(to), |stream| stream)
}

/// Lets a receiver hear a script, into a folder. Returns how it ended, its events, and what it said behind its hello.
fn hear(
    place: &Path,
    transfer: Transfer,
    messages: &[Vec<u8>],
) -> (Result<Summary, TransferError>, Vec<String>, Vec<u8>) {
    let (near, far) = UnixStream::pair().unwrap();
    let sender = scripted(far, [hello(1), messages.concat()].concat());
    let reader = near.try_clone().unwrap();
    let mut events = Events::default();
    let ended = transfer.receive(reader, near, inside(place), &mut events);
    let heard = sender.join().unwrap();
    let length = u32::from_be_bytes(heard[..4].try_into().unwrap()) as usize;
    (ended, events.lines, heard[4 + length..].to_vec())
}

fn assert_same(from: &Path, to: &Path) {
    assert!(fs::read(from).unwrap() == fs::read(to).unwrap(), "{}", to.display());
    assert!(partials(to.parent().unwrap()).is_empty());
}

#[test]
fn what_was_inserted_and_what_was_changed_crosses_and_nothing_else() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("f"), place.path().join("g"));
    let old = Dice::new(1).bytes(16 * MIB);
    fs::write(&to, &old).unwrap();
    let mut new = [&old[..5 * MIB], b"inserted", &old[5 * MIB..]].concat();
    new[11 * MIB] ^= 1;
    new.extend_from_slice(b"appended");
    fs::write(&from, &new).unwrap();
    crate::tree::set_mode(&to, 0o640);
    let ended = send(&TransferOptions { preserve: false, ..delta() }, &from, &to);
    let summary = ended.summary();
    assert_same(&from, &to);
    assert!(summary.crossed < 200_000, "{} bytes crossed", summary.crossed);
    assert_eq!((summary.counts.sent, summary.counts.bytes), (1, new.len() as u64));
    // Who watches sees all of the content.
    assert_eq!((ended.sent.passed, ended.received.passed), (new.len() as u64, new.len() as u64));
    assert_eq!((ended.sent.crossed, ended.received.crossed), (summary.crossed, summary.crossed));
    assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn whatever_was_done_to_a_file_the_new_one_arrives() {
    for seed in 0..10 {
        let place = tempfile::tempdir().unwrap();
        let (from, to) = (place.path().join("f"), place.path().join("g"));
        let mut dice = Dice::new(seed);
        let mut content = dice.bytes(2 * MIB);
        fs::write(&to, &content).unwrap();
        for _ in 0..dice.roll(20) {
            let at = dice.roll(content.len() as u64) as usize;
            let length = dice.roll(60_000) as usize;
            match dice.roll(4) {
                0 => drop(content.drain(at..(at + length).min(content.len()))),
                1 => drop(content.splice(at..at, dice.bytes(length))),
                2 => content.truncate(at.max(300_000)),
                _ => content.rotate_left(at),
            }
            content.resize(content.len().max(300_000), 7);
        }
        fs::write(&from, &content).unwrap();
        set_time(&from, 1_600_000_000, 5);
        let options = TransferOptions { compress: seed % 2 == 0, ..delta() };
        send(&options, &from, &to).summary();
        assert_same(&from, &to);
    }
}

#[test]
fn holes_stay_holes_and_what_is_behind_them_is_found() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("f"), place.path().join("g"));
    let content = Dice::new(2).bytes(2 * MIB);
    for (path, at) in [(&to, 8 * MIB), (&from, 24 * MIB)] {
        let file = File::create(path).unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(&content, at as u64).unwrap();
        file.write_all_at(&content[..MIB], 0).unwrap();
    }
    set_time(&from, 1_600_000_000, 0);
    let summary = send(&delta(), &from, &to).summary();
    assert_same(&from, &to);
    assert!(summary.crossed < 200_000, "{} bytes crossed", summary.crossed);
    assert_eq!(holes(&from), holes(&to));
}

#[test]
fn a_transfer_that_is_cut_goes_on_with_what_came_and_what_was_there() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("f"), place.path().join("d/g"));
    fs::create_dir(place.path().join("d")).unwrap();
    let mut dice = Dice::new(3);
    let (known, other) = (dice.bytes(6 * MIB), dice.bytes(6 * MIB));
    fs::write(&to, &known).unwrap();
    fs::write(&from, [&other[..], &known].concat()).unwrap();
    let sender = Transfer::with_options(delta());
    let receiver = Transfer::with_peers_options().telling_chunks();
    let cut = |inner| Cut { inner, left: 5 * MIB };
    let ended = run(sender, receiver, vec![source(&from)], named(&to), cut);
    assert!(ended.sender.is_err() && ended.receiver.is_err());
    assert!(fs::read(&to).unwrap() == known);
    let summary = send(&delta(), &from, &to).summary();
    assert_same(&from, &to);
    // The mebibytes of the first try are there, and the second half is copied.
    assert!(summary.crossed < 3 * MIB as u64, "{} bytes crossed", summary.crossed);
}

#[test]
fn many_large_files_are_told_of_a_few_at_a_time() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("from"), place.path().join("to"));
    fs::create_dir(&from).unwrap();
    fs::create_dir(&to).unwrap();
    let mut dice = Dice::new(4);
    for number in 0..12 {
        let content = dice.bytes(MIB);
        fs::write(to.join(format!("{number}")), &content).unwrap();
        let new = [b"new", &content[..]].concat();
        fs::write(from.join(format!("{number}")), new).unwrap();
        // Some are too small, and some are new.
        fs::write(from.join(format!("{number}-small")), b"small").unwrap();
        fs::write(from.join(format!("{number}-new")), dice.bytes(300_000)).unwrap();
    }
    let sender = Transfer::with_options(delta());
    let receiver = Transfer::with_peers_options().telling_chunks().chunks_at_once(600);
    let ended = run(sender, receiver, vec![source(&from)], named(&to), |stream| stream);
    let summary = ended.summary();
    assert_eq!((summary.counts.sent, summary.counts.failed), (36, 0));
    assert_eq!(describe(&to), describe(&from));
    let new = 12 * 300_000;
    assert!(summary.crossed < new + 12 * 40_000, "{} bytes crossed", summary.crossed);
}

#[test]
fn nothing_is_told_unless_the_caller_and_the_options_say_so() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("g"), vec![b's'; 3 * MIB]).unwrap();
    let asked = [file(b"g", 4 << 20)];
    let in_place = TransferOptions { in_place: true, ..delta() };
    for silent in [
        Transfer::with_options(delta()),
        Transfer::with_options(crate::ends::tree_options()).telling_chunks(),
        Transfer::with_options(in_place).telling_chunks(),
    ] {
        assert_eq!(hear(place.path(), silent, &asked).2, need(0));
    }
    // Nor of a small file, one for a small file, and one that is much larger than the new one.
    let telling = || Transfer::with_options(delta()).telling_chunks();
    assert_eq!(hear(place.path(), telling(), &[file(b"g", 200_000)]).2, need(0));
    fs::write(place.path().join("h"), vec![b's'; 60_000]).unwrap();
    assert_eq!(hear(place.path(), telling(), &[file(b"h", 4 << 20)]).2, need(0));
    fs::write(place.path().join("i"), vec![b's'; 5 * MIB]).unwrap();
    assert_eq!(hear(place.path(), telling(), &[file(b"i", 300_000)]).2, need(0));
    assert_eq!(hear(place.path(), telling(), &asked).2[4], 48);
}

#[test]
fn a_receiver_says_what_the_document_says() {
    let place = tempfile::tempdir().unwrap();
    // Zeros have no place to be cut at, so that each chunk is as long as it may be.
    fs::write(place.path().join("g"), vec![0; 3 * 32_768 + 5]).unwrap();
    let telling = Transfer::with_options(delta()).telling_chunks();
    let (_, _, heard) = hear(place.path(), telling, &[file(b"g", 300_000)]);
    let mut chunks = Vec::new();
    for length in [32_768, 32_768, 32_768, 5] {
        chunks.extend_from_slice(&u32::to_be_bytes(length));
        chunks.extend_from_slice(&blake3::hash(&vec![0; length as usize]).as_bytes()[..16]);
    }
    let numbers = [&[0; 8][..], &8_192_u32.to_be_bytes(), &[0; 8]].concat();
    assert_eq!(heard, [message(48, &[&numbers, &chunks]), need(0)].concat());
}

#[test]
fn only_what_was_told_of_is_copied_and_the_whole_is_checked() {
    let place = tempfile::tempdir().unwrap();
    let old = Dice::new(5).bytes(MIB);
    let path = place.path().join("g");
    fs::write(&path, &old).unwrap();
    let telling = || Transfer::with_options(delta()).telling_chunks();
    let size = old.len() as u64;
    let hear_at = |transfer: Transfer, messages: &[Vec<u8>]| {
        set_time(&path, 1_500_000_000, 0);
        hear(place.path(), transfer, messages)
    };
    let whole = [file(b"g", size), begin(0, 0, size), copy(0, size)];
    let right = [&whole[..], &[end(blake3::hash(&old).as_bytes())]].concat();
    assert_eq!(hear_at(telling(), &right).1, ["Replaced g"]);
    assert!(fs::read(&path).unwrap() == old);
    let wrong = [&whole[..], &[end(blake3::hash(b"other").as_bytes())]].concat();
    assert_eq!(hear_at(telling(), &wrong).1, ["Failed g corrupt"]);
    // A range behind its end, as if it had become shorter.
    let behind = [file(b"g", size), begin(0, 0, size), copy(size - 5, 10)];
    assert_eq!(hear_at(telling(), &behind).1, ["Failed g changed"]);
    let lies: [(Transfer, &[Vec<u8>]); 8] = [
        // It was told of nothing: not asked for, not there, not permitted.
        (Transfer::with_options(crate::ends::tree_options()).telling_chunks(), &whole),
        (telling(), &[file(b"n", size), begin(0, 0, size), copy(0, size)]),
        (Transfer::with_options(delta()), &whole),
        (telling(), &[file(b"g", size), begin(0, 0, size), copy(0, 0)]),
        (telling(), &[file(b"g", size), begin(0, 0, size), copy(0, size + 1)]),
        (telling(), &[file(b"g", size), begin(0, 0, size), copy(0, (64 << 20) + 1)]),
        (telling(), &[file(b"g", size), begin(0, 0, size), copy(u64::MAX, 1)]),
        (telling(), &[file(b"g", size), copy(0, size)]),
    ];
    for (transfer, lie) in lies {
        let (ended, _, _) = hear_at(transfer, lie);
        assert!(matches!(ended, Err(TransferError::Protocol(_))), "{ended:?}");
        assert!(fs::read(&path).unwrap() == old);
    }
    assert!(!place.path().join("n").exists());
}

#[test]
fn a_file_that_was_exchanged_meanwhile_is_not_copied_from() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("g");
    let old = Dice::new(6).bytes(MIB);
    fs::write(&path, &old).unwrap();
    // The first content puts another file in its place.
    let size = old.len() as u64;
    let messages = [
        file(b"g", size),
        file(b"g", size),
        begin(1, 0, size),
        data(&vec![b'x'; 256 << 10]),
        data(&vec![b'x'; 256 << 10]),
        data(&vec![b'x'; 256 << 10]),
        data(&vec![b'x'; 256 << 10]),
        end(blake3::hash(&vec![b'x'; MIB]).as_bytes()),
        begin(0, 0, size),
        copy(0, size),
    ];
    let telling = Transfer::with_options(delta()).telling_chunks();
    let (_, events, _) = hear(place.path(), telling, &messages);
    assert_eq!(events, ["Replaced g", "Failed g changed"]);
    assert!(fs::read(&path).unwrap() == vec![b'x'; MIB]);
}

#[test]
fn a_receiver_that_lies_of_what_it_has_is_found_out() {
    let place = tempfile::tempdir().unwrap();
    let from = place.path().join("f");
    fs::write(&from, vec![b'x'; 300_000]).unwrap();
    let honest = || known(0, 8_192, 0, 10);
    let lies: [(TransferOptions, Vec<u8>); 10] = [
        (crate::ends::tree_options(), honest()),
        (delta(), known(1, 8_192, 0, 10)),
        (delta(), [need(0), honest()].concat()),
        (delta(), known(0, 8_192, 0, 0)),
        (delta(), known(0, 8_192, 0, 8_193)),
        (delta(), known(0, 0, 0, 10)),
        (delta(), known(0, 8_193, 0, 10)),
        (delta(), known(0, 2 << 20, 0, 10)),
        (delta(), [honest(), known(0, 16_384, 0, 10)].concat()),
        (delta(), known(0, 8_192, u64::MAX - 8_192, 10)),
    ];
    for (options, lie) in lies {
        let (near, far) = UnixStream::pair().unwrap();
        let receiver = scripted_receiver(far, hello(2), vec![(4, lie)]);
        let mut events = Events::default();
        let reader = near.try_clone().unwrap();
        let to_close = near.try_clone().unwrap();
        let sender = Transfer::with_options(options);
        let ended = sender.send(reader, near, vec![source(&from)], &mut events);
        to_close.shutdown(std::net::Shutdown::Both).unwrap();
        assert!(matches!(ended, Err(TransferError::Protocol(_))), "{ended:?}");
        receiver.join().unwrap();
    }
}

#[test]
fn digests_without_end_are_not_kept() {
    let place = tempfile::tempdir().unwrap();
    let from = place.path().join("f");
    fs::write(&from, vec![b'x'; 300_000]).unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    let endless: Vec<_> = (0..200).map(|_| known(0, 8_192, 0, 8_192)).collect();
    let receiver = scripted_receiver(far, hello(2), vec![(4, endless.concat())]);
    let reader = near.try_clone().unwrap();
    let to_close = near.try_clone().unwrap();
    let sender = Transfer::with_options(delta());
    let ended = sender.send(reader, near, vec![source(&from)], &mut Events::default());
    to_close.shutdown(std::net::Shutdown::Both).unwrap();
    let says = ended.unwrap_err().to_string();
    assert!(says.contains("more chunks than may wait"), "{says}");
    receiver.join().unwrap();
}
