//! What the receiving end takes: only what its caller asked for, however the other end names it.

use std::{
    fs::{self, File},
    io::Read as _,
    os::{
        fd::BorrowedFd,
        unix::{fs::MetadataExt as _, net::UnixStream},
    },
    path::Path,
    thread,
};

use rcmd_transfer::{FileEvent, Observer, Transfer, TransferOptions};
use rustix::fs::inotify;

use crate::ends::{Events, inside, scripted, tree_options};
use crate::script::{
    begin, end, file, file_to_compare, file_with_more_names, folder, hard_link, hello, leave, link,
};

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
    let mut texts = Texts::default();
    hear_with(place, transfer, messages, &mut texts);
    texts.0.lines
}

fn hear_with(place: &Path, transfer: Transfer, messages: &[Vec<u8>], observer: &mut dyn Observer) {
    let (near, far) = UnixStream::pair().unwrap();
    let sender = scripted(far, [hello(1), messages.concat()].concat());
    let reader = near.try_clone().unwrap();
    transfer.receive(reader, near, inside(place), observer).unwrap_err();
    sender.join().unwrap();
}

/// Lets no file be read, and writes a secret into the file `key` as soon as it was compared, if it is told to.
#[derive(Default)]
struct Secretive<'a> {
    events: Events,
    rewritten: Option<&'a Path>,
}

impl Observer for Secretive<'_> {
    fn file(&mut self, event: &FileEvent<'_>) {
        self.events.file(event);
        if let Some(path) = self.rewritten
            && event.path == b"key"
        {
            let changed = || fs::metadata(path).map(|facts| (facts.ctime(), facts.ctime_nsec()));
            let before = changed().unwrap();
            // The clock of a file system goes in steps.
            while changed().unwrap() == before {
                fs::write(path, b"TOPSECRET").unwrap();
            }
        }
    }

    fn may_read(&mut self, _: &[u8], _: BorrowedFd<'_>, _: u64) -> bool {
        false
    }
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

/// Options by which files are compared by their content.
fn comparing(preserve: bool) -> TransferOptions {
    TransferOptions { checksum: true, preserve, ..tree_options() }
}

#[test]
fn a_file_that_was_compared_or_came_has_all_its_names_without_being_read() {
    for preserve in [false, true] {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("key"), b"known").unwrap();
        let messages = [
            file_to_compare(b"key", b"known"),
            file_with_more_names(b"new"),
            hard_link(b"new waits", 1),
            hard_link(b"new waits too", 1),
            hard_link(b"key 2", 0),
            hard_link(b"key 3", 0),
            begin(1, 0, 0),
            end(blake3::hash(b"").as_bytes()),
            hard_link(b"new is there", 1),
            hard_link(b"new is still there", 1),
        ];
        let mut secretive = Secretive::default();
        let transfer = Transfer::with_options(comparing(preserve));
        hear_with(place.path(), transfer, &messages, &mut secretive);
        let lines = secretive.events.lines;
        assert!(!lines.iter().any(|line| line.starts_with("Failed")), "{lines:?}");
        let names = |name: &str| fs::metadata(place.path().join(name)).unwrap().nlink();
        assert_eq!((names("key"), names("new")), (3, 5));
    }
}

#[test]
fn a_file_that_is_written_after_it_was_compared_gets_no_further_name_unread() {
    for preserve in [false, true] {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("key");
        fs::write(&path, b"known").unwrap();
        let messages = [file_to_compare(b"key", b"known"), hard_link(b"got", 0)];
        let mut secretive = Secretive { rewritten: Some(&path), ..Secretive::default() };
        let transfer = Transfer::with_options(comparing(preserve));
        hear_with(place.path(), transfer, &messages, &mut secretive);
        assert_eq!(secretive.events.lines.last().unwrap(), "Failed got denied");
        assert!(!place.path().join("got").exists());
    }
}

#[test]
fn a_file_that_takes_the_name_while_another_is_compared_gets_no_further_name() {
    let place = tempfile::tempdir().unwrap();
    let (key, secret) = (place.path().join("key"), place.path().join("secret"));
    // Long enough to be compared for the other to come meanwhile.
    let content = vec![0; 256 << 20];
    File::create(&key).unwrap().set_len(content.len() as u64).unwrap();
    fs::write(&secret, b"TOPSECRET").unwrap();
    let messages = [file_to_compare(b"key", &content), hard_link(b"got", 0)];
    drop(content);
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&watch, &key, inotify::WatchFlags::OPEN).unwrap();
    let mut secretive = Secretive::default();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut room = [0; 4_096];
            assert!(File::from(watch).read(&mut room).unwrap() > 0);
            fs::rename(&secret, &key).unwrap();
        });
        let transfer = Transfer::with_options(comparing(false));
        hear_with(place.path(), transfer, &messages, &mut secretive);
        // Whoever waits for it still would wait for ever.
        File::open(&key).unwrap();
    });
    assert_eq!(fs::read(&key).unwrap(), b"TOPSECRET");
    assert_eq!(secretive.events.lines, ["Failed got changed"]);
    assert!(!place.path().join("got").exists());
}
