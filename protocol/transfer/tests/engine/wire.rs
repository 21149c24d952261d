//! The bytes of docs/transfer.md: what an end says to one that was written from the document alone.

use std::{fs, os::unix::net::UnixStream};

use rcmd_transfer::Transfer;

use crate::ends::{Events, inside, scripted, scripted_receiver, source, tree_options};
use crate::script::{
    TIME_SECONDS, begin, data, end, file, folder, hello, leave, link, message, need,
};

/// What the sender says of a folder `d` with a file `f` and a link `l`.
fn announced() -> Vec<Vec<u8>> {
    vec![folder(b"d"), file(b"f", 7), link(b"l", b"f"), leave()]
}

fn content() -> Vec<Vec<u8>> {
    vec![begin(1, 0, 7), data(b"content"), end(blake3::hash(b"content").as_bytes())]
}

/// The digest of a transfer, as the document defines it.
fn digest() -> [u8; 32] {
    let mut entries = blake3::Hasher::new();
    for message in announced() {
        entries.update(&message[4..]);
    }
    let mut contents = blake3::Hasher::new();
    contents.update(&1_u64.to_be_bytes());
    contents.update(blake3::hash(b"content").as_bytes());
    let both = [*entries.finalize().as_bytes(), *contents.finalize().as_bytes()].concat();
    *blake3::hash(&both).as_bytes()
}

fn finish() -> Vec<u8> {
    message(14, &[&3_u64.to_be_bytes(), &digest(), &[0]])
}

/// The outcome of an entry that was created.
fn created(index: u64) -> Vec<u8> {
    message(34, &[&index.to_be_bytes(), &[1, 0, 0, 0]])
}

/// One file of 7 bytes was sent, and a folder and a link made.
fn done() -> Vec<u8> {
    let counts = [1, 7, 2, 0, 0, 0, 0, 0, 0].map(u64::to_be_bytes).concat();
    message(37, &[&counts, &digest(), &[0]])
}

/// The hello of an end with options: recursive and preserve, no number to delete, no rules.
fn hello_with_options(role: u8) -> Vec<u8> {
    message(1, &[b"rcft", &[0, 1, role, 1], &[0, 0, 0, 3], &[0; 9], &[0; 2]])
}

#[test]
fn a_receiver_says_what_the_document_says() {
    let place = tempfile::tempdir().unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    let said = [vec![hello(1)], announced(), content(), vec![finish()]].concat().concat();
    let sender = scripted(far, said);
    let mut events = Events::default();
    let reader = near.try_clone().unwrap();
    let transfer = Transfer::with_options(tree_options());
    transfer.receive(reader, near, inside(place.path()), &mut events).unwrap();
    let heard = sender.join().unwrap();
    let expected =
        [hello_with_options(2), created(0), need(1), created(2), created(1), done()].concat();
    assert_eq!(heard, expected);
    assert_eq!(fs::read(place.path().join("d/f")).unwrap(), b"content");
}

#[test]
fn a_sender_says_what_the_document_says() {
    let place = tempfile::tempdir().unwrap();
    let top = place.path().join("d");
    fs::create_dir(&top).unwrap();
    fs::write(top.join("f"), b"content").unwrap();
    std::os::unix::fs::symlink("f", top.join("l")).unwrap();
    crate::tree::set_mode(&top.join("f"), 0o644);
    crate::tree::set_mode(&top, 0o755);
    for name in ["d/f", "d/l", "d"] {
        crate::tree::set_time(&place.path().join(name), TIME_SECONDS, 0);
    }
    let (near, far) = UnixStream::pair().unwrap();
    let answers = [created(0), need(1), created(2)].concat();
    let script = vec![(4, answers), (12, created(1)), (14, done())];
    let receiver = scripted_receiver(far, hello(2), script);
    let mut events = Events::default();
    let reader = near.try_clone().unwrap();
    let to_close = near.try_clone().unwrap();
    let sender = Transfer::with_options(tree_options());
    let summary = sender.send(reader, near, vec![source(&top)], &mut events).unwrap();
    to_close.shutdown(std::net::Shutdown::Both).unwrap();
    let mut expected =
        [vec![hello_with_options(1)], announced(), content(), vec![finish()]].concat().concat();
    let mut heard = receiver.join().unwrap();
    // What a file takes on its disk is the disk's affair.
    for bytes in [&mut expected, &mut heard] {
        let at = bytes.windows(5).position(|part| part == [0, 0, 0, 49, 8]).unwrap();
        bytes[at + 29..at + 37].fill(0);
    }
    assert_eq!(heard, expected);
    assert_eq!((summary.counts.sent, summary.counts.made, summary.digest), (1, 2, digest()));
}
