//! Transfers that are cut, and taken up again.
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

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use ends::{Cut, Ended, named, rounds, run, source, transfer, tree_options};
use rcmd_transfer::{Destination, Landing, Transfer, TransferError, TransferOptions};
use tree::{Dice, describe, fill, partials, set_mode, set_time};

/// Transfers until so many bytes of the sender have passed.
fn cut_after(bytes: usize, options: &TransferOptions, from: &Path, to: &Path) -> Ended {
    let sender = Transfer::with_options(options.clone());
    let receiver = Transfer::with_peers_options();
    let cut = |inner| Cut { inner, left: bytes };
    run(sender, receiver, vec![source(from)], named(to), cut)
}

/// Checks that each file that has its name is as it is at the source.
fn assert_whole(from: &Path, to: &Path) {
    let entries = fs::read_dir(to).map_or_else(|_| Vec::new(), Iterator::collect);
    for entry in entries.into_iter().map(Result::unwrap) {
        let (path, facts) = (entry.path(), entry.file_type().unwrap());
        let twin = from.join(entry.file_name());
        if facts.is_dir() {
            assert_whole(&twin, &path);
        } else if facts.is_file() && !entry.file_name().to_string_lossy().contains(".rcmd-part-") {
            assert!(fs::read(&path).unwrap() == fs::read(&twin).unwrap(), "{}", path.display());
        }
    }
}

/// The bytes that a cut costs at most: the rest of a range, and what is under way.
const LOST: u64 = 2 << 20;

#[test]
fn a_tree_that_is_cut_anywhere_is_taken_up_and_little_is_sent_twice() {
    let cuts = rounds(40);
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("from"), place.path().join("to"));
    fill(&from, 11);
    let mut dice = Dice::new(4);
    for name in ["a-large", "z-large"] {
        let path = from.join(name);
        fs::write(&path, dice.bytes(6 << 20)).unwrap();
        set_time(&path, 1_600_000_000, 123_456_789);
    }
    set_time(&from, 1_600_000_000, 5);
    let whole = transfer(&tree_options(), vec![source(&from)], named(&to)).summary();
    fs::remove_dir_all(&to).unwrap();
    let (mut done, mut crossed, mut failed) = (0, 0, 0);
    while done < cuts {
        let bytes = dice.roll(4 << 20) as usize;
        let ended = cut_after(bytes, &tree_options(), &from, &to);
        crossed += ended.sent.crossed;
        match ended.sender {
            Err(_) => {
                failed += 1;
                done += 1;
                assert!(
                    matches!(ended.receiver, Err(TransferError::Lost(_))),
                    "{:?}",
                    ended.receiver
                );
                assert_whole(&from, &to);
            }
            Ok(_) => {
                assert_eq!(describe(&to), describe(&from));
                assert!(partials(&to).is_empty());
                let most = whole.crossed + failed * LOST;
                assert!(crossed <= most, "{crossed} bytes in {failed} cuts, not {most}");
                fs::remove_dir_all(&to).unwrap();
                (crossed, failed) = (0, 0);
            }
        }
    }
    let ended = transfer(&tree_options(), vec![source(&from)], named(&to));
    crossed += ended.summary().crossed;
    assert_eq!(describe(&to), describe(&from));
    assert!(partials(&to).is_empty());
    assert!(crossed <= whole.crossed + failed * LOST);
}

#[test]
fn nothing_that_looks_finished_is_left_of_a_file_that_was_cut() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("f"), place.path().join("d/g"));
    fs::create_dir(place.path().join("d")).unwrap();
    fs::write(&from, Dice::new(1).bytes(3 << 20)).unwrap();
    fs::write(&to, b"the old one").unwrap();
    assert!(cut_after(2 << 20, &tree_options(), &from, &to).sender.is_err());
    assert_eq!(fs::read(&to).unwrap(), b"the old one");
    let left = partials(&place.path().join("d"));
    assert_eq!(left.len(), 1, "{left:?}");
    let ended = transfer(&tree_options(), vec![source(&from)], named(&to));
    assert!(ended.summary().crossed < 3 << 20);
    assert_eq!(fs::read(&to).unwrap(), fs::read(&from).unwrap());
    assert!(partials(&place.path().join("d")).is_empty());
}

