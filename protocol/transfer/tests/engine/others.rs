//! Places in which others may put things, and give what is there other names.

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt as _, MetadataExt as _, chown},
};

use rcmd_transfer::{MetadataOptions, Transfer, TransferOptions};
use rustix::fs::{XattrFlags, getxattr, setxattr};

use crate::accounts::{is_root, open_place};
use crate::ends::{Cut, inside, named, run, source, transfer, tree_options};
use crate::tree::{Dice, mode, partials, set_mode};

const MARK: &str = "user.rcmd.unfinished";

#[test]
fn a_part_that_others_may_have_open_is_copied_and_goes() {
    if !is_root() {
        return;
    }
    let place = open_place();
    let (from, to) = (place.path().join("f"), place.path().join("g"));
    fs::write(&from, Dice::new(4).bytes(6 << 20)).unwrap();
    let cut = |inner| Cut { inner, left: 5 << 20 };
    let sender = Transfer::with_options(tree_options());
    let receiver = Transfer::with_peers_options();
    assert!(run(sender, receiver, vec![source(&from)], named(&to), cut).sender.is_err());
    let part = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().path());
    let part = part.into_iter().find(|path| *path != from).unwrap();
    let open = File::options().read(true).write(true).open(&part).unwrap();
    let ended = transfer(&tree_options(), vec![source(&from)], named(&to));
    assert!(ended.summary().crossed <= 3 << 20, "{:?}", ended.summary());
    assert!(partials(place.path()).is_empty());
    // Whoever has the part open has another file.
    open.write_all_at(b"changed", 0).unwrap();
    assert!(fs::read(&from).unwrap() == fs::read(&to).unwrap());
}

#[test]
fn a_part_of_a_group_that_new_files_do_not_have_is_copied() {
    if !is_root() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("d");
    fs::create_dir(&folder).unwrap();
    let (from, to) = (place.path().join("f"), folder.join("g"));
    fs::write(&from, Dice::new(4).bytes(6 << 20)).unwrap();
    set_mode(&from, 0o640);
    let cut = |inner| Cut { inner, left: 5 << 20 };
    let sender = Transfer::with_options(tree_options());
    let receiver = Transfer::with_peers_options();
    assert!(run(sender, receiver, vec![source(&from)], named(&to), cut).sender.is_err());
    let part = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    chown(&part, None, Some(4_321)).unwrap();
    let ended = transfer(&tree_options(), vec![source(&from)], named(&to));
    assert!(ended.summary().crossed <= 3 << 20, "{:?}", ended.summary());
    let group = fs::metadata(&folder).unwrap().gid();
    assert_eq!((fs::metadata(&to).unwrap().gid(), mode(&to)), (group, 0o640));
    assert!(partials(&folder).is_empty());
}

#[test]
fn an_unfinished_folder_that_got_another_name_is_not_opened() {
    if !is_root() {
        return;
    }
    let place = open_place();
    let path = |name: &str| place.path().join(name);
    for (name, bits) in [("private", 0o700), ("public", 0o755)] {
        fs::create_dir_all(path("s").join(name)).unwrap();
        fs::write(path("s").join(name).join("f"), b"content").unwrap();
        set_mode(&path("s").join(name), bits);
    }
    let options = TransferOptions { keep_folders: true, ..tree_options() };
    let send = || transfer(&options, vec![source(&path("s"))], inside(&path("to"))).summary();
    fs::create_dir(path("to")).unwrap();
    assert!(send().is_complete());
    chown(path("to/s"), Some(1_234), None).unwrap();
    let (private, public) = (path("to/s/private"), path("to/s/public"));
    // No attribute stays.
    assert!(getxattr(&private, MARK, &mut [0; 64][..]).is_err());
    // As an interrupted transfer leaves them.
    let above = fs::metadata(path("to/s")).unwrap().ino();
    for folder in [&private, &public] {
        set_mode(folder, 0o5700);
        let name = folder.file_name().unwrap().to_str().unwrap();
        let noted = format!("{above}/{name}");
        if setxattr(folder, MARK, noted.as_bytes(), XattrFlags::empty()).is_err() {
            return println!("skipped: needs attributes of users");
        }
    }
    fs::rename(&public, path("to/s/away")).unwrap();
    fs::rename(&private, &public).unwrap();
    assert!(send().is_complete());
    assert_eq!(mode(&public), 0o5700);
    // Under its own name each is finished.
    fs::rename(&public, path("to/s/gone")).unwrap();
    fs::rename(path("to/s/away"), &public).unwrap();
    assert!(send().is_complete());
    assert_eq!((mode(&public), mode(&private)), (0o755, 0o700));
    assert!(getxattr(&public, MARK, &mut [0; 64][..]).is_err());
}

#[test]
fn a_folder_that_somebody_made_where_everybody_may_is_not_entered() {
    if !is_root() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    for folder in ["x", "to", "to/x"] {
        fs::create_dir(path(folder)).unwrap();
    }
    fs::write(path("x/key"), b"secret").unwrap();
    set_mode(&path("to"), 0o1777);
    chown(path("to/x"), Some(1_234), None).unwrap();
    for dry_run in [true, false] {
        let options = TransferOptions { dry_run, ..tree_options() };
        let ended = transfer(&options, vec![source(&path("x"))], inside(&path("to")));
        assert_eq!(ended.sent.lines, ["Failed x permission", "Failed x/key permission"]);
        assert!(!path("to/x/key").exists());
    }
}

#[test]
fn a_file_that_gets_another_owner_keeps_nothing_that_the_former_let_others_do() {
    if !is_root() {
        return;
    }
    let place = open_place();
    let (from, to) = (place.path().join("f"), place.path().join("g"));
    fs::write(&from, b"content").unwrap();
    set_mode(&from, 0o640);
    for (change, expected) in [("0:0", 0o640), (":0", 0o666)] {
        fs::write(&to, b"of another").unwrap();
        chown(&to, Some(1_234), Some(4_321)).unwrap();
        set_mode(&to, 0o666);
        let metadata =
            MetadataOptions { chown: Some(change.parse().unwrap()), ..MetadataOptions::default() };
        let options = TransferOptions { metadata, preserve: false, ..tree_options() };
        assert!(transfer(&options, vec![source(&from)], named(&to)).summary().is_complete());
        assert_eq!(mode(&to), expected, "{change}");
        fs::remove_file(&to).unwrap();
    }
}
