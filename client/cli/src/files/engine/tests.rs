//! The engine of one host, with another engine in the host's place.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rcmd_transfer::{
    Destination, FailureKind, Landing, NoObserver, Summary, TransferError, TransferLimits,
    TransferSource,
};
use rustix::fs::CWD;

use super::*;
use crate::arguments::places::LocalTarget;
use crate::files::asked::Asked;
use crate::files::scratch::Scratch;
use crate::files::shown::{Shown, ShownFile};

fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

fn options() -> TransferOptions {
    TransferOptions { recursive: true, preserve: true, ..TransferOptions::default() }
}

/// What a transfer has told of files.
fn told(mut shown: mpsc::Receiver<Shown>) -> Vec<ShownFile> {
    let mut files = Vec::new();
    while let Some(shown) = shown.blocking_recv() {
        if let Shown::File { file, .. } = shown {
            files.push(*file);
        }
    }
    files
}

/// Runs a part against a host, which has the streams of the other end.
fn run_with<T>(
    part: Part,
    asked: Asked,
    host: impl FnOnce(PipeReader, PipeWriter) -> T,
) -> (EngineEnd, T, Vec<ShownFile>) {
    run_by(options(), part, asked, host)
}

fn run_by<T>(
    options: TransferOptions,
    part: Part,
    asked: Asked,
    host: impl FnOnce(PipeReader, PipeWriter) -> T,
) -> (EngineEnd, T, Vec<ShownFile>) {
    let (feed, shown) = mpsc::channel(1_000);
    let watcher =
        Watcher { host: 0, feed, tally: Arc::default(), asked, prefix: None, shows_all: true };
    let engine = Engine::start(part, options, watcher).unwrap();
    let ended = host(PipeReader::new(engine.to_host), PipeWriter::new(engine.from_host));
    let end = engine.end.blocking_recv().unwrap();
    (end, ended, told(shown))
}

/// A host that sends these, each under a name of its choice.
fn sends(
    sources: &[(&Path, &str)],
) -> impl FnOnce(PipeReader, PipeWriter) -> Result<Summary, TransferError> {
    let sources: Vec<_> = sources
        .iter()
        .map(|(path, name)| {
            TransferSource::at(CWD, &bytes(path), true).unwrap().under(name.as_bytes()).unwrap()
        })
        .collect();
    move |reader, writer| {
        Transfer::with_peers_options().send(reader, writer, sources, &mut NoObserver)
    }
}

fn fetch(to: &Path, paths: &[&str], has_several: bool) -> (Part, Asked) {
    let landing = Landing { is_itself: false, has_several };
    let to = LocalTarget::Path(bytes(to));
    let place = LocalPlace::new(to, landing, None, None, false, Scratch::default());
    let paths: Vec<_> = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
    (Part::Receives(place), Asked::of(&paths, false))
}

#[test]
fn what_is_sent_arrives_and_each_file_is_told_of() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("s"), place.path().join("d"));
    fs::create_dir_all(from.join("sub")).unwrap();
    fs::write(from.join("sub/a"), vec![b'x'; 700_000]).unwrap();
    fs::write(from.join("b"), b"").unwrap();
    let mut sources = Sources::default();
    sources.found.push(TransferSource::at(CWD, &bytes(&from), true).unwrap());
    let (end, host, told) = run_with(Part::Sends(sources), Asked::Any, |reader, writer| {
        let destination = Destination::at(CWD, &bytes(&to), Landing::default()).unwrap();
        Transfer::with_peers_options().receive(reader, writer, destination, &mut NoObserver)
    });
    let summary = end.transfer.unwrap();
    assert_eq!(summary, host.unwrap());
    assert_eq!((summary.counts.sent, summary.counts.bytes, told.len()), (2, 700_000, 4));
    assert_eq!(fs::read(to.join("sub/a")).unwrap().len(), 700_000);
}

#[test]
fn a_host_that_answers_a_pattern_with_other_names_writes_none_of_them() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::create_dir(path("d")).unwrap();
    fs::create_dir(path("tree")).unwrap();
    fs::write(path("evil"), b"evil").unwrap();
    let (part, asked) = fetch(&path("d"), &["/srv/*.txt"], true);
    let (evil, tree) = (path("evil"), path("tree"));
    let lies = [
        (&*evil, ".bashrc"),
        (&*evil, "a.txt"),
        (&*evil, ".x.txt"),
        (&*tree, "bin"),
        (&*evil, "a.txt.sh"),
    ];
    let (end, host, told) = run_with(part, asked, sends(&lies));
    let summary = end.transfer.unwrap();
    assert_eq!(summary, host.unwrap());
    assert_eq!((summary.counts.sent, summary.counts.failed), (1, 4));
    let kinds = told.iter().filter_map(|file| file.failure.as_ref()).map(|failure| failure.kind);
    assert_eq!(kinds.collect::<Vec<_>>(), [FailureKind::UnsafePath; 4]);
    let names: Vec<_> =
        fs::read_dir(path("d")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["a.txt"]);
}