#[test]
fn a_part_that_differs_is_sent_again_from_there() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("d");
    let (from, to) = (place.path().join("f"), folder.join("g"));
    fs::create_dir(&folder).unwrap();
    let content = Dice::new(2).bytes(8 << 20);
    fs::write(&from, &content).unwrap();
    assert!(cut_after(6 << 20, &tree_options(), &from, &to).sender.is_err());
    // The disk lost a page of the fourth mebibyte.
    let partial = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let mut part = fs::read(&partial).unwrap();
    assert!(part.len() > 5 << 20, "{}", part.len());
    part[(3 << 20) + 5] ^= 1;
    fs::write(&partial, part).unwrap();
    let ended = transfer(&tree_options(), vec![source(&from)], named(&to));
    let crossed = ended.summary().crossed;
    assert_eq!(crossed, 5 << 20);
    assert_eq!(fs::read(&to).unwrap(), content);
}

#[test]
fn a_file_that_was_cut_goes_on_whichever_way_its_place_is_written() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("d");
    let from = place.path().join("f");
    fs::create_dir(&folder).unwrap();
    fs::write(&from, Dice::new(5).bytes(6 << 20)).unwrap();
    for (path, is_there) in [("d/new", false), ("d/there", true), ("d", false)] {
        if is_there {
            fs::write(place.path().join(path), b"old").unwrap();
        }
        let start = fs::File::open(place.path()).unwrap();
        let to = || Destination::at(&start, path.as_bytes(), Landing::default()).unwrap();
        let sender = Transfer::with_options(tree_options());
        let cut = |inner| Cut { inner, left: 5 << 20 };
        let receiver = Transfer::with_peers_options();
        assert!(run(sender, receiver, vec![source(&from)], to(), cut).sender.is_err());
        let ended = transfer(&tree_options(), vec![source(&from)], to());
        assert!(ended.summary().crossed <= 3 << 20, "{path}: {:?}", ended.summary());
        assert!(partials(&folder).is_empty());
    }
}

#[test]
fn an_empty_part_is_left_to_whoever_made_it() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("d");
    let (from, to) = (place.path().join("f"), folder.join("g"));
    fs::create_dir(&folder).unwrap();
    fs::write(&from, Dice::new(3).bytes(3 << 20)).unwrap();
    assert!(cut_after(2 << 20, &tree_options(), &from, &to).sender.is_err());
    // Another transfer has just made it, and will lock it.
    let part = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    fs::File::options().write(true).open(&part).unwrap().set_len(0).unwrap();
    let ended = transfer(&tree_options(), vec![source(&from)], named(&to));
    assert_eq!(ended.summary().crossed, 3 << 20);
    assert_eq!(fs::read(&to).unwrap(), fs::read(&from).unwrap());
    assert_eq!(fs::metadata(&part).unwrap().len(), 0);
}

#[test]
fn a_part_of_a_file_that_is_another_s_is_taken_up_and_is_its_own_when_it_is_whole() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("d");
    let (from, to) = (place.path().join("f"), folder.join("g"));
    fs::create_dir(&folder).unwrap();
    fs::write(&from, Dice::new(4).bytes(6 << 20)).unwrap();
    fs::write(&to, b"old").unwrap();
    std::os::unix::fs::chown(&to, Some(1_234), Some(4_321)).unwrap();
    assert!(cut_after(5 << 20, &tree_options(), &from, &to).sender.is_err());
    let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let left: Vec<_> = entries.filter(|path| *path != to).collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(fs::metadata(&left[0]).unwrap().uid(), 0);
    let ended = transfer(&tree_options(), vec![source(&from)], named(&to));
    assert!(ended.summary().crossed <= 3 << 20, "{:?}", ended.summary());
    let facts = fs::metadata(&to).unwrap();
    assert_eq!((facts.uid(), facts.gid(), facts.len()), (1_234, 4_321, 6 << 20));
    assert!(partials(&folder).is_empty());
}

#[test]
fn a_part_that_is_not_this_account_s_own_is_not_taken_up() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("d");
    let (from, to) = (place.path().join("f"), folder.join("g"));
    fs::create_dir(&folder).unwrap();
    fs::write(&from, Dice::new(3).bytes(3 << 20)).unwrap();
    assert!(cut_after(2 << 20, &tree_options(), &from, &to).sender.is_err());
    let partial = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    // A second name, by which somebody could change it at any time.
    fs::hard_link(&partial, place.path().join("elsewhere")).unwrap();
    let ended = transfer(&tree_options(), vec![source(&from)], named(&to));
    assert_eq!(ended.summary().crossed, 3 << 20);
    assert_eq!(fs::metadata(&to).unwrap().nlink(), 1);
    assert!(partial.exists());
}

