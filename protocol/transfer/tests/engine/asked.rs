//! What the receiving end takes: only what its caller asked for, however the other end names it.

use std::{fs, os::unix::net::UnixStream, path::Path};

use rcmd_transfer::{FileEvent, Observer, Transfer, TransferOptions};

use crate::ends::{Events, inside, scripted, tree_options};
use crate::script::{file, file_with_more_names, folder, hard_link, hello, leave, link};

/// Takes names that end in `.txt`.
#[derive(Default)]
struct Texts(Events);

impl Observer for Texts {
    fn file(&mut self, event: &FileEvent<'_>) {
        self.0.file(event);
    }

    fn may_take(&mut self, name: &[u8]) -> bool {
        name.ends_with(b".txt")
    }
}

/// Receives what a script says, into a folder.
fn hear(place: &Path, options: TransferOptions, messages: &[Vec<u8>]) -> Vec<String> {
    hear_by(place, Transfer::with_options(options), messages)
}

fn hear_by(place: &Path, transfer: Transfer, messages: &[Vec<u8>]) -> Vec<String> {
    let (near, far) = UnixStream::pair().unwrap();
    let sender = scripted(far, [hello(1), messages.concat()].concat());
    let mut texts = Texts::default();
    let reader = near.try_clone().unwrap();
    transfer.receive(reader, near, inside(place), &mut texts).unwrap_err();
    sender.join().unwrap();
    texts.0.lines
}

#[test]
fn what_was_not_asked_for_is_refused_with_all_below_it_and_the_rest_is_taken() {
    let place = tempfile::tempdir().unwrap();
    let messages = [
        file(b".bashrc", 0),
        link(b"x", b"/etc"),
        folder(b"bin"),
        file(b"a.txt", 0),
        leave(),
        folder(b"b.txt"),
        folder(b"bin"),
        leave(),
        leave(),
    ];
    let lines = hear(place.path(), tree_options(), &messages);
    let expected = [
        "Failed .bashrc unsafe_path",
        "Failed x unsafe_path",
        "Failed bin unsafe_path",
        "Failed bin/a.txt unsafe_path",
        "Created b.txt",
        "Created b.txt/bin",
    ];
    assert_eq!(lines, expected);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
}

#[test]
fn a_folder_is_refused_where_only_files_were_asked_for() {
    let place = tempfile::tempdir().unwrap();
    let messages = [folder(b"a.txt"), file(b"x", 0), leave()];
    let lines = hear(place.path(), TransferOptions::default(), &messages);
    assert_eq!(lines, ["Failed a.txt special", "Failed a.txt/x special"]);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn a_link_is_refused_where_what_it_leads_to_was_asked_for_and_taken_below() {
    let place = tempfile::tempdir().unwrap();
    let messages = [
        link(b"a.txt", b"/etc/passwd"),
        folder(b"b.txt"),
        link(b"below", b"/etc/passwd"),
        file_with_more_names(b"first"),
        leave(),
        hard_link(b"c.txt", 3),
    ];
    let transfer = Transfer::with_options(tree_options()).refusing_links();
    let lines = hear_by(place.path(), transfer, &messages);
    let failed: Vec<_> = lines.iter().filter(|line| line.starts_with("Failed")).collect();
    assert_eq!(failed, ["Failed a.txt unsafe_path", "Failed c.txt unsafe_path"], "{lines:?}");
    assert!(place.path().join("b.txt/below").is_symlink());
    let names = fs::read_dir(place.path()).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["b.txt"]);
}
