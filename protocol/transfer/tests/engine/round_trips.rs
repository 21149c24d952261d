//! Whole trees there and back: what arrives is what was sent.

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use rcmd_transfer::{Destination, FileRules, Transfer, TransferOptions};

use crate::ends::{inside, named, run, source, transfer, tree_options};
use crate::tree::{describe, fill, holes, make_pipe, partials, set_mode, set_time};

#[test]
fn trees_of_everything_arrive_as_they_are() {
    for seed in 0..6 {
        let place = tempfile::tempdir().unwrap();
        let (from, to) = (place.path().join("from"), place.path().join("to"));
        fill(&from, seed);
        let ended = transfer(&tree_options(), vec![source(&from)], named(&to));
        let summary = ended.summary();
        assert!(summary.is_complete(), "{:?}", ended.sent.lines);
        assert_eq!(describe(&to), describe(&from), "seed {seed}");
        assert_eq!(fs::metadata(&to).unwrap().mode(), fs::metadata(&from).unwrap().mode());
        assert_eq!(fs::metadata(&to).unwrap().mtime(), fs::metadata(&from).unwrap().mtime());

        let again = transfer(&tree_options(), vec![source(&from)], named(&to));
        let counts = again.summary().counts;
        assert_eq!((counts.sent, counts.made, counts.failed), (0, 0, 0), "{:?}", again.sent.lines);
        assert_eq!(describe(&to), describe(&from), "seed {seed}, again");

        // The same tree has the same digest, wherever it goes.
        let other = transfer(&tree_options(), vec![source(&from)], named(&place.path().join("b")));
        assert_eq!(other.summary().digest, summary.digest);
    }
}

#[test]
fn trees_arrive_when_paths_are_resolved_by_hand_and_the_receiver_chooses() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("from"), place.path().join("to"));
    fill(&from, 77);
    let receiver = Transfer::with_options(tree_options()).resolving_by_hand();
    let sender = Transfer::with_peers_options().resolving_by_hand();
    let ended = run(sender, receiver, vec![source(&from)], named(&to), |stream| stream);
    assert!(ended.summary().is_complete());
    assert_eq!(describe(&to), describe(&from));
}

#[test]
fn files_of_odd_sizes_arrive_with_their_holes() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("from"), place.path().join("to"));
    fs::create_dir(&from).unwrap();
    fs::write(from.join("empty"), b"").unwrap();
    fs::write(from.join("one"), b"1").unwrap();
    // Larger than 4 GiB, nearly all of it a hole, which ends with one.
    let large = File::create(from.join("large")).unwrap();
    large.set_len(5 << 30).unwrap();
    large.write_all_at(b"near the end", (5 << 30) - (1 << 20)).unwrap();
    let ended = transfer(&tree_options(), vec![source(&from)], named(&to));
    let summary = ended.summary();
    assert_eq!((summary.counts.sent, summary.counts.failed), (3, 0));
    assert!(summary.crossed < 1 << 20, "{} bytes crossed", summary.crossed);
    assert_eq!(holes(&to.join("large")), holes(&from.join("large")));
    assert_eq!(fs::metadata(to.join("large")).unwrap().len(), 5 << 30);
    let mut tail = [0; 12];
    let copy = File::open(to.join("large")).unwrap();
    copy.read_exact_at(&mut tail, (5 << 30) - (1 << 20)).unwrap();
    assert_eq!(&tail, b"near the end");
}

#[test]
fn five_hundred_folders_deep_is_no_depth() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("from"), place.path().join("to"));
    fs::create_dir(&from).unwrap();
    let mut folder: std::os::fd::OwnedFd = File::open(&from).unwrap().into();
    for _ in 0..500 {
        let name = "d".repeat(200);
        rustix::fs::mkdirat(&folder, &*name, rustix::fs::Mode::RWXU).unwrap();
        let flags = rustix::fs::OFlags::DIRECTORY;
        folder = rustix::fs::openat(&folder, &*name, flags, rustix::fs::Mode::empty()).unwrap();
    }
    let ended = transfer(&tree_options(), vec![source(&from)], named(&to));
    let counts = ended.summary().counts;
    assert_eq!((counts.made, counts.failed), (501, 0), "{:?}", ended.sent.lines.first());
    let back = transfer(&tree_options(), vec![source(&to)], named(&place.path().join("back")));
    assert_eq!(back.summary().counts.made, 501);
}

