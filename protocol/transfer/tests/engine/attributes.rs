//! What a receiver takes of attributes from a sender that says anything, and how names become numbers.

use std::{
    fs,
    os::unix::{fs::MetadataExt as _, net::UnixStream},
    path::Path,
};

use rcmd_transfer::{AccountNames, MetadataOptions, Transfer, TransferError, TransferOptions};

use crate::ends::{Events, inside, scripted, tree_options};
use crate::script::{
    begin, bytes16, data, end, file, folder, hard_link, hello, leave, link, message,
};

/// A holder of a file: a number and a name.
fn holder(number: u32, name: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes()[..], &bytes16(name)].concat()
}

/// An entry of an access list.
fn entry(tag: u8, permissions: u8, number: u32) -> Vec<u8> {
    [&[tag, permissions][..], &number.to_be_bytes(), &bytes16(b"")].concat()
}

fn list(entries: &[Vec<u8>]) -> Vec<u8> {
    [&u16::try_from(entries.len()).unwrap().to_be_bytes()[..], &entries.concat()].concat()
}

/// The attributes of the entry that comes next: owner, access lists, attributes of users.
fn attributes(owner: Option<Vec<u8>>, lists: Option<Vec<u8>>, others: Option<Vec<u8>>) -> Vec<u8> {
    let part = |part: Option<Vec<u8>>| match part {
        Some(part) => [vec![1], part].concat(),
        None => vec![0],
    };
    message(9, &[&part(owner), &part(lists), &part(others)])
}

fn owner(user: (u32, &[u8]), group: (u32, &[u8])) -> Vec<u8> {
    attributes(Some([holder(user.0, user.1), holder(group.0, group.1)].concat()), None, None)
}

fn others(all: &[(&[u8], &[u8])]) -> Vec<u8> {
    let one = |(name, value): &(&[u8], &[u8])| {
        let length = u32::try_from(value.len()).unwrap().to_be_bytes();
        [&bytes16(name)[..], &length, value].concat()
    };
    let count = u16::try_from(all.len()).unwrap().to_be_bytes();
    let all: Vec<_> = all.iter().map(one).collect();
    attributes(None, None, Some([&count[..], &all.concat()].concat()))
}

fn lists(access: &[Vec<u8>], default: &[Vec<u8>]) -> Vec<u8> {
    attributes(None, Some([list(access), list(default)].concat()), None)
}

fn everything() -> MetadataOptions {
    MetadataOptions { owner: true, xattrs: true, acls: true, ..MetadataOptions::default() }
}

/// Lets a receiver hear a script that ends before its time, and returns how it ended and its events.
fn hear(
    place: &Path,
    metadata: MetadataOptions,
    messages: &[Vec<u8>],
) -> (TransferError, Vec<String>) {
    let (near, far) = UnixStream::pair().unwrap();
    let sender = scripted(far, [hello(1), messages.concat()].concat());
    let mut events = Events::default();
    let reader = near.try_clone().unwrap();
    let transfer = Transfer::with_options(TransferOptions { metadata, ..tree_options() });
    let transfer = transfer.account_names(AccountNames::of_this_host());
    let ended = transfer.receive(reader, near, inside(place), &mut events).unwrap_err();
    sender.join().unwrap();
    (ended, events.lines)
}

#[test]
fn owners_are_known_by_name_and_by_number_where_they_have_none_here() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let sent = |name: &[u8], number: u64| {
        let content = [begin(number, 0, 1), data(b"x"), end(blake3::hash(b"x").as_bytes())];
        [file(name, 1), content.concat()].concat()
    };
    let messages = [
        owner((70_000, b"root"), (70_001, b"root")),
        sent(b"by_name", 0),
        owner((70_000, b"nobody-of-that-name"), (70_001, b"")),
        sent(b"by_number", 1),
        owner((70_002, b""), (70_003, b"")),
        link(b"link", b"by_name"),
    ];
    hear(place.path(), everything(), &messages);
    let owner = |name: &str| {
        let facts = fs::symlink_metadata(place.path().join(name)).unwrap();
        (facts.uid(), facts.gid())
    };
    assert_eq!(owner("by_name"), (0, 0));
    assert_eq!(owner("by_number"), (70_000, 70_001));
    assert_eq!(owner("link"), (70_002, 70_003));
}

