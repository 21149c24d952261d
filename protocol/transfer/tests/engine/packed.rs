//! Content that crosses packed.

use std::{fs, os::unix::net::UnixStream, path::Path};

use rcmd_transfer::{Summary, Transfer, TransferError, TransferOptions};

use crate::ends::{Events, inside, named, scripted, source, transfer, tree_options};
use crate::script::{begin, data, end, file, hello, packed};
use crate::tree::{Dice, describe, fill};

fn packing() -> TransferOptions {
    TransferOptions { compress: true, ..tree_options() }
}

/// Lets a receiver hear a script, into a folder.
fn hear(
    place: &Path,
    options: TransferOptions,
    messages: &[Vec<u8>],
) -> (Result<Summary, TransferError>, Vec<String>) {
    let (near, far) = UnixStream::pair().unwrap();
    let sender = scripted(far, [hello(1), messages.concat()].concat());
    let reader = near.try_clone().unwrap();
    let mut events = Events::default();
    let transfer = Transfer::with_options(options);
    let ended = transfer.receive(reader, near, inside(place), &mut events);
    sender.join().unwrap();
    (ended, events.lines)
}

#[test]
fn a_tree_arrives_as_it_is_and_fewer_bytes_cross() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("from"), place.path().join("to"));
    fill(&from, 5);
    let text = "a line of a log, with a number: 17\n".repeat(100_000);
    fs::write(from.join("log"), &text).unwrap();
    let plain = transfer(&tree_options(), vec![source(&from)], named(&place.path().join("p")));
    let ended = transfer(&packing(), vec![source(&from)], named(&to));
    assert_eq!(describe(&to), describe(&from));
    let (seen, plain, small) = (plain.sent.passed, plain.summary(), ended.summary());
    assert_eq!((plain.digest, plain.counts), (small.digest, small.counts));
    assert!(small.crossed + 3_400_000 < plain.crossed, "{} {}", small.crossed, plain.crossed);
    // Who watches sees the content itself.
    assert_eq!((ended.sent.passed, ended.received.passed), (seen, seen));
    assert_eq!((ended.sent.crossed, ended.received.crossed), (small.crossed, small.crossed));
}

#[test]
fn what_gets_no_smaller_crosses_as_it_is() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("f"), place.path().join("g"));
    fs::write(&from, Dice::new(3).bytes(3 << 20)).unwrap();
    let ended = transfer(&packing(), vec![source(&from)], named(&to));
    assert_eq!(ended.summary().crossed, 3 << 20);
    assert!(fs::read(&from).unwrap() == fs::read(&to).unwrap());
}

#[test]
fn a_part_that_is_there_is_gone_on_with() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("f"), place.path().join("g"));
    let text: String = (0..600_000).map(|number| format!("{number}\n")).collect();
    fs::write(&from, &text).unwrap();
    let half = text.len() / 2;
    let options = TransferOptions { compress: true, in_place: true, ..tree_options() };
    fs::write(&to, &text[..half]).unwrap();
    let sender = Transfer::with_options(options);
    let receiver = Transfer::with_peers_options().offering_in_place();
    let ended =
        crate::ends::run(sender, receiver, vec![source(&from)], named(&to), |stream| stream);
    assert!(ended.summary().crossed < half as u64, "{}", ended.summary().crossed);
    assert_eq!(fs::read_to_string(&to).unwrap(), text);
}

#[test]
fn packed_content_is_taken_only_as_announced() {
    let place = tempfile::tempdir().unwrap();
    let zeros = |count: usize| zstd::bulk::compress(&vec![0; count], 3).unwrap();
    let announced = |size: u64| [file(b"a", size), begin(0, 0, size)].concat();
    let lies: [&[Vec<u8>]; 8] = [
        // More than the file, more than it stands for, less than it stands for, more than one message may have.
        &[announced(1_000), packed(1_001, &zeros(1_001))],
        &[announced(1_000), packed(500, &zeros(1_000))],
        &[announced(1_000), packed(1_000, &zeros(500))],
        &[announced(1 << 20), packed(262_145, &zeros(262_145))],
        &[announced(1 << 20), packed(262_144, &zeros(16 << 20))],
        &[announced(1_000), packed(1_000, b"no zstd at all")],
        &[announced(1_000), packed(10, &[7; 10])],
        &[file(b"a", 1_000), packed(1_000, &zeros(1_000))],
    ];
    for lie in lies {
        let (ended, _) = hear(place.path(), packing(), lie);
        assert!(matches!(ended, Err(TransferError::Protocol(_))), "{ended:?}");
        assert!(!place.path().join("a").exists());
    }
    // Who did not ask for it does not take it.
    let honest = [announced(1_000), packed(1_000, &zeros(1_000))];
    let (ended, _) = hear(place.path(), tree_options(), &honest);
    assert!(matches!(ended, Err(TransferError::Protocol(_))), "{ended:?}");
}

#[test]
fn packed_and_plain_pieces_of_one_content_may_alternate() {
    let place = tempfile::tempdir().unwrap();
    let text = b"text ".repeat(1_000);
    let small = zstd::bulk::compress(&text, 3).unwrap();
    let whole = [&text[..], b"plain", &text].concat();
    let length = u32::try_from(text.len()).unwrap();
    let messages = [
        file(b"a", whole.len() as u64),
        begin(0, 0, whole.len() as u64),
        packed(length, &small),
        data(b"plain"),
        packed(length, &small),
        end(blake3::hash(&whole).as_bytes()),
    ];
    let (_, events) = hear(place.path(), packing(), &messages);
    assert_eq!(events, ["Created a"]);
    assert!(fs::read(place.path().join("a")).unwrap() == whole);
}
