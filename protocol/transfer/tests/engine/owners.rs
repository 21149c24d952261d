//! Whom files belong to: those of the source, those that are named, and those of what is replaced.

use std::{
    fs::{self, File},
    os::unix::fs::{MetadataExt as _, chown, lchown, symlink},
    path::Path,
};

use rcmd_transfer::{
    AccountNames, Destination, FailureKind, MetadataOptions, Transfer, TransferError,
    TransferOptions,
};

use crate::accounts::{as_account, is_root, open_place};
use crate::ends::{Cut, named, run, source, transfer, tree_options};
use crate::tree::{Dice, mode, partials, set_mode, set_time};

fn owner(path: &Path) -> (u32, u32) {
    let facts = fs::symlink_metadata(path).unwrap();
    (facts.uid(), facts.gid())
}

fn options(metadata: MetadataOptions) -> TransferOptions {
    TransferOptions { metadata, ..tree_options() }
}

fn owning(change: &str) -> MetadataOptions {
    MetadataOptions { chown: Some(change.parse().unwrap()), ..MetadataOptions::default() }
}

#[test]
fn owners_are_those_of_the_source_for_files_folders_and_links() {
    if !is_root() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::create_dir_all(path("s/d")).unwrap();
    fs::write(path("s/d/f"), b"content").unwrap();
    fs::write(path("s/large"), vec![b'x'; 400_000]).unwrap();
    symlink("nowhere", path("s/l")).unwrap();
    let names = ["d", "d/f", "large", "l"];
    for (number, name) in names.iter().enumerate() {
        let number = 100_000 + number as u32;
        lchown(path("s").join(name), Some(number), Some(number + 50)).unwrap();
    }
    // What is there belongs to others.
    fs::create_dir_all(path("t/d")).unwrap();
    fs::write(path("t/large"), b"older").unwrap();
    chown(path("t/large"), Some(7), Some(7)).unwrap();
    let metadata = MetadataOptions { owner: true, ..MetadataOptions::default() };
    let from = || vec![source(&path("s"))];
    let top = owner(&path("t"));
    transfer(&options(metadata.clone()), from(), named(&path("t"))).summary();
    for name in names {
        assert_eq!(owner(&path("t").join(name)), owner(&path("s").join(name)), "{name}");
    }
    assert_eq!(owner(&path("t")), top, "the folder that it goes into is its owner's");
    assert_eq!(crate::tree::describe(&path("t")), crate::tree::describe(&path("s")));
    lchown(path("t/d/f"), Some(7), None).unwrap();
    lchown(path("t/l"), Some(7), None).unwrap();
    let again = transfer(&options(metadata), from(), named(&path("t"))).summary().counts;
    assert_eq!((again.sent, again.adjusted), (0, 2));
    assert_eq!(owner(&path("t/d/f")), owner(&path("s/d/f")));
}

#[test]
fn everything_gets_the_owner_that_was_named_before_that_of_the_source() {
    if !is_root() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::create_dir_all(path("s/d")).unwrap();
    fs::write(path("s/d/f"), b"content").unwrap();
    chown(path("s/d/f"), Some(100_000), Some(100_001)).unwrap();
    for (change, keeps, expected) in [
        ("5000", true, (5_000, 100_001)),
        (":6000", true, (100_000, 6_000)),
        ("5000:6000", false, (5_000, 6_000)),
        (":6000", false, (0, 6_000)),
    ] {
        let metadata = MetadataOptions { owner: keeps, ..owning(change) };
        let _ = fs::remove_dir_all(path("t"));
        transfer(&options(metadata), vec![source(&path("s"))], named(&path("t"))).summary();
        assert_eq!(owner(&path("t/d/f")), expected, "{change} {keeps}");
    }
}

#[test]
fn an_owner_that_nobody_knows_ends_it_before_anything_is_made() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::create_dir(path("s")).unwrap();
    for number in 0..2_000 {
        fs::write(path("s").join(number.to_string()), b"").unwrap();
    }
    for change in ["no-such-user", ":no-such-group", "4294967295"] {
        let sender = Transfer::with_options(options(owning(change)));
        let receiver = Transfer::with_peers_options().account_names(AccountNames::of_this_host());
        let from = vec![source(&path("s"))];
        let ended = run(sender, receiver, from, named(&path("t")), |stream| stream);
        let kind = |ended| match ended {
            Err(TransferError::Peer(failure) | TransferError::Local(failure)) => Some(failure.kind),
            _ => None,
        };
        assert_eq!(kind(ended.receiver), Some(FailureKind::NoSuchUser), "{change}");
        assert_eq!(kind(ended.sender), Some(FailureKind::NoSuchUser), "{change}");
        assert!(!path("t").exists());
    }
}

