//! Files and folders that change while they are transferred.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "tests may wait")]
#![allow(clippy::print_stdout, reason = "a test that is skipped says so")]
// A panic is how a test fails; clippy exempts test functions, not those beside them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[path = "support/ends.rs"]
#[allow(dead_code, unreachable_pub, missing_docs)] // Each test program uses a part of it.
mod ends;
#[path = "support/tree.rs"]
#[allow(dead_code, unreachable_pub, missing_docs)] // Each test program uses a part of it.
mod tree;

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::{fs::symlink, net::UnixStream},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use ends::{Ended, Events, named, rounds, source, transfer, tree_options};
use rcmd_transfer::{
    FileEvent, Observer, Progress, Summary, Transfer, TransferOptions, TransferSource,
};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use tree::{Dice, describe, set_time};

/// Does something to the source when some of its content has been read, as often as it may.
struct Meddler<F> {
    events: Events,
    meddle: F,
    times: usize,
}

impl<F: FnMut()> Observer for Meddler<F> {
    fn file(&mut self, event: &FileEvent<'_>) {
        self.events.file(event);
    }

    fn progress(&mut self, progress: &Progress) {
        if progress.crossed > self.events.crossed && self.times > 0 {
            self.times -= 1;
            (self.meddle)();
        }
        self.events.progress(progress);
    }
}

/// Sends a file of 2 MiB, to which something is done while it is read.
fn send_while(times: usize, meddle: impl Fn(&Path)) -> (Summary, Vec<String>, Option<Vec<u8>>) {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("f"), place.path().join("g"));
    fs::write(&from, Dice::new(1).bytes(2 << 20)).unwrap();
    // Whatever is done to it has another time, however coarse the clock of its system is.
    set_time(&from, 1_000_000_000, 0);
    let (near, far) = UnixStream::pair().unwrap();
    let (summary, lines) = thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            let reader = far.try_clone().unwrap();
            let mut events = Events::default();
            Transfer::with_peers_options().receive(reader, far, named(&to), &mut events).unwrap()
        });
        let meddle = || meddle(&from);
        let mut meddler = Meddler { events: Events::default(), meddle, times };
        let reader = near.try_clone().unwrap();
        let sender = Transfer::with_options(tree_options());
        let summary = sender.send(reader, near, vec![source(&from)], &mut meddler).unwrap();
        assert_eq!(summary, receiver.join().unwrap());
        (summary, meddler.events.lines)
    });
    assert!(tree::partials(place.path()).is_empty());
    (summary, lines, fs::read(&to).ok())
}

#[test]
fn a_file_that_only_grows_is_delivered_as_it_was_when_it_was_opened() {
    let grow = |path: &Path| {
        OpenOptions::new().append(true).open(path).unwrap().write_all(b"one more line\n").unwrap();
    };
    let (summary, _, arrived) = send_while(1_000, grow);
    assert!(summary.is_complete());
    assert_eq!(arrived.unwrap(), Dice::new(1).bytes(2 << 20));
}

#[test]
fn a_file_that_is_rewritten_once_is_tried_again() {
    let rewrite = |path: &Path| fs::write(path, vec![b'n'; 2 << 20]).unwrap();
    let (summary, _, arrived) = send_while(1, rewrite);
    assert!(summary.is_complete());
    assert_eq!(arrived.unwrap(), vec![b'n'; 2 << 20]);
}

#[test]
fn a_file_that_keeps_changing_fails_and_nothing_is_left_of_it() {
    let shrink = |path: &Path| {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    };
    let (summary, lines, arrived) = send_while(1_000, shrink);
    assert_eq!((summary.counts.failed, arrived), (1, None), "{lines:?}");
    assert!(lines[0].ends_with("changed"), "{lines:?}");
}

#[test]
fn files_that_vanish_are_counted_and_are_no_failure() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("s"), place.path().join("d"));
    fs::create_dir(&from).unwrap();
    // The first is large, so that the second is gone before it is its turn.
    fs::write(from.join("a"), Dice::new(1).bytes(2 << 20)).unwrap();
    fs::write(from.join("b"), b"content").unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            let reader = far.try_clone().unwrap();
            let mut events = Events::default();
            Transfer::with_peers_options().receive(reader, far, named(&to), &mut events).unwrap()
        });
        let meddle = || fs::remove_file(from.join("b")).unwrap();
        let mut meddler = Meddler { events: Events::default(), meddle, times: 1 };
        let reader = near.try_clone().unwrap();
        let sender = Transfer::with_options(tree_options());
        let summary = sender.send(reader, near, vec![source(&from)], &mut meddler).unwrap();
        receiver.join().unwrap();
        assert!(summary.is_complete());
        assert_eq!((summary.counts.sent, summary.counts.vanished), (1, 1));
    });
}

/// Exchanges two names for as long as it lives.
struct Exchange<'a> {
    stop: &'a AtomicBool,
}

