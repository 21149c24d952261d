//! A folder that is to be made for what comes: without it nothing is taken.
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
    fs::{self, File},
    os::{fd::BorrowedFd, unix::net::UnixStream},
    path::Path,
};

use ends::{Events, scripted, tree_options};
use rcmd_transfer::{Destination, FileEvent, Observer, Transfer, TransferOptions};
use script::{file, folder, hello, leave, link};

/// Keeps what it was asked for, and denies one folder.
#[derive(Default)]
struct Gate {
    events: Events,
    asked: Vec<String>,
    denied: &'static [u8],
    /// A folder that may not even be made.
    unmakeable: &'static [u8],
}

impl Observer for Gate {
    fn file(&mut self, event: &FileEvent<'_>) {
        self.events.file(event);
    }

    fn may_make(&mut self, path: &[u8], _: BorrowedFd<'_>, name: &[u8]) -> bool {
        assert!(path.ends_with(name));
        path != self.unmakeable
    }

    fn may_enter(&mut self, path: &[u8], _: BorrowedFd<'_>) -> bool {
        self.asked.push(String::from_utf8_lossy(path).into_owned());
        path != self.denied
    }
}

/// Receives two folders, a file and a link into the folder `new`, which is to be made in another. Something is done
/// before anything comes.
fn hear(place: &Path, denied: &'static [u8], before: impl FnOnce()) -> Gate {
    hear_by(place, Gate { denied, ..Gate::default() }, tree_options(), before)
}

fn hear_by(place: &Path, mut gate: Gate, options: TransferOptions, before: impl FnOnce()) -> Gate {
    let (near, far) = UnixStream::pair().unwrap();
    let messages = [
        folder(b"a"),
        file(b"x", 0),
        leave(),
        folder(b"b"),
        folder(b"c"),
        leave(),
        leave(),
        file(b"d", 0),
        link(b"e", b"/etc"),
    ];
    let sender = scripted(far, [hello(1), messages.concat()].concat());
    let destination = Destination::new_folder(File::open(place).unwrap().into(), b"new").unwrap();
    before();
    let reader = near.try_clone().unwrap();
    let transfer = Transfer::with_options(options);
    transfer.receive(reader, near, destination, &mut gate).unwrap_err();
    sender.join().unwrap();
    gate
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap();
    names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn nothing_goes_into_the_folder_above_when_the_folder_appears_meanwhile() {
    let place = tempfile::tempdir().unwrap();
    let gate = hear(place.path(), b"", || fs::create_dir(place.path().join("new")).unwrap());
    assert_eq!(names(place.path()), ["new"]);
    assert_eq!(names(&place.path().join("new")).len(), 0);
    assert_eq!(gate.events.lines.len(), 6);
    let failed = |line: &String| line.starts_with("Failed ") && line.ends_with(" exists");
    assert!(gate.events.lines.iter().all(failed), "{:?}", gate.events.lines);
}

#[test]
fn the_new_folder_is_asked_for_before_anything_goes_into_it() {
    let place = tempfile::tempdir().unwrap();
    let gate = hear(place.path(), b"", || ());
    assert_eq!(gate.asked, ["new", "new/a", "new/b", "new/b/c"]);
    assert_eq!(names(&place.path().join("new")).len(), 3);
    fs::remove_dir_all(place.path().join("new")).unwrap();
    let gate = hear(place.path(), b"new", || ());
    assert_eq!(gate.asked, ["new"]);
    assert_eq!(names(place.path()).len(), 0, "{:?}", gate.events.lines);
    let failed = |line: &String| line.ends_with(" denied");
    assert!(gate.events.lines.iter().all(failed), "{:?}", gate.events.lines);
}

#[test]
fn a_folder_that_may_not_be_made_is_never_there() {
    let place = tempfile::tempdir().unwrap();
    let time = || fs::metadata(place.path()).unwrap().modified().unwrap();
    let before = time();
    for dry_run in [true, false] {
        let gate = Gate { unmakeable: b"new", ..Gate::default() };
        let options = TransferOptions { dry_run, ..tree_options() };
        let gate = hear_by(place.path(), gate, options, || ());
        assert!(gate.asked.is_empty(), "{:?}", gate.asked);
        assert!(gate.events.lines.iter().all(|line| line.ends_with(" denied")), "{dry_run}");
    }
    // Nothing was made and removed again.
    assert_eq!(time(), before);
    let gate = Gate { unmakeable: b"new/b", ..Gate::default() };
    let gate = hear_by(place.path(), gate, tree_options(), || ());
    assert_eq!(gate.asked, ["new", "new/a"]);
    let failed = |line: &&String| line.starts_with("Failed ");
    let failed: Vec<_> = gate.events.lines.iter().filter(failed).collect();
    assert_eq!(failed, ["Failed new/b denied", "Failed new/b/c denied"]);
    assert!(!place.path().join("new/b").exists());
}