#[test]
fn folders_that_may_not_be_written_arrive_and_are_brought_up_to_date() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("s"), place.path().join("d"));
    fs::create_dir_all(from.join("a/b")).unwrap();
    fs::create_dir_all(from.join("c")).unwrap();
    fs::write(from.join("a/f"), b"content").unwrap();
    for name in ["a", "c"] {
        set_mode(&from.join(name), 0o555);
    }
    let run_once = || {
        let ended = transfer(&tree_options(), vec![source(&from)], named(&to));
        assert!(ended.summary().is_complete(), "{:?}", ended.sent.lines);
        assert_eq!(describe(&to), describe(&from));
    };
    run_once();
    run_once();
    set_mode(&from.join("a"), 0o755);
    fs::write(from.join("a/g"), b"more").unwrap();
    set_mode(&from.join("a"), 0o555);
    run_once();
    // As an interrupted transfer leaves it.
    set_mode(&to.join("a"), 0o5700);
    run_once();
    // And in a folder that hands its group on.
    set_mode(&to.join("a"), 0o7700);
    assert!(transfer(&tree_options(), vec![source(&from)], named(&to)).summary().is_complete());
    assert_eq!(fs::metadata(to.join("a")).unwrap().mode() & 0o7777, 0o2555);
}

#[test]
fn a_destination_that_was_made_and_not_finished_is_finished() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("s"), place.path().join("d"));
    for folder in [&from, &to] {
        fs::create_dir(folder).unwrap();
    }
    fs::write(from.join("f"), b"content").unwrap();
    set_mode(&from, 0o755);
    for (mode, preserve, expected) in [
        (0o5700, true, 0o755),
        (0o5700, false, 0o755),
        (0o1700, true, 0o1700),
        (0o1777, true, 0o1777),
        (0o700, true, 0o700),
    ] {
        set_mode(&to, mode);
        let options = TransferOptions { preserve, ..tree_options() };
        let destination = Destination::itself(File::open(&to).unwrap().into()).unwrap();
        let summary = transfer(&options, vec![source(&from)], destination).summary();
        assert!(summary.is_complete());
        assert_eq!(fs::metadata(&to).unwrap().mode() & 0o7777, expected, "{mode:o}");
    }
}

#[test]
fn what_is_left_out_does_not_go_and_all_else_does() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("s"), place.path().join("d"));
    for folder in ["build", "sub", ".well-known"] {
        fs::create_dir_all(from.join(folder)).unwrap();
    }
    for name in ["a.conf", "b.txt", "sub/c.conf", "build/keep", ".env", ".gitignore", "x.o"] {
        fs::write(from.join(name), b"*.o\n").unwrap();
    }
    // A partial file of another transfer.
    fs::write(from.join(".rcmd-part-0123456789abcdef-0123456789abcdef"), b"half").unwrap();
    let sent = |lines: &[&str]| {
        let rules = FileRules::new(lines.iter().copied()).unwrap();
        let options = TransferOptions { rules, ..tree_options() };
        let _ = fs::remove_dir_all(&to);
        let summary = transfer(&options, vec![source(&from)], named(&to)).summary();
        assert!(summary.is_complete());
        let has = |name: &str| to.join(name).exists();
        ["a.conf", "b.txt", "sub/c.conf", "build/keep", ".env", ".gitignore", "x.o"].map(has)
    };
    assert_eq!(sent(&[]), [true; 7]);
    assert!(partials(&to).is_empty() && to.join(".well-known").exists());
    assert_eq!(sent(&["build/", "!build/keep"]), [true, true, true, false, true, true, true]);
    assert_eq!(sent(&["/a.conf"]), [false, true, true, true, true, true, true]);
    assert_eq!(sent(&["*", "!*.conf"]), [true, false, false, false, false, false, false]);
}

#[test]
fn names_lead_to_where_they_say() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::create_dir_all(path("t/below")).unwrap();
    fs::write(path("t/f"), b"content").unwrap();
    fs::create_dir(path("d")).unwrap();
    set_mode(&path("d"), 0o700);
    let to = |destination| {
        let sources = vec![source(&path("t")), source(&path("t/f"))];
        let ended = transfer(&tree_options(), sources, destination);
        (ended.summary().counts.failed, ended.sent.lines)
    };
    assert_eq!(to(inside(&path("d"))).0, 0);
    assert!(path("d/t/below").is_dir() && path("d/f").is_file());
    assert_eq!(fs::metadata(path("d")).unwrap().mode() & 0o777, 0o700);
    // Two sources have no one name.
    let (failed, lines) = to(named(&path("n")));
    assert_eq!((failed, path("n/f").is_file()), (1, true), "{lines:?}");
    // The folder that stands for the source keeps what it has.
    let itself = |name: &str| Destination::itself(File::open(path(name)).unwrap().into()).unwrap();
    fs::create_dir(path("i")).unwrap();
    set_mode(&path("i"), 0o711);
    let ended = transfer(&tree_options(), vec![source(&path("t"))], itself("i"));
    assert_eq!(ended.summary().counts.failed, 0);
    assert!(path("i/below").is_dir() && path("i/f").is_file());
    assert_eq!(fs::metadata(path("i")).unwrap().mode() & 0o777, 0o711);
    let ended = transfer(&tree_options(), vec![source(&path("t/f"))], itself("i"));
    assert_eq!(ended.sent.lines, ["Failed f exists"]);
    // A folder that does not exist is made for a folder, and not for a file.
    let new = |name: &str| {
        let parent = File::open(place.path()).unwrap();
        Destination::new_folder(parent.into(), name.as_bytes()).unwrap()
    };
    let ended = transfer(&tree_options(), vec![source(&path("t/f"))], new("no"));
    assert_eq!(
        (ended.sent.lines, path("no").exists()),
        (vec!["Failed f no_such_file".into()], false)
    );
    transfer(&tree_options(), vec![source(&path("t"))], new("no")).summary();
    assert!(path("no/t/f").is_file());
}

