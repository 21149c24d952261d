//! Deletion of what the source lacks: nothing goes that was not to go.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "tests may wait")]
// A panic is how a test fails; clippy exempts test functions, not those beside them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[path = "support/ends.rs"]
#[allow(dead_code, unreachable_pub, missing_docs)] // Each test program uses a part of it.
mod ends;
#[path = "support/tree.rs"]
#[allow(dead_code, unreachable_pub, missing_docs)] // Each test program uses a part of it.
mod tree;

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use ends::{Ended, inside, named, source, transfer, tree_options};
use rcmd_transfer::{FileRules, TransferOptions, Withheld};
use tree::{describe, set_mode, set_time};

fn deleting() -> TransferOptions {
    TransferOptions { delete: true, ..tree_options() }
}

fn mirror(options: &TransferOptions, from: &Path, to: &Path) -> Ended {
    transfer(options, vec![source(from)], named(to))
}

/// Makes files with these names, and the folders that they are in.
fn make(folder: &Path, names: &[&str]) {
    for name in names {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"content").unwrap();
    }
}

#[test]
fn what_the_source_lacks_goes_last_and_folders_keep_their_times() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("s"), place.path().join("d"));
    make(&from, &["a", "b", "sub/c", "sub/d", "ro/e"]);
    make(&to, &["a", "old", "sub/old", "sub/gone/x/y", "ro/old"]);
    std::os::unix::fs::symlink("/etc", to.join("link")).unwrap();
    set_mode(&to.join("ro"), 0o555);
    for name in ["sub", "ro"] {
        set_time(&from.join(name), 1_234_567_890, 0);
    }
    set_mode(&from.join("ro"), 0o555);
    let options = TransferOptions { max_delete: Some(100), ..deleting() };
    let ended = mirror(&options, &from, &to);
    let summary = ended.summary();
    assert_eq!((summary.counts.deleted, summary.withheld), (7, None), "{:?}", ended.sent.lines);
    assert_eq!(describe(&to), describe(&from));
    let deleted = ended.sent.lines.iter().position(|line| line.starts_with("Deleted")).unwrap();
    let rest = &ended.sent.lines[deleted..];
    assert!(rest.iter().all(|line| line.starts_with("Deleted")), "{rest:?}");
}

#[test]
fn nothing_goes_when_anything_failed_or_was_stopped() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("s"), place.path().join("d"));
    make(&from, &["a", "b"]);
    make(&to, &["a", "b", "c", "old"]);
    let mode = rustix::fs::Mode::RUSR;
    let pipe = from.join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let ended = mirror(&deleting(), &from, &to);
    assert_eq!(ended.summary().withheld, Some(Withheld::Incomplete));
    assert!(to.join("old").exists());
    // It is not there any more: what is left over goes.
    fs::remove_file(&pipe).unwrap();
    let ended = mirror(&deleting(), &from, &to);
    assert_eq!((ended.summary().withheld, ended.summary().counts.deleted), (None, 2));
}

#[test]
fn an_empty_source_deletes_nothing_unless_that_is_said() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("s"), place.path().join("d"));
    fs::create_dir_all(from.join("only/folders")).unwrap();
    make(&from, &["left-out.log"]);
    make(&to, &["a", "b", "c"]);
    let rules = FileRules::new(["*.log"]).unwrap();
    let options = TransferOptions { rules, ..deleting() };
    let ended = mirror(&options, &from, &to);
    assert_eq!(ended.summary().withheld, Some(Withheld::EmptySource));
    assert_eq!((ended.summary().counts.deleted, ended.summary().counts.failed), (0, 1));
    assert!(!ended.summary().is_complete());
    assert_eq!(ended.sent.lines.last().unwrap(), "Failed  too_big");
    let options = TransferOptions { max_delete: Some(3), ..options };
    let ended = mirror(&options, &from, &to);
    assert_eq!((ended.summary().counts.deleted, ended.summary().withheld), (3, None));
}