#[test]
fn an_account_keeps_its_groups_and_is_refused_what_only_root_may() {
    if !is_root() {
        return;
    }
    let place = open_place();
    let path = |name: &str| place.path().join(name);
    for (name, user, group) in
        [("own", 1_234, 4_321), ("shared", 1_234, 77), ("other", 1_234, 78), ("root", 0, 0)]
    {
        fs::write(path(name), b"content").unwrap();
        chown(path(name), Some(user), Some(group)).unwrap();
    }
    fs::write(path("t-other"), b"as it was").unwrap();
    let keeping = || MetadataOptions { owner: true, ..MetadataOptions::default() };
    for (name, is_taken) in [("own", true), ("shared", true), ("other", false), ("root", false)] {
        let to = path(&format!("t-{name}"));
        let ended = as_account(&options(keeping()), &path(name), &to);
        let counts = ended.summary().counts;
        assert_eq!((counts.sent, counts.failed), (u64::from(is_taken), u64::from(!is_taken)));
        assert_eq!(ended.received.crossed > 0, is_taken, "what cannot be given is not sent");
        match is_taken {
            true => assert_eq!(owner(&to), owner(&path(name)), "{name}"),
            false => assert_eq!(ended.received.lines, [format!("Failed t-{name} permission")]),
        }
    }
    assert!(!path("t-root").exists());
    assert_eq!(fs::read(path("t-other")).unwrap(), b"as it was");
    assert!(partials(place.path()).is_empty());
    // What has the right owner already needs no right to give it.
    let ended = as_account(&options(keeping()), &path("own"), &path("t-own"));
    assert_eq!(ended.summary().counts.failed, 0);
    let ended = as_account(&options(owning("0")), &path("own"), &path("t"));
    assert_eq!(ended.received.lines, ["Failed t permission"]);
}

#[test]
fn a_new_owner_keeps_no_setuid_bit_of_the_file_that_was_there() {
    if !is_root() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    for name in ["f", "g"] {
        fs::write(path(name), b"content").unwrap();
        set_time(&path(name), 1_600_000_000, 0);
    }
    set_mode(&path("g"), 0o4755);
    let options = TransferOptions { metadata: owning("1234"), ..TransferOptions::default() };
    transfer(&options, vec![source(&path("f"))], named(&path("g"))).summary();
    assert_eq!((owner(&path("g")).0, mode(&path("g"))), (1_234, 0o755));
}

#[test]
fn a_part_is_this_account_s_until_it_is_whole_whoever_it_is_for() {
    if !is_root() {
        return;
    }
    for is_there in [false, true] {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("d");
        let (from, to) = (place.path().join("f"), folder.join("g"));
        fs::create_dir(&folder).unwrap();
        fs::write(&from, Dice::new(4).bytes(6 << 20)).unwrap();
        if is_there {
            fs::write(&to, b"old").unwrap();
            chown(&to, Some(1_234), Some(4_321)).unwrap();
        }
        // The group is named, and the user is that of the file that is there.
        let change = if is_there { ":6000" } else { "5000:6000" };
        let sender = Transfer::with_options(options(owning(change)));
        let cut = |inner| Cut { inner, left: 5 << 20 };
        let receiver = Transfer::with_peers_options();
        assert!(run(sender, receiver, vec![source(&from)], named(&to), cut).sender.is_err());
        let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let left: Vec<_> = entries.filter(|path| *path != to).collect();
        assert_eq!(left.len(), 1, "{left:?}");
        // Also its group: a later transfer may ask for none.
        assert_eq!((owner(&left[0]), mode(&left[0])), (owner(&folder), 0o600));
        let ended = transfer(&options(owning(change)), vec![source(&from)], named(&to));
        assert!(ended.summary().crossed <= 3 << 20, "{:?}", ended.summary());
        assert_eq!(owner(&to), if is_there { (1_234, 6_000) } else { (5_000, 6_000) });
        assert!(partials(&folder).is_empty());
    }
}

#[test]
fn a_folder_that_is_made_for_what_comes_has_the_owner_that_was_named() {
    if !is_root() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::create_dir(path("s")).unwrap();
    fs::write(path("s/f"), b"content").unwrap();
    let new = Destination::new_folder(File::open(place.path()).unwrap().into(), b"new").unwrap();
    let ended = transfer(&options(owning("5000:6000")), vec![source(&path("s"))], new);
    assert!(ended.summary().is_complete(), "{:?}", ended.sent.lines);
    assert_eq!(["new", "new/s", "new/s/f"].map(|name| owner(&path(name))), [(5_000, 6_000); 3]);
}

#[test]
fn a_dry_run_judges_the_owner_that_a_file_would_have() {
    if !is_root() {
        return;
    }
    let place = open_place();
    let path = |name: &str| place.path().join(name);
    fs::write(path("f"), b"content").unwrap();
    fs::write(path("g"), b"of root, and longer").unwrap();
    let dry = |metadata: MetadataOptions, to: &str| {
        let options = TransferOptions { dry_run: true, ..options(metadata) };
        as_account(&options, &path("f"), &path(to)).received.lines
    };
    assert_eq!(dry(MetadataOptions::default(), "g"), ["Failed g permission"]);
    assert_eq!(dry(owning("1234:77"), "g"), ["Replaced g"]);
    assert_eq!(dry(owning("1234"), "g"), ["Failed g permission"], "the group is root's still");
    assert_eq!(dry(owning("0"), "new"), ["Failed new permission"]);
    assert_eq!(dry(owning("1234"), "new"), ["Created new"]);
    assert_eq!(fs::read(path("g")).unwrap(), b"of root, and longer");
    // The real run ends as the dry one.
    let ended = as_account(&options(owning("1234:77")), &path("f"), &path("g"));
    assert_eq!((ended.summary().counts.sent, owner(&path("g"))), (1, (1_234, 77)));
}