#[test]
fn a_file_in_place_goes_on_from_where_it_is_the_same() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("f"), place.path().join("g"));
    let content = Dice::new(6).bytes(4 << 20);
    fs::write(&from, &content).unwrap();
    fs::write(&to, &content[..3 << 20]).unwrap();
    let options = TransferOptions { in_place: true, ..tree_options() };
    let sender = Transfer::with_options(options);
    let receiver = Transfer::with_peers_options().offering_in_place();
    let ended = run(sender, receiver, vec![source(&from)], named(&to), |stream| stream);
    assert_eq!(ended.summary().crossed, 1 << 20);
    assert_eq!(fs::read(&to).unwrap(), content);
}

#[test]
fn a_file_in_place_that_is_cut_runs_as_nobody_else() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("f"), place.path().join("g"));
    fs::write(&from, Dice::new(7).bytes(4 << 20)).unwrap();
    fs::write(&to, b"a program").unwrap();
    set_mode(&to, 0o6755);
    let options = TransferOptions { in_place: true, ..tree_options() };
    assert!(cut_after(2 << 20, &options, &from, &to).sender.is_err());
    let facts = fs::metadata(&to).unwrap();
    assert!(facts.len() > 1 << 20, "{}", facts.len());
    assert_eq!(facts.mode() & 0o7777, 0o755);
}

#[test]
fn two_writers_of_one_file_leave_one_of_the_two_whole() {
    let place = tempfile::tempdir().unwrap();
    let to = place.path().join("to");
    let contents = [1, 2].map(|seed| Dice::new(seed).bytes(1 << 20));
    let sources = [0, 1].map(|number| place.path().join(format!("from{number}")));
    for (path, content) in sources.iter().zip(&contents) {
        fs::write(path, content).unwrap();
    }
    for _ in 0..20 {
        std::thread::scope(|scope| {
            for path in &sources {
                scope.spawn(|| {
                    let ended = transfer(&tree_options(), vec![source(path)], named(&to));
                    assert_eq!(ended.summary().counts.failed, 0, "{:?}", ended.received.lines);
                });
            }
        });
        let whole = fs::read(&to).unwrap();
        assert!(contents.contains(&whole));
    }
    assert!(partials(place.path()).is_empty());
}

/// Leaves a part of a file of 8 MiB at its place.
fn leave_part(from: &Path, to: &Path) {
    fs::create_dir(to.parent().unwrap()).unwrap();
    fs::write(from, Dice::new(7).bytes(8 << 20)).unwrap();
    let _ = cut_after(6 << 20, &tree_options(), from, to);
    assert_eq!(partials(to.parent().unwrap()).len(), 1);
}

#[test]
fn a_part_is_taken_in_a_folder_that_is_open_for_its_names_alone() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("f"), place.path().join("d/g"));
    leave_part(&from, &to);
    // As a path that was typed is opened.
    let start = fs::File::open(place.path()).unwrap();
    let typed = Destination::at(&start, b"d/g", Landing::default()).unwrap();
    let ended = transfer(&tree_options(), vec![source(&from)], typed).summary();
    assert!(ended.crossed < 4 << 20, "{ended:?}");
    assert!(fs::read(&from).unwrap() == fs::read(&to).unwrap());
}

#[test]
fn a_part_that_another_transfer_still_holds_is_gone_on_from_and_left_to_it() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("f"), place.path().join("d/g"));
    leave_part(&from, &to);
    let part = fs::read_dir(place.path().join("d")).unwrap().next().unwrap().unwrap().path();
    let held = fs::File::open(&part).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let before = fs::read(&part).unwrap();
    let ended = transfer(&tree_options(), vec![source(&from)], named(&to)).summary();
    assert!(ended.crossed < 4 << 20, "{ended:?}");
    assert!(fs::read(&from).unwrap() == fs::read(&to).unwrap());
    assert!(fs::read(&part).unwrap() == before);
}

#[test]
fn of_several_parts_the_longest_is_taken_and_the_others_go() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("f"), place.path().join("d/g"));
    leave_part(&from, &to);
    let part = fs::read_dir(place.path().join("d")).unwrap().next().unwrap().unwrap().path();
    let name = part.file_name().unwrap().to_str().unwrap().to_owned();
    let short = part.with_file_name(format!("{}0123456789abcdef", &name[..name.len() - 16]));
    fs::write(&short, &fs::read(&part).unwrap()[..2 << 20]).unwrap();
    set_mode(&short, 0o600);
    let ended = transfer(&tree_options(), vec![source(&from)], named(&to)).summary();
    assert!(ended.crossed < 4 << 20, "{ended:?}");
    assert_eq!(fs::read_dir(place.path().join("d")).unwrap().count(), 1);
}