#[test]
fn no_more_goes_than_half_of_what_is_there_or_what_was_said() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("s"), place.path().join("d"));
    make(&from, &["a"]);
    make(&to, &["a", "x/1", "x/2", "x/3"]);
    let ended = mirror(&deleting(), &from, &to);
    assert_eq!(ended.summary().withheld, Some(Withheld::TooMany));
    assert_eq!((ended.summary().counts.deleted, ended.summary().counts.failed), (0, 1));
    // A dry run names them all, and ends in the same way.
    let dry = TransferOptions { dry_run: true, ..deleting() };
    let ended = mirror(&dry, &from, &to);
    assert_eq!(ended.summary().withheld, Some(Withheld::TooMany));
    assert_eq!((ended.summary().counts.deleted, ended.summary().counts.failed), (4, 1));
    assert!(to.join("x/1").exists());
    for (most, withheld) in [(3, Some(Withheld::TooMany)), (4, None)] {
        let options = TransferOptions { max_delete: Some(most), ..deleting() };
        assert_eq!(mirror(&options, &from, &to).summary().withheld, withheld);
        assert_eq!(to.join("x/1").exists(), withheld.is_some());
    }
}

#[test]
fn what_comes_does_not_count_as_what_is_there() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("s"), place.path().join("d"));
    // The wrong folder: nothing in it is known to the source, which is larger.
    let names: Vec<_> = (0..50).map(|number| format!("f{number}")).collect();
    make(&from, &names.iter().map(String::as_str).collect::<Vec<_>>());
    fs::create_dir(from.join("new")).unwrap();
    std::os::unix::fs::symlink("f1", from.join("link")).unwrap();
    make(&to, &["precious", "sub/more", "f7"]);
    let ended = mirror(&deleting(), &from, &to);
    assert_eq!(
        (ended.summary().withheld, ended.summary().counts.deleted),
        (Some(Withheld::TooMany), 0)
    );
    assert!(to.join("precious").exists() && to.join("sub/more").exists());
    // By now the others are there.
    let ended = mirror(&deleting(), &from, &to);
    assert_eq!((ended.summary().withheld, ended.summary().counts.deleted), (None, 3));
}

#[test]
fn what_is_left_out_is_spared_with_the_folders_that_it_is_in() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("s"), place.path().join("d"));
    make(&from, &["a", "b", "c", "d", "e"]);
    make(&to, &["keep.log", "x/keep.log", "x/gone", "logs/any", "old"]);
    let partial = ".rcmd-part-0123456789abcdef-0123456789abcdef";
    make(&to, &[partial, &format!("x/{partial}")]);
    let rules = FileRules::new(["*.log", "/logs/"]).unwrap();
    let options = TransferOptions { rules, max_delete: Some(10), ..deleting() };
    let ended = mirror(&options, &from, &to);
    assert_eq!(ended.summary().withheld, None, "{:?}", ended.sent.lines);
    for kept in ["keep.log", "x/keep.log", "logs/any", partial] {
        assert!(to.join(kept).exists(), "{kept}");
    }
    assert!(!to.join("x/gone").exists() && !to.join("old").exists());
}

#[test]
fn a_partial_file_goes_when_its_transfer_is_over_for_good() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("s"), place.path().join("d"));
    make(&from, &["a"]);
    let partial = ".rcmd-part-0123456789abcdef-0123456789abcdef";
    make(&to, &["a", partial]);
    set_mode(&to.join(partial), 0o600);
    set_time(&to.join(partial), 1_000_000_000, 0);
    mirror(&deleting(), &from, &to).summary();
    assert!(!to.join(partial).exists());
}

#[test]
fn only_folders_that_the_source_has_are_compared() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("s"), place.path().join("d"));
    make(&from, &["a"]);
    make(&to, &["other", "s/old", "s/b", "s/a"]);
    let options = TransferOptions { max_delete: Some(100), ..deleting() };
    let ended = transfer(&options, vec![source(&from)], inside(&to));
    assert_eq!(ended.summary().counts.deleted, 2);
    assert!(to.join("other").exists() && to.join("s/a").exists() && !to.join("s/old").exists());
}

#[test]
fn a_link_is_deleted_and_not_what_it_leads_to() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("s"), place.path().join("d"));
    make(&from, &["a"]);
    make(&to, &["a"]);
    make(place.path(), &["canary/own"]);
    let before = fs::metadata(place.path().join("canary/own")).unwrap().ino();
    std::os::unix::fs::symlink("../canary", to.join("link")).unwrap();
    let options = TransferOptions { max_delete: Some(9), ..deleting() };
    assert_eq!(mirror(&options, &from, &to).summary().counts.deleted, 1);
    assert_eq!(fs::metadata(place.path().join("canary/own")).unwrap().ino(), before);
}