#[test]
fn pipes_sockets_and_devices_are_named_and_never_waited_for() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("s"), place.path().join("d"));
    fs::create_dir(&from).unwrap();
    fs::write(from.join("file"), b"content").unwrap();
    make_pipe(&from.join("pipe"));
    let _socket = std::os::unix::net::UnixListener::bind(from.join("socket")).unwrap();
    let ended = transfer(&tree_options(), vec![source(&from)], named(&to));
    let counts = ended.summary().counts;
    assert_eq!((counts.sent, counts.failed), (1, 2));
    assert!(ended.sent.lines.contains(&"Failed s/pipe special".into()), "{:?}", ended.sent.lines);
}

#[test]
fn files_of_proc_are_read_to_their_end() {
    let place = tempfile::tempdir().unwrap();
    let ended = transfer(
        &TransferOptions::default(),
        vec![source(Path::new("/proc/version"))],
        inside(place.path()),
    );
    assert_eq!(ended.summary().counts.sent, 1);
    assert_eq!(fs::read(place.path().join("version")).unwrap(), fs::read("/proc/version").unwrap());
}

#[test]
fn equal_sizes_and_times_are_the_same_file_and_placeholders_are_none() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("f"), place.path().join("g"));
    let transferred = |options: &TransferOptions, seconds| {
        for (path, content) in [(&from, b"bbbb"), (&to, b"aaaa")] {
            fs::write(path, content).unwrap();
            set_time(path, seconds, 0);
        }
        transfer(options, vec![source(&from)], named(&to)).summary().counts.sent
    };
    let plain = tree_options();
    assert_eq!([0, 1, 1_700_000_000].map(|time| transferred(&plain, time)), [1, 1, 0]);
    let checksum = TransferOptions { checksum: true, ..plain.clone() };
    assert_eq!(transferred(&checksum, 1_700_000_000), 1);
    let update = TransferOptions { update: true, ..plain };
    fs::write(&from, b"old").unwrap();
    set_time(&from, 1_000, 0);
    let ended = transfer(&update, vec![source(&from)], named(&to));
    assert_eq!(ended.summary().counts.skipped, 1);
}

#[test]
fn a_dry_run_tells_what_would_be_and_changes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("s"), place.path().join("d"));
    fill(&from, 5);
    let real = tree_options();
    let dry = TransferOptions { dry_run: true, delete: true, ..real.clone() };
    let ended = transfer(&dry, vec![source(&from)], named(&to));
    assert!(!to.exists());
    let would = ended.summary().counts;
    let was = transfer(&real, vec![source(&from)], named(&to)).summary().counts;
    assert_eq!((would.sent, would.made, would.bytes), (was.sent, was.made, was.bytes));
    fs::write(to.join("more"), b"not in the source").unwrap();
    let before = describe(&to);
    let ended = transfer(&dry, vec![source(&from)], named(&to));
    assert!(ended.sent.lines.contains(&"Deleted d/more".into()), "{:?}", ended.sent.lines);
    assert_eq!(describe(&to), before);
}

#[test]
fn a_folder_is_refused_where_only_files_were_asked_for() {
    let place = tempfile::tempdir().unwrap();
    let from = place.path().join("s");
    fs::create_dir(&from).unwrap();
    let destination = named(&place.path().join("d"));
    let ended = transfer(&TransferOptions::default(), vec![source(&from)], destination);
    assert_eq!(ended.summary().counts.failed, 1);
    assert!(!place.path().join("d").exists());
}

#[test]
fn the_first_failure_ends_a_transfer_that_is_to_fail_fast() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("s"), place.path().join("d"));
    fs::create_dir_all(from.join("z")).unwrap();
    make_pipe(&from.join("a"));
    fs::write(from.join("z/file"), b"content").unwrap();
    let options = TransferOptions { fail_fast: true, ..tree_options() };
    let ended = transfer(&options, vec![source(&from)], named(&to));
    let summary = ended.summary();
    assert!(summary.stopped && !summary.is_complete());
    assert!(!to.join("z").exists());
    // The folder that was made is finished all the same.
    assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o7777, 0o755);
}