#[test]
fn what_nobody_asked_for_and_what_is_for_nothing_ends_the_transfer() {
    let plain = owner((0, b""), (0, b""));
    let nothing = MetadataOptions::default();
    let file_with_more = crate::script::file_with_more_names(b"f");
    for (metadata, messages) in [
        (nothing.clone(), vec![plain.clone(), file(b"f", 1)]),
        (nothing, vec![others(&[]), folder(b"d")]),
        (everything(), vec![plain.clone(), plain.clone(), file(b"f", 1)]),
        (everything(), vec![folder(b"d"), plain.clone(), leave()]),
        (everything(), vec![file_with_more, plain.clone(), hard_link(b"g", 0)]),
        (everything(), vec![file(b"f", 1), plain, begin(0, 0, 1)]),
        (everything(), vec![others(&[(b"security.capability", b"x")]), file(b"f", 1)]),
        (everything(), vec![others(&[(b"trusted.x", b"x")]), file(b"f", 1)]),
        (everything(), vec![others(&[(b"user.b", b"x"), (b"user.a", b"x")]), file(b"f", 1)]),
        (everything(), vec![owner((u32::MAX, b""), (0, b"")), file(b"f", 1)]),
        (everything(), vec![lists(&[entry(3, 7, 0)], &[]), file(b"f", 1)]),
    ] {
        let place = tempfile::tempdir().unwrap();
        let (ended, _) = hear(place.path(), metadata, &messages);
        assert!(matches!(ended, TransferError::Protocol(_)), "{ended:?}");
        assert!(!place.path().join("f").exists());
    }
}

#[test]
fn an_access_list_that_is_none_is_refused_with_its_file() {
    let place = tempfile::tempdir().unwrap();
    let right = [entry(1, 7, 0), entry(4, 5, 0), entry(32, 0, 0)];
    let wrong: [Vec<Vec<u8>>; 4] = [
        vec![entry(1, 7, 0)],
        vec![entry(1, 9, 0), entry(4, 5, 0), entry(32, 0, 0)],
        vec![entry(1, 7, 0), entry(2, 7, 5), entry(4, 5, 0), entry(32, 0, 0)],
        vec![
            entry(1, 7, 0),
            entry(2, 7, 5),
            entry(2, 6, 5),
            entry(4, 5, 0),
            entry(16, 5, 0),
            entry(32, 0, 0),
        ],
    ];
    for wrong in wrong {
        let messages =
            [lists(&wrong, &[]), file(b"f", 0), lists(&right, &wrong), folder(b"d"), leave()];
        let (_, lines) = hear(place.path(), everything(), &messages);
        assert_eq!(lines, ["Failed f corrupt", "Failed d corrupt"]);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }
}

#[test]
fn attributes_of_files_that_wait_take_no_more_memory_than_there_is_for_them() {
    let place = tempfile::tempdir().unwrap();
    let value = vec![b'v'; 60_000];
    let mut messages = Vec::new();
    // Each file waits for its content, which does not come.
    for number in 0..200 {
        messages.push(others(&[(b"user.a", &value), (b"user.b", &value)]));
        messages.push(file(format!("f{number}").as_bytes(), 5));
    }
    let (ended, _) = hear(place.path(), everything(), &messages);
    assert!(matches!(ended, TransferError::Protocol(_)), "{ended:?}");
    let settled = |number: usize| {
        let set = others(&[(b"user.a", &value), (b"user.b", &value)]);
        [set, folder(format!("d{number}").as_bytes()), leave()].concat()
    };
    let messages: Vec<_> = (0..200).map(settled).collect();
    let (ended, _) = hear(place.path(), everything(), &messages);
    assert!(matches!(ended, TransferError::Lost(_)), "{ended:?}");
}
