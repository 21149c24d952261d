//! Places that do not let everything be done: full, read-only, denied, confined.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    thread,
};

use rcmd_transfer::{
    Cancel, Confinement, Destination, FileEvent, MetadataOptions, NoObserver, Observer, Progress,
    Reach, Transfer, TransferError, TransferOptions, confine,
};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::ends::{Events, named, source, transfer, tree_options};
use crate::tree::{Dice, describe, fill, partials};

/// A file system of a size, for as long as it lives.
struct Mounted(PathBuf);

impl Mounted {
    /// Mounts one, or says that it cannot.
    fn at(path: &Path, data: &str, flags: MountFlags) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let data = std::ffi::CString::new(data).unwrap();
        match mount("none", path, "tmpfs", flags, Some(data.as_c_str())) {
            Ok(()) => Some(Self(path.to_owned())),
            Err(error) => {
                println!("skipped: needs mounts ({error})");
                None
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_is_named_and_nothing_is_left_half_done() {
    let place = tempfile::tempdir().unwrap();
    let from = place.path().join("s");
    fs::create_dir(&from).unwrap();
    let mut dice = Dice::new(1);
    for number in 0..40 {
        fs::write(from.join(format!("f{number:02}")), dice.bytes(100_000)).unwrap();
    }
    fs::write(from.join("large"), dice.bytes(3 << 20)).unwrap();
    fs::write(from.join("middle"), dice.bytes(900_000)).unwrap();
    fs::write(from.join("z"), b"small").unwrap();
    let disk = place.path().join("disk");
    let Some(_mounted) = Mounted::at(&disk, "size=2m", MountFlags::empty()) else {
        return;
    };
    let to = disk.join("d");
    let ended = transfer(&tree_options(), vec![source(&from)], named(&to));
    let counts = ended.summary().counts;
    assert!(counts.sent > 10 && counts.failed > 10, "{counts:?}");
    let failed: Vec<_> =
        ended.sent.lines.iter().filter(|line| line.starts_with("Failed")).collect();
    assert!(failed.iter().all(|line| line.ends_with("no_space")), "{failed:?}");
    assert!(partials(&to).is_empty());
    for entry in fs::read_dir(&to).unwrap().map(Result::unwrap) {
        let whole = fs::read(from.join(entry.file_name())).unwrap();
        assert_eq!(fs::read(entry.path()).unwrap(), whole);
    }
}

#[test]
fn a_place_that_is_read_only_is_named() {
    let place = tempfile::tempdir().unwrap();
    let from = place.path().join("f");
    fs::write(&from, b"content").unwrap();
    let disk = place.path().join("disk");
    let Some(_mounted) = Mounted::at(&disk, "size=1m", MountFlags::RDONLY) else {
        return;
    };
    let ended = transfer(&tree_options(), vec![source(&from)], named(&disk.join("g")));
    assert_eq!(ended.sent.lines, ["Failed f permission"]);
}

/// Denies the folders of a name, and cancels when it is told to.
#[derive(Default)]
struct Gate {
    events: Events,
    denied: Option<&'static [u8]>,
    /// The size, in bytes, up to which a source may be read; and what was asked.
    largest: Option<u64>,
    asked: Vec<(String, u64)>,
    cancel: Option<(Cancel, u64)>,
}

impl Observer for Gate {
    fn file(&mut self, event: &FileEvent<'_>) {
        self.events.file(event);
    }

    fn progress(&mut self, progress: &Progress) {
        if let Some((cancel, after)) = &self.cancel
            && progress.crossed >= *after
        {
            cancel.cancel();
        }
    }

    fn may_enter(&mut self, path: &[u8], _: BorrowedFd<'_>) -> bool {
        self.denied.is_none_or(|denied| !path.ends_with(denied))
    }

    fn may_read(&mut self, path: &[u8], file: BorrowedFd<'_>, size: u64) -> bool {
        assert_eq!(rustix::fs::fstat(file).unwrap().st_size, i64::try_from(size).unwrap());
        self.asked.push((String::from_utf8_lossy(path).into_owned(), size));
        self.largest.is_none_or(|largest| size <= largest)
    }
}

#[test]
fn a_folder_that_the_caller_denies_is_not_entered_at_either_end() {
    for denying_sender in [true, false] {
        let place = tempfile::tempdir().unwrap();
        let (from, to) = (place.path().join("s"), place.path().join("d"));
        fs::create_dir_all(from.join("private")).unwrap();
        fs::write(from.join("private/key"), b"key").unwrap();
        fs::write(from.join("z"), b"content").unwrap();
        let gate =
            |denies: bool| Gate { denied: denies.then_some(&b"/private"[..]), ..Gate::default() };
        let (near, far) = UnixStream::pair().unwrap();
        thread::scope(|scope| {
            let receiver = scope.spawn(|| {
                let reader = far.try_clone().unwrap();
                let transfer = Transfer::with_peers_options();
                transfer.receive(reader, far, named(&to), &mut gate(!denying_sender)).unwrap()
            });
            let reader = near.try_clone().unwrap();
            let sender = Transfer::with_options(tree_options());
            let mut gate = gate(denying_sender);
            let summary = sender.send(reader, near, vec![source(&from)], &mut gate).unwrap();
            assert_eq!(summary, receiver.join().unwrap());
            let denied = "Failed s/private denied".to_owned();
            assert!(gate.events.lines.contains(&denied), "{:?}", gate.events.lines);
        });
        assert!(to.join("z").exists() && !to.join("private").exists());
    }
}

#[test]
fn a_file_that_is_a_source_is_read_only_as_far_as_the_caller_permits() {
    // A dry run asks for no content, and tells of access lists.
    for (checksum, dry_run) in [(false, false), (true, false), (false, true)] {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        ["t", "to"].iter().for_each(|name| fs::create_dir(path(name)).unwrap());
        for (name, size) in [("small", 10), ("large", 11), ("t/large", 11)] {
            fs::write(path(name), vec![b'x'; size]).unwrap();
        }
        let sources = ["small", "large", "t"].map(|name| source(&path(name))).to_vec();
        let mut gate = Gate { largest: Some(10), ..Gate::default() };
        let (near, far) = UnixStream::pair().unwrap();
        thread::scope(|scope| {
            let receiver = scope.spawn(|| {
                let reader = far.try_clone().unwrap();
                let to = Destination::inside(File::open(path("to")).unwrap().into()).unwrap();
                Transfer::with_peers_options().receive(reader, far, to, &mut NoObserver).unwrap()
            });
            let reader = near.try_clone().unwrap();
            let metadata = MetadataOptions { acls: dry_run, ..MetadataOptions::default() };
            let options = TransferOptions { checksum, dry_run, metadata, ..tree_options() };
            let sender = Transfer::with_options(options);
            let summary = sender.send(reader, near, sources, &mut gate).unwrap();
            assert_eq!(summary, receiver.join().unwrap());
        });
        // What lies in a folder is asked for with the folder.
        gate.asked.sort();
        gate.asked.dedup();
        assert_eq!(gate.asked, [("large".to_owned(), 11), ("small".to_owned(), 10)]);
        assert!(gate.events.lines.contains(&"Failed large denied".to_owned()));
        assert!(path("to/small").exists() != dry_run && !path("to/large").exists());
        assert!(path("to/t/large").exists() != dry_run);
    }
}

#[test]
fn a_transfer_that_is_cancelled_leaves_a_part_if_the_next_can_go_on_from_it() {
    for (after, parts) in [(1 << 18, 0), (4 << 20, 1)] {
        cancel_after(after, parts);
    }
}

/// Cancels a receiver when so many bytes have come, and checks how many parts it leaves.
fn cancel_after(after: u64, parts: usize) {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("f"), place.path().join("d/g"));
    fs::create_dir(place.path().join("d")).unwrap();
    fs::write(&from, Dice::new(1).bytes(8 << 20)).unwrap();
    let cancel = Cancel::default();
    let (near, far) = UnixStream::pair().unwrap();
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let reader = near.try_clone().unwrap();
            let mut events = Events::default();
            let sender = Transfer::with_options(tree_options());
            sender.send(reader, near, vec![source(&from)], &mut events)
        });
        let reader = far.try_clone().unwrap();
        let mut gate = Gate { cancel: Some((cancel.clone(), after)), ..Gate::default() };
        let transfer = Transfer::with_peers_options().cancelled_by(&cancel);
        let ended = transfer.receive(reader, far, named(&to), &mut gate);
        assert!(matches!(ended, Err(TransferError::Cancelled)), "{ended:?}");
        let told = sender.join().unwrap().unwrap_err();
        let told = matches!(told, TransferError::Peer(_) | TransferError::Lost(_));
        assert!(told);
    });
    assert_eq!(fs::read_dir(place.path().join("d")).unwrap().count(), parts);
    let again = transfer(&tree_options(), vec![source(&from)], named(&to)).summary();
    assert_eq!(again.crossed < 8 << 20, parts > 0, "{again:?}");
    assert!(fs::read(&from).unwrap() == fs::read(&to).unwrap());
    assert_eq!(fs::read_dir(place.path().join("d")).unwrap().count(), 1);
}

