//! What files have besides content: permission bits as they are changed, access lists and attributes.

use std::{fs, path::Path};

use rcmd_transfer::{MetadataOptions, TransferOptions};
use rustix::fs::{XattrFlags, getxattr, setxattr};

use crate::ends::{inside, named, source, transfer, tree_options};
use crate::tree::{mode, set_mode, set_time};

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";

/// An access list: rw-, user 33 r--, r--, user permissions, ---.
fn acl(user: u32) -> Vec<u8> {
    let entry = |tag: u16, permissions: u16, id: u32| {
        [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let nobody = u32::MAX;
    let entries = [
        entry(1, 6, nobody),
        entry(2, 5, user),
        entry(4, 4, nobody),
        entry(16, 5, nobody),
        entry(32, 0, nobody),
    ];
    [&[2, 0, 0, 0][..], &entries.concat()].concat()
}

fn get(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = [0; 512];
    let length = getxattr(path, name, &mut value[..]).ok()?;
    Some(value[..length].to_vec())
}

/// Sets an attribute, and returns whether this place has attributes of its kind.
fn set(path: &Path, name: &str, value: &[u8]) -> bool {
    setxattr(path, name, value, XattrFlags::empty()).is_ok()
}

fn options(metadata: MetadataOptions) -> TransferOptions {
    TransferOptions { metadata, ..tree_options() }
}

fn chmod(change: &str) -> MetadataOptions {
    MetadataOptions { chmod: Some(change.parse().unwrap()), ..MetadataOptions::default() }
}

#[test]
fn bits_are_changed_from_those_of_the_source_wherever_a_file_is() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::create_dir_all(path("s/d")).unwrap();
    fs::create_dir_all(path("t/d")).unwrap();
    set_mode(&path("s/d"), 0o750);
    for name in ["new", "same", "replaced", "special"] {
        fs::write(path("s").join(name), b"content").unwrap();
        set_mode(&path("s").join(name), 0o640);
        set_time(&path("s").join(name), 1_600_000_000, 0);
    }
    set_mode(&path("s/special"), 0o4755);
    fs::write(path("t/same"), b"content").unwrap();
    set_time(&path("t/same"), 1_600_000_000, 0);
    fs::write(path("t/replaced"), b"other").unwrap();
    let ended =
        transfer(&options(chmod("Dg+w,Fu+x,o=")), vec![source(&path("s"))], named(&path("t")));
    assert_eq!(ended.summary().counts.failed, 0);
    for (name, expected) in
        [("d", 0o770), ("new", 0o740), ("same", 0o740), ("replaced", 0o740), ("special", 0o750)]
    {
        assert_eq!(mode(&path("t").join(name)), expected, "{name}");
    }
    let again =
        transfer(&options(chmod("Dg+w,Fu+x,o=")), vec![source(&path("s"))], named(&path("t")));
    assert_eq!((again.summary().counts.unchanged, again.summary().counts.adjusted), (6, 0));
}

#[test]
fn bits_are_changed_without_preserve_too_and_setuid_is_never_set() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::write(path("f"), b"content").unwrap();
    set_mode(&path("f"), 0o644);
    for (change, before, expected) in [
        ("755", None, 0o755),
        ("+w", Some(0o600), 0o644),
        ("u+s,g+s", None, 0o644),
        ("6711", None, 0o711),
    ] {
        let to = path("g");
        let _ = fs::remove_file(&to);
        if let Some(mode) = before {
            fs::write(&to, b"other").unwrap();
            set_mode(&to, mode);
        }
        let options = TransferOptions { metadata: chmod(change), ..TransferOptions::default() };
        transfer(&options, vec![source(&path("f"))], named(&to)).summary();
        assert_eq!(mode(&to), expected, "{change}");
    }
}

#[test]
fn attributes_of_users_are_those_of_the_source_and_no_others() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::create_dir_all(path("s/d")).unwrap();
    fs::create_dir_all(path("t/d")).unwrap();
    for name in ["new", "replaced", "same", "none"] {
        fs::write(path("s").join(name), b"content").unwrap();
        set_time(&path("s").join(name), 1_600_000_000, 0);
    }
    fs::write(path("t/replaced"), b"other").unwrap();
    for name in ["same", "none"] {
        fs::copy(path("s").join(name), path("t").join(name)).unwrap();
        set_time(&path("t").join(name), 1_600_000_000, 0);
    }
    let long = vec![b'v'; 3_000];
    for name in ["new", "replaced", "same", "d"] {
        if !set(&path("s").join(name), "user.a", name.as_bytes()) {
            println!("skipped: needs attributes of users");
            return;
        }
        assert!(set(&path("s").join(name), "user.long", &long) || name == "d");
    }
    for name in ["replaced", "same", "none", "d"] {
        set(&path("t").join(name), "user.old", b"of the file that was there");
    }
    let privileges = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    set(&path("s/new"), "security.capability", &privileges);
    let metadata = MetadataOptions { xattrs: true, ..MetadataOptions::default() };
    let copied =
        || transfer(&options(metadata.clone()), vec![source(&path("s"))], named(&path("t")));
    let counts = copied().summary().counts;
    assert_eq!((counts.sent, counts.adjusted, counts.failed), (2, 3, 0));
    for name in ["new", "replaced", "same", "d"] {
        let to = path("t").join(name);
        assert_eq!(get(&to, "user.a").as_deref(), Some(name.as_bytes()));
        assert_eq!(get(&to, "user.old"), None, "{name}");
        let mut value = vec![0; 4_096];
        let length = getxattr(&to, "user.long", &mut value[..]);
        assert!(length == Ok(3_000) || name == "d", "{name}: {length:?}");
    }
    assert_eq!(get(&path("t/none"), "user.old"), None);
    assert_eq!(get(&path("t/new"), "security.capability"), None);
    let counts = copied().summary().counts;
    assert_eq!((counts.unchanged, counts.adjusted, counts.sent), (6, 0, 0));
}

