//! What stands in the place of a file: what the new one keeps of it, and what is never replaced.
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
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
};

use ends::{named, run, source, transfer, tree_options};
use rcmd_transfer::{Transfer, TransferOptions};
use tree::{make_pipe, set_mode, set_time};

#[test]
fn without_preserve_a_new_file_has_the_source_s_bits_less_the_umask() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("f"), place.path().join("g"));
    fs::write(&from, b"content").unwrap();
    set_mode(&from, 0o4777);
    set_time(&from, 1_000_000_000, 0);
    let options = TransferOptions::default();
    let receiver = Transfer::with_peers_options().umask(0o027);
    let sender = Transfer::with_options(options);
    let ended = run(sender, receiver, vec![source(&from)], named(&to), |stream| stream);
    ended.summary();
    let facts = fs::metadata(&to).unwrap();
    assert_eq!(facts.mode() & 0o7777, 0o750);
    assert_ne!(facts.mtime(), 1_000_000_000);
}

#[test]
fn a_file_that_is_replaced_keeps_its_bits_unless_they_are_preserved() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("f"), place.path().join("g"));
    for preserve in [false, true] {
        fs::write(&from, b"new").unwrap();
        set_mode(&from, 0o644);
        fs::write(&to, b"old content").unwrap();
        set_mode(&to, 0o4600);
        let options = TransferOptions { preserve, ..TransferOptions::default() };
        let ended = transfer(&options, vec![source(&from)], named(&to));
        assert_eq!(ended.summary().counts.sent, 1);
        assert_eq!(fs::read(&to).unwrap(), b"new");
        // The setuid bit is for the content that was there.
        let expected = if preserve { 0o644 } else { 0o600 };
        assert_eq!(fs::metadata(&to).unwrap().mode() & 0o7777, expected);
    }
}

#[test]
fn a_file_that_is_replaced_keeps_its_owner() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("f"), place.path().join("g"));
    for size in [3, 400_000] {
        fs::write(&from, vec![b'n'; size]).unwrap();
        fs::write(&to, b"old content").unwrap();
        set_mode(&to, 0o600);
        std::os::unix::fs::chown(&to, Some(1_234), Some(4_321)).unwrap();
        let ended = transfer(&tree_options(), vec![source(&from)], named(&to));
        assert_eq!(ended.summary().counts.sent, 1);
        let facts = fs::metadata(&to).unwrap();
        assert_eq!((facts.uid(), facts.gid(), facts.len()), (1_234, 4_321, size as u64));
    }
}

#[test]
fn what_somebody_else_made_first_in_a_sticky_folder_is_not_filled() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let (from, shared) = (place.path().join("f"), place.path().join("shared"));
    fs::write(&from, b"a secret").unwrap();
    set_mode(&from, 0o600);
    set_time(&from, 1_700_000_000, 0);
    fs::create_dir(&shared).unwrap();
    set_mode(&shared, 0o1777);
    let planted = |name: &str, owner: u32, content: &[u8]| {
        let path = shared.join(name);
        // The kernel may let nobody write over what is somebody else's here.
        let _ = fs::remove_file(&path);
        fs::write(&path, content).unwrap();
        set_mode(&path, 0o666);
        set_time(&path, 1_700_000_000, 0);
        std::os::unix::fs::chown(&path, Some(owner), None).unwrap();
        path
    };
    let in_place = TransferOptions { in_place: true, ..tree_options() };
    for options in [TransferOptions::default(), tree_options(), in_place] {
        // One of the same size and time would be taken for what was sent.
        for content in [&b"bait"[..], b"8 bytes!"] {
            let path = planted("secret", 65_534, content);
            let ended = transfer(&options, vec![source(&from)], named(&path));
            let counts = ended.summary().counts;
            assert_eq!((counts.sent, counts.failed), (0, 1), "{options:?}");
            assert!(
                ended.received.lines.iter().any(|line| line.contains("permission")),
                "{options:?}"
            );
            assert_eq!(fs::read(&path).unwrap(), content);
            let facts = fs::metadata(&path).unwrap();
            assert_eq!((facts.uid(), facts.mode() & 0o7777), (65_534, 0o666));
            assert_eq!(fs::read_dir(&shared).unwrap().count(), 1);
        }
        // Its own is replaced, and so is one where nobody else makes files.
        let own = planted("secret", 0, b"old");
        assert_eq!(transfer(&options, vec![source(&from)], named(&own)).summary().counts.sent, 1);
        set_mode(&shared, 0o755);
        let other = planted("secret", 65_534, b"old");
        assert_eq!(transfer(&options, vec![source(&from)], named(&other)).summary().counts.sent, 1);
        set_mode(&shared, 0o1777);
    }
}

