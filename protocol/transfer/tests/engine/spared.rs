//! What deletion leaves alone: what may not be entered, what could not be counted, and what is there by another name.

use std::{
    fs,
    os::{fd::BorrowedFd, unix::net::UnixStream},
    path::PathBuf,
    thread,
};

use rcmd_transfer::{
    FileAction, FileEvent, Observer, Summary, Transfer, TransferOptions, Withheld,
};
use rustix::mount::{UnmountFlags, mount_bind, unmount};

use crate::ends::{Events, named, source, tree_options};
use crate::tree::set_time;

/// Denies the folders of a name, and does something when the first entry was deleted.
#[derive(Default)]
struct Gate {
    lines: Vec<String>,
    denied: Option<&'static [u8]>,
    when_deleted: Option<Box<dyn FnOnce()>>,
}

impl Observer for Gate {
    fn file(&mut self, event: &FileEvent<'_>) {
        let mut events = Events::default();
        events.file(event);
        self.lines.append(&mut events.lines);
        if event.action == FileAction::Deleted
            && let Some(act) = self.when_deleted.take()
        {
            act();
        }
    }

    fn may_enter(&mut self, path: &[u8], _: BorrowedFd<'_>) -> bool {
        self.denied.is_none_or(|denied| !path.ends_with(denied))
    }
}

/// A folder `s` and its copy `d` from an earlier time.
struct Pair(tempfile::TempDir);

impl Pair {
    fn new(sent: &[&str], there: &[&str]) -> Self {
        let pair = Self(tempfile::tempdir().unwrap());
        for (folder, names) in [("s", sent), ("d", there)] {
            for name in names {
                let path = pair.0.path().join(folder).join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                match name.ends_with('/') {
                    true => fs::create_dir_all(&path).unwrap(),
                    false => fs::write(path, name).unwrap(),
                }
            }
        }
        pair
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn has(&self, name: &str) -> bool {
        self.path("d").join(name).symlink_metadata().is_ok()
    }

    /// Makes the copy like the folder.
    fn mirror(&self, gate: &mut Gate, most: u64, dry_run: bool) -> Summary {
        let delete = TransferOptions { delete: true, max_delete: Some(most), ..tree_options() };
        let options = TransferOptions { dry_run, ..delete };
        let (near, far) = UnixStream::pair().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let reader = near.try_clone().unwrap();
                let mut events = Events::default();
                let sources = vec![source(&self.path("s"))];
                Transfer::with_options(options).send(reader, near, sources, &mut events).unwrap();
            });
            let reader = far.try_clone().unwrap();
            let receiver = Transfer::with_peers_options();
            receiver.receive(reader, far, named(&self.path("d")), gate).unwrap()
        })
    }
}

#[test]
fn a_folder_that_may_not_be_entered_withholds_deletion_and_is_not_listed() {
    for (there, denied) in [
        (&["a", "old", "x/private/key"][..], &b"x/private"[..]),
        (&["a", "old", "private/key"], b"/private"),
        (&["a", "old", "private/"], b"/private"),
    ] {
        for dry_run in [true, false] {
            let pair = Pair::new(&["a"], there);
            let mut gate = Gate { denied: Some(denied), ..Gate::default() };
            let summary = pair.mirror(&mut gate, 100, dry_run);
            assert_eq!(summary.withheld, Some(Withheld::Incomplete), "{:?}", gate.lines);
            assert_eq!((summary.counts.deleted, summary.counts.failed), (0, 1));
            assert!(there.iter().all(|name| pair.has(name)));
            let told = gate.lines.iter().any(|line| line.ends_with("private denied"));
            assert!(told && !gate.lines.iter().any(|line| line.contains("key")));
        }
    }
}

#[test]
fn a_folder_that_cannot_be_counted_withholds_deletion() {
    // It goes deeper than a transfer does.
    let deep = "x/".repeat(1_100);
    let pair = Pair::new(&["a"], &["a", "old", &deep]);
    let summary = pair.mirror(&mut Gate::default(), 5_000, false);
    assert_eq!(summary.withheld, Some(Withheld::Incomplete));
    assert!(pair.has("old") && pair.has(&deep));
}

#[test]
fn no_more_is_removed_than_was_said_although_more_appears() {
    let pair = Pair::new(&["a"], &["a", "x/1", "z"]);
    let folder = pair.path("d/x");
    let appear = move || {
        for number in 10..20 {
            fs::write(folder.join(number.to_string()), b"new").unwrap();
        }
    };
    let mut gate = Gate { when_deleted: Some(Box::new(appear)), ..Gate::default() };
    let summary = pair.mirror(&mut gate, 3, false);
    assert_eq!((summary.counts.deleted, summary.counts.failed), (3, 1), "{:?}", gate.lines);
    assert!(gate.lines.last().unwrap().ends_with(" too_big"));
    // Of eleven two went.
    assert_eq!(fs::read_dir(pair.path("d/x")).unwrap().count(), 9);
}

/// A folder that is seen in another place as well.
struct Bound(PathBuf);

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn what_is_mounted_is_not_deleted() {
    for at in ["gone/m/", "m/"] {
        let pair = Pair::new(&["a"], &["a", "old", at]);
        fs::create_dir(pair.path("other")).unwrap();
        fs::write(pair.path("other/own"), b"own").unwrap();
        let mounted = pair.path("d").join(at);
        if let Err(error) = mount_bind(pair.path("other"), &mounted) {
            println!("skipped: needs mounts ({error})");
            return;
        }
        let bound = Bound(mounted);
        let mut gate = Gate::default();
        let summary = pair.mirror(&mut gate, 100, false);
        assert!(pair.path("other/own").exists() && pair.has("old"), "{:?}", gate.lines);
        assert_eq!(summary.withheld, Some(Withheld::Incomplete));
        assert!(gate.lines.iter().any(|line| line.ends_with("m exists")), "{:?}", gate.lines);
        drop(bound);
        assert_eq!(pair.mirror(&mut Gate::default(), 100, false).withheld, None);
        assert!(!pair.has("old"));
    }
}

#[test]
fn a_name_that_only_differs_in_case_is_spared_where_it_is_the_same_file() {
    // A file of two names stands for one of a file system that finds it by both.
    let pair = Pair::new(&["README", "notes.", "old"], &["README", "notes.", "Old", "x/1"]);
    for name in ["s/README", "d/README", "s/notes.", "d/notes."] {
        set_time(&pair.path(name), 1_234_567_890, 0);
    }
    for (name, other) in [("README", "readme"), ("README", "other"), ("notes.", "notes")] {
        fs::hard_link(pair.path("d").join(name), pair.path("d").join(other)).unwrap();
    }
    let summary = pair.mirror(&mut Gate::default(), 100, false);
    assert_eq!(summary.withheld, None);
    assert!(pair.has("readme") && pair.has("notes"));
    // These are others, whatever they are called.
    assert!(!pair.has("Old") && !pair.has("other") && !pair.has("x"));
}