#[test]
fn access_lists_are_those_of_the_source_and_no_others() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::create_dir_all(path("s/d/below")).unwrap();
    fs::create_dir_all(path("t/e")).unwrap();
    fs::create_dir_all(path("s/e")).unwrap();
    for name in ["listed", "plain", "d/f", "e/f"] {
        fs::write(path("s").join(name), b"content").unwrap();
        set_mode(&path("s").join(name), 0o640);
        set_time(&path("s").join(name), 1_600_000_000, 0);
    }
    let has_lists = set(&path("s/listed"), ACCESS, &acl(33))
        && set(&path("s/d"), ACCESS, &acl(34))
        && set(&path("s/d"), DEFAULT, &acl(35));
    if !has_lists {
        println!("skipped: needs access lists");
        return;
    }
    set_mode(&path("s/d"), 0o750);
    // What is there has others, and hands them on to what is made in it.
    fs::copy(path("s/plain"), path("t/plain")).unwrap();
    set_mode(&path("t/plain"), 0o640);
    assert!(set(&path("t/plain"), ACCESS, &acl(7)) && set(&path("t/e"), DEFAULT, &acl(7)));
    set_time(&path("t/plain"), 1_600_000_000, 0);
    let metadata = MetadataOptions { acls: true, ..MetadataOptions::default() };
    let copied =
        || transfer(&options(metadata.clone()), vec![source(&path("s"))], named(&path("t")));
    assert_eq!(copied().summary().counts.failed, 0);
    for name in ["listed", "plain", "d", "d/f", "d/below", "e", "e/f"] {
        let (from, to) = (path("s").join(name), path("t").join(name));
        assert_eq!(get(&to, ACCESS), get(&from, ACCESS), "{name}");
        assert_eq!(get(&to, DEFAULT), get(&from, DEFAULT), "{name}");
        assert_eq!(mode(&to), mode(&from), "{name}");
    }
    let counts = copied().summary().counts;
    assert_eq!((counts.adjusted, counts.sent), (0, 0));
}

#[test]
fn a_file_that_is_replaced_keeps_its_access_list_and_attributes_unless_others_come() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::write(path("f"), b"new").unwrap();
    let keeps = |metadata: MetadataOptions| {
        fs::write(path("g"), b"old content").unwrap();
        set_mode(&path("g"), 0o640);
        let has = set(&path("g"), ACCESS, &acl(33)) && set(&path("g"), "user.k", b"1");
        let options = TransferOptions { metadata, ..TransferOptions::default() };
        transfer(&options, vec![source(&path("f"))], named(&path("g"))).summary();
        assert_eq!(fs::read(path("g")).unwrap(), b"new");
        let kept = (get(&path("g"), ACCESS).is_some(), get(&path("g"), "user.k").is_some());
        fs::remove_file(path("g")).unwrap();
        has.then_some(kept)
    };
    let Some(kept) = keeps(MetadataOptions::default()) else {
        println!("skipped: needs access lists and attributes");
        return;
    };
    assert_eq!(kept, (true, true));
    let only = MetadataOptions { acls: true, ..MetadataOptions::default() };
    assert_eq!(keeps(only), Some((false, true)));
    let only = MetadataOptions { xattrs: true, ..MetadataOptions::default() };
    assert_eq!(keeps(only), Some((true, false)));
}

#[test]
fn a_dry_run_tells_what_would_be_given_and_gives_nothing() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    for name in ["s", "t"] {
        fs::create_dir_all(path(name).join("d")).unwrap();
        fs::write(path(name).join("f"), b"content").unwrap();
        set_time(&path(name).join("f"), 1_600_000_000, 0);
        set_time(&path(name).join("d"), 1_600_000_000, 0);
    }
    if !(set(&path("s/f"), "user.a", b"1") && set(&path("s/d"), "user.a", b"1")) {
        println!("skipped: needs attributes of users");
        return;
    }
    let metadata = MetadataOptions { xattrs: true, ..chmod("F600") };
    let options = TransferOptions { dry_run: true, ..options(metadata) };
    let ended = transfer(&options, vec![source(&path("s"))], inside(place.path()));
    drop(ended);
    let ended = transfer(&options, vec![source(&path("s"))], named(&path("t")));
    assert_eq!(ended.summary().counts.adjusted, 2);
    assert_eq!((get(&path("t/f"), "user.a"), get(&path("t/d"), "user.a")), (None, None));
    assert_ne!(mode(&path("t/f")), 0o600);
}