#[test]
fn a_file_that_is_replaced_hands_on_its_own_attributes_and_no_privileges() {
    use rustix::fs::{XattrFlags, getxattr, setxattr};
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("f"), place.path().join("g"));
    fs::write(&from, b"new").unwrap();
    fs::write(&to, b"old content").unwrap();
    let set = |name: &str, value: &[u8]| setxattr(&to, name, value, XattrFlags::empty());
    if set("user.note", b"kept").is_err() {
        println!("skipped: needs attributes of users");
        return;
    }
    // What a program may do: version 2, effective, CAP_NET_RAW; only root can set it.
    let mut privileges = [0; 20];
    (privileges[0], privileges[3], privileges[5]) = (1, 2, 0x20);
    let had = set("security.capability", &privileges).is_ok();
    let inode = fs::metadata(&to).unwrap().ino();
    transfer(&tree_options(), vec![source(&from)], named(&to)).summary();
    assert_ne!(fs::metadata(&to).unwrap().ino(), inode);
    let mut value = [0; 64];
    let length = getxattr(&to, "user.note", &mut value[..]).unwrap();
    assert_eq!(&value[..length], b"kept");
    assert!(getxattr(&to, "security.capability", &mut value[..]).is_err(), "it had them: {had}");
}

#[test]
fn a_file_that_is_replaced_gets_no_access_list_from_its_folder() {
    use rustix::fs::{XattrFlags, getxattr, setxattr};
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("d");
    let (from, to) = (place.path().join("f"), folder.join("g"));
    fs::create_dir(&folder).unwrap();
    fs::write(&to, b"old content").unwrap();
    set_mode(&to, 0o640);
    // Version 2: the owner rwx, user 65534 r, the group r, the mask r, others nothing.
    let none = u32::MAX;
    let entries = [(1, 7, none), (2, 4, 65_534), (4, 4, none), (0x10, 4, none), (0x20, 0, none)];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        list.extend([u16::to_le_bytes(tag), u16::to_le_bytes(permissions)].concat());
        list.extend(u32::to_le_bytes(id));
    }
    if setxattr(&folder, "system.posix_acl_default", &list, XattrFlags::empty()).is_err() {
        println!("skipped: needs access lists");
        return;
    }
    for size in [7, 400_000] {
        fs::write(&from, vec![b'n'; size]).unwrap();
        set_mode(&from, 0o600);
        let options = TransferOptions { preserve: false, ..tree_options() };
        transfer(&options, vec![source(&from)], named(&to)).summary();
        let list = getxattr(&to, "system.posix_acl_access", &mut [0; 64][..]);
        assert_eq!(list, Err(rustix::io::Errno::NODATA));
        assert_eq!(fs::metadata(&to).unwrap().mode() & 0o777, 0o640);
    }
}

#[test]
fn what_is_of_another_kind_is_never_replaced() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::create_dir_all(path("s/folder")).unwrap();
    fs::create_dir_all(path("d/file")).unwrap();
    fs::create_dir(path("canary")).unwrap();
    for name in ["file", "pipe", "folder/below", "link"] {
        fs::write(path("s").join(name), b"content").unwrap();
    }
    fs::write(path("d/folder"), b"a file").unwrap();
    make_pipe(&path("d/pipe"));
    symlink("../canary", path("d/link")).unwrap();
    let ended = transfer(&tree_options(), vec![source(&path("s"))], named(&path("d")));
    assert_eq!(ended.summary().counts.failed, 4);
    let expected = [
        "Failed d/file exists",
        "Failed d/folder exists",
        "Failed d/folder/below exists",
        "Failed d/pipe exists",
    ];
    let mut failed = ended.received.lines;
    failed.retain(|line| line.starts_with("Failed"));
    failed.sort();
    assert_eq!(failed, expected);
    // The link itself was replaced, not what it leads to.
    assert!(path("d/link").symlink_metadata().unwrap().is_file());
    assert_eq!(fs::read_dir(path("canary")).unwrap().count(), 0);
    assert_eq!(fs::read(path("d/folder")).unwrap(), b"a file");
}

#[test]
fn writing_in_place_keeps_the_file_that_it_is() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("f"), place.path().join("g"));
    fs::write(&from, vec![b'n'; 100_000]).unwrap();
    fs::write(&to, vec![b'o'; 300_000]).unwrap();
    fs::hard_link(&to, place.path().join("other")).unwrap();
    let before = fs::metadata(&to).unwrap().ino();
    let options = TransferOptions { in_place: true, ..tree_options() };
    transfer(&options, vec![source(&from)], named(&to)).summary();
    assert_eq!(fs::metadata(&to).unwrap().ino(), before);
    assert_eq!(fs::read(place.path().join("other")).unwrap(), vec![b'n'; 100_000]);
}