impl<'a> Exchange<'a> {
    fn of<'scope>(
        scope: &'scope thread::Scope<'scope, 'a>,
        stop: &'a AtomicBool,
        one: PathBuf,
        other: PathBuf,
    ) -> Self {
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                // Where one is missing for the moment the next round does it.
                let _ = renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE);
            }
        });
        Self { stop }
    }
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_folder_that_is_exchanged_for_a_link_never_leads_outside() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::create_dir_all(path("s/d/e")).unwrap();
    for number in 0..20 {
        fs::write(path(&format!("s/d/e/{number}")), b"secret").unwrap();
    }
    fs::create_dir_all(path("canary/e")).unwrap();
    fs::write(path("canary/e/own"), b"own").unwrap();
    let before = describe(&path("canary"));
    for by_hand in [false, true] {
        let _ = fs::remove_dir_all(path("t"));
        fs::create_dir_all(path("t/d/e")).unwrap();
        symlink("../canary", path("t/l")).unwrap();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let _exchange = Exchange::of(scope, &stop, path("t/d"), path("t/l"));
            for _ in 0..rounds(60) {
                upload(&path("s"), &path("t"), by_hand).receiver.unwrap();
            }
        });
        assert_eq!(describe(&path("canary")), before);
    }
}

fn upload(from: &Path, to: &Path, by_hand: bool) -> Ended {
    let receiver = Transfer::with_peers_options();
    let receiver = if by_hand { receiver.resolving_by_hand() } else { receiver };
    let sender = Transfer::with_options(tree_options());
    ends::run(sender, receiver, vec![source(from)], named(to), |stream| stream)
}

#[test]
fn what_is_exchanged_for_a_link_is_not_read_through_it() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::create_dir_all(path("s/d")).unwrap();
    fs::create_dir(path("outside")).unwrap();
    fs::write(path("s/d/f"), b"plain").unwrap();
    fs::write(path("outside/f"), b"secret").unwrap();
    fs::write(path("s/f"), b"plain").unwrap();
    symlink("../outside", path("s/dl")).unwrap();
    symlink("../outside/f", path("s/fl")).unwrap();
    let (stop, other) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let _folders = Exchange::of(scope, &stop, path("s/d"), path("s/dl"));
        let _files = Exchange::of(scope, &other, path("s/f"), path("s/fl"));
        for round in 0..rounds(200) {
            let to = path(&format!("t{round}"));
            transfer(&tree_options(), vec![source(&path("s"))], named(&to)).receiver.unwrap();
            for line in describe(&to) {
                let secret = blake3::hash(b"secret").to_hex();
                assert!(!line.contains(secret.as_str()), "{line}");
            }
            fs::remove_dir_all(&to).unwrap();
        }
    });
}

#[test]
fn a_file_that_grows_all_the_time_is_fetched() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("log"), place.path().join("copy"));
    let mut log = File::create(&from).unwrap();
    log.write_all(b"first\n").unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                log.write_all(b"one more\n").unwrap();
            }
        });
        for _ in 0..20 {
            let ended = transfer(&tree_options(), vec![source(&from)], named(&to));
            assert!(ended.summary().is_complete(), "{:?}", ended.sent.lines);
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(fs::read(&to).unwrap().starts_with(b"first\n"));
}

#[test]
fn a_source_that_goes_to_many_at_once_goes_to_each_as_a_whole() {
    let place = tempfile::tempdir().unwrap();
    let from = place.path().join("s");
    fs::create_dir(&from).unwrap();
    for number in 0..3_000 {
        File::create(from.join(number.to_string())).unwrap();
    }
    // All have one descriptor, as the threads of one push to many hosts.
    let shared = TransferSource::folder(File::open(&from).unwrap().into(), b"s").unwrap();
    let options = TransferOptions { dry_run: true, ..tree_options() };
    thread::scope(|scope| {
        let sending: Vec<_> = (0..12)
            .map(|number| {
                let to = named(&place.path().join(format!("t{number}")));
                let (shared, options) = (shared.clone(), &options);
                scope.spawn(move || transfer(options, vec![shared], to).summary().counts)
            })
            .collect();
        for counts in sending {
            let counts = counts.join().unwrap();
            assert_eq!((counts.sent, counts.made, counts.failed), (3_000, 1, 0));
        }
    });
}

#[test]
fn a_new_folder_that_is_exchanged_for_another_s_gets_nothing() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    let count = 200;
    for folder in ["s", "t", "own"] {
        fs::create_dir(path(folder)).unwrap();
    }
    for number in 0..count {
        fs::create_dir(path(&format!("s/{number:03}"))).unwrap();
        fs::write(path(&format!("s/{number:03}/key")), b"key").unwrap();
    }
    for _ in 0..rounds(20).div_ceil(20) {
        let _ = fs::remove_dir_all(path("t"));
        fs::create_dir(path("t")).unwrap();
        for number in 0..count {
            let own = path(&format!("own/{number:03}"));
            let _ = fs::remove_dir_all(&own);
            fs::create_dir(&own).unwrap();
            std::os::unix::fs::chown(&own, Some(1_234), Some(1_234)).unwrap();
        }
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) && number < count {
                    // As soon as the new one is there it is another's.
                    let (one, other) = (format!("t/{number:03}"), format!("own/{number:03}"));
                    let done =
                        renameat_with(CWD, path(&one), CWD, path(&other), RenameFlags::EXCHANGE);
                    number += usize::from(done.is_ok());
                }
            });
            upload(&path("s"), &path("t"), false).receiver.unwrap();
            stop.store(true, Ordering::Relaxed);
        });
        for top in ["t", "own"] {
            for entry in fs::read_dir(path(top)).unwrap().map(Result::unwrap) {
                let facts = entry.metadata().unwrap();
                let is_another_s = std::os::unix::fs::MetadataExt::uid(&facts) == 1_234;
                let has_key = entry.path().join("key").exists();
                assert!(!is_another_s || !has_key, "{:?}", entry.path());
            }
        }
    }
}
