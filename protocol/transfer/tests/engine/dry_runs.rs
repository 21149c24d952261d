//! Runs that change nothing: they fail where the real run would.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, chown},
};

use rcmd_transfer::{Transfer, TransferLimits, TransferOptions};

use crate::accounts::{as_account, is_root, open_place};
use crate::ends::{named, run, source, tree_options};
use crate::tree::{describe, set_mode};

#[test]
fn a_source_that_may_not_be_read_fails_and_its_further_names_with_it() {
    if !is_root() {
        return;
    }
    let place = open_place();
    let path = |name: &str| place.path().join(name);
    fs::create_dir(path("s")).unwrap();
    for name in ["open", "secret"] {
        fs::write(path("s").join(name), b"content").unwrap();
    }
    set_mode(&path("s/secret"), 0o600);
    fs::hard_link(path("s/secret"), path("s/secret too")).unwrap();
    for dry_run in [true, false] {
        let options = TransferOptions { dry_run, ..tree_options() };
        let ended = as_account(&options, &path("s"), &path("d"));
        let mut lines = ended.received.lines.clone();
        lines.sort();
        let expected = [
            "Created d",
            "Created d/open",
            "Failed d/secret permission",
            "Failed d/secret too permission",
        ];
        assert_eq!(lines, expected, "dry: {dry_run}");
        let counts = ended.summary().counts;
        assert_eq!((counts.sent, counts.bytes, counts.failed), (1, 7, 2), "dry: {dry_run}");
        assert_eq!(path("d").exists(), !dry_run);
    }
}

#[test]
fn what_is_there_and_another_s_is_not_brought_up_to_date() {
    if !is_root() {
        return;
    }
    let place = open_place();
    let path = |name: &str| place.path().join(name);
    for folder in ["s/below", "d/below"] {
        fs::create_dir_all(path(folder)).unwrap();
        fs::write(path(folder).join("f"), b"content").unwrap();
    }
    let times = fs::metadata(path("s/below/f")).unwrap().modified().unwrap();
    fs::File::open(path("d/below/f")).unwrap().set_modified(times).unwrap();
    set_mode(&path("s/below/f"), 0o640);
    chown(path("s/below/f"), Some(1_234), None).unwrap();
    for folder in ["d", "d/below"] {
        set_mode(&path(folder), 0o777);
    }
    let before = describe(&path("d"));
    for dry_run in [true, false] {
        let options = TransferOptions { dry_run, ..tree_options() };
        let ended = as_account(&options, &path("s"), &path("d"));
        let failed = |lines: &[String]| {
            let mut failed: Vec<_> =
                lines.iter().filter(|line| line.starts_with("Failed")).cloned().collect();
            failed.sort();
            failed
        };
        // The folder that was named keeps what it has.
        let expected = ["Failed d/below permission", "Failed d/below/f permission"];
        assert_eq!(failed(&ended.received.lines), expected, "dry: {dry_run}");
        assert_eq!(describe(&path("d")), before, "dry: {dry_run}");
    }
    assert_eq!(fs::metadata(path("d")).unwrap().uid(), 0);
}

#[test]
fn sizes_are_judged_and_nothing_of_a_file_crosses() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::write(path("f"), vec![b'x'; 3 << 20]).unwrap();
    for (most, sent) in [(3 << 20, 1), ((3 << 20) - 1, 0)] {
        let options = TransferOptions { dry_run: true, ..tree_options() };
        let limits = TransferLimits { file_bytes: most, ..TransferLimits::default() };
        let receiver = Transfer::with_peers_options().limits(limits);
        let sender = Transfer::with_options(options);
        let ended =
            run(sender, receiver, vec![source(&path("f"))], named(&path("g")), |stream| stream);
        let summary = ended.summary();
        assert_eq!((summary.counts.sent, summary.crossed), (sent, 0), "{most}");
    }
    assert!(!path("g").exists());
}