#[test]
fn a_host_that_is_asked_for_one_file_gives_that_or_nothing() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::write(path("evil"), b"evil").unwrap();
    fs::write(path("kept"), b"kept before").unwrap();
    let evil = path("evil");
    // A second file for one place, and one of another name.
    for (name, sent) in [("b", 0), ("a", 1)] {
        let (part, asked) = fetch(&path("kept"), &["/srv/a"], false);
        let (end, _, told) = run_with(part, asked, sends(&[(&evil, name), (&evil, name)]));
        let counts = end.transfer.unwrap().counts;
        assert_eq!((counts.sent, counts.failed), (sent, 2 - sent), "{told:?}");
    }
    assert_eq!(fs::read(path("kept")).unwrap(), b"evil");
}

#[test]
fn a_host_that_chooses_a_name_learns_nothing_of_a_file_that_is_here() {
    const MIB: usize = 1 << 20;
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::create_dir(path("d")).unwrap();
    let mut content = vec![b'x'; 4 * MIB];
    fs::write(path("a"), &content).unwrap();
    content[3 * MIB] = b'y';
    for (asked_for, crossed) in [("/srv/a", MIB), ("/srv/*", 4 * MIB)] {
        fs::write(path("d/a"), &content).unwrap();
        // Both may be written within one step of the clock; they would be taken for the same.
        let file = fs::File::options().write(true).open(path("d/a")).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let options = TransferOptions { in_place: true, ..TransferOptions::default() };
        let (part, asked) = fetch(&path("d"), &[asked_for], false);
        let source = path("a");
        let (end, _, _) = run_by(options, part, asked, sends(&[(&source, "a")]));
        assert_eq!(end.transfer.unwrap().crossed, crossed as u64, "{asked_for}");
    }
}

#[test]
fn a_host_sends_no_more_than_was_said() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::create_dir(path("d")).unwrap();
    fs::write(path("small"), b"1234").unwrap();
    fs::write(path("large"), b"12345").unwrap();
    let limited = || {
        let (part, asked) = fetch(&path("d"), &["/srv/*"], true);
        let Part::Receives(place) = part else { panic!("it receives") };
        let limits = TransferLimits { file_bytes: 4, bytes: 4, entries: 1 };
        (Part::Receives(place.limited(limits)), asked)
    };
    let (small, large) = (path("small"), path("large"));
    let (part, asked) = limited();
    let (end, _, told) = run_with(part, asked, sends(&[(&large, "large")]));
    assert_eq!(end.transfer.unwrap().counts.failed, 1);
    assert_eq!(told[0].failure.as_ref().unwrap().kind, FailureKind::TooBig);
    let (part, asked) = limited();
    let (end, _, _) = run_with(part, asked, sends(&[(&small, "a"), (&small, "b")]));
    let error = end.transfer.unwrap_err();
    assert!(matches!(error, TransferError::Local(_)), "{error:?}");
    assert!(!path("d/large").exists() && !path("d/b").exists());
}

#[test]
fn a_host_that_sends_a_link_for_a_file_plants_none() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::write(path("mine"), b"mine").unwrap();
    fs::create_dir(path("host")).unwrap();
    std::os::unix::fs::symlink(path("mine"), path("host/a")).unwrap();
    for (number, to) in [path("new"), path("mine")].into_iter().enumerate() {
        let (part, asked) = fetch(&to, &["/srv/a"], false);
        let source = TransferSource::at(CWD, &bytes(&path("host/a")), false).unwrap();
        let (end, _, told) = run_with(part, asked, |reader, writer| {
            let host = Transfer::with_peers_options();
            host.send(reader, writer, vec![source], &mut NoObserver)
        });
        assert_eq!(end.transfer.unwrap().counts.failed, 1);
        let failure = told[0].failure.as_ref().unwrap();
        assert_eq!(failure.kind, FailureKind::UnsafePath, "{number}");
        assert!(path("new").symlink_metadata().is_err());
        assert!(path("mine").symlink_metadata().unwrap().is_file());
    }
}

#[test]
fn files_of_one_inode_that_are_asked_for_arrive_each_by_itself() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::create_dir(path("d")).unwrap();
    fs::write(path("a"), b"content").unwrap();
    fs::hard_link(path("a"), path("b")).unwrap();
    let (part, asked) = fetch(&path("d"), &["/srv/*"], true);
    let (one, other) = (path("a"), path("b"));
    let (end, _, _) = run_with(part, asked, sends(&[(&one, "a"), (&other, "b")]));
    assert_eq!(end.transfer.unwrap().counts.sent, 2);
    assert_eq!(fs::read(path("d/b")).unwrap(), b"content");
}

#[test]
fn a_place_that_cannot_be_is_told_and_nothing_is_made() {
    let place = tempfile::tempdir().unwrap();
    let missing = place.path().join("no/such");
    let (part, asked) = fetch(&missing, &["/srv/a"], false);
    let (end, (), told) = run_with(part, asked, |reader, writer| drop((reader, writer)));
    let failed = matches!(
        end.transfer,
        Err(TransferError::Local(failure)) if failure.kind == FailureKind::NoSuchFile
    );
    assert!(failed && told.is_empty());
    assert!(!place.path().join("no").exists());
}

#[test]
fn a_host_that_is_gone_ends_the_engine() {
    let place = tempfile::tempdir().unwrap();
    let (part, asked) = fetch(place.path(), &["/srv/a"], false);
    let (end, (), _) = run_with(part, asked, |reader, writer| drop((reader, writer)));
    assert!(matches!(end.transfer, Err(TransferError::Lost(_))), "{:?}", end.transfer);
}