#[test]
fn a_confined_process_reaches_nothing_but_its_root_and_transfers() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("from"), place.path().join("in/to"));
    fill(&from, 3);
    fs::create_dir(place.path().join("in")).unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    let sender = thread::spawn({
        let sources = vec![source(&from)];
        move || {
            let reader = near.try_clone().unwrap();
            let mut events = Events::default();
            Transfer::with_options(tree_options()).send(reader, near, sources, &mut events)
        }
    });
    // Confinement is of a thread, and of those that it starts.
    let root = File::open(place.path().join("in")).unwrap();
    let outside = place.path().join("outside");
    let (confinement, reading, writing) = thread::spawn(move || {
        let confinement = confine(&[(root.as_fd(), Reach::Writes)]).unwrap();
        assert!(rustix::thread::no_new_privs().unwrap());
        let destination = Destination::named(root.into(), b"to").unwrap();
        let reader = far.try_clone().unwrap();
        let mut events = Events::default();
        let receiver = Transfer::with_peers_options();
        let summary = receiver.receive(reader, far, destination, &mut events).unwrap();
        assert!(summary.is_complete(), "{:?}", events.lines);
        (confinement, File::open("/etc/passwd").err(), fs::write(outside, b"x").err())
    })
    .join()
    .unwrap();
    sender.join().unwrap().unwrap();
    assert_eq!(describe(&to), describe(&from));
    if confinement == Confinement::NoNewPrivileges {
        println!("skipped: needs Landlock");
        return;
    }
    for error in [reading, writing] {
        assert_eq!(error.unwrap().kind(), io::ErrorKind::PermissionDenied);
    }
}
