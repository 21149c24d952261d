use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use super::*;

/// Runs over both ways.
fn over_both(test: impl Fn(Way)) {
    for way in [Way::Kernel, Way::ByHand] {
        if way == Way::Kernel && Way::of_this_host() == Way::ByHand {
            println!("skipped: needs openat2");
            continue;
        }
        test(way);
    }
}

fn root_of(path: &Path) -> Rc<Folder> {
    let descriptor: OwnedFd = fs::File::open(path).expect("the root").into();
    let facts = FileFacts::of(&descriptor).expect("its facts");
    Folder::root(Arc::new(descriptor), facts.id, b"top")
}

#[test]
fn folders_are_entered_and_found_again_after_many_others() {
    over_both(|way| {
        let place = tempfile::tempdir().expect("a folder");
        let mut folders = Folders::new(way, Purpose::Listing);
        let root = root_of(place.path());
        let mut all = Vec::new();
        for number in 0..3 * limits::OPEN_FOLDERS {
            let name = number.to_string();
            fs::create_dir_all(place.path().join(&name).join("x/y")).expect("folders");
            let folder = folders.enter(&root, name.as_bytes()).expect("entered");
            let below = folders.enter(&folder, b"x").expect("entered");
            all.push((number, folders.enter(&below, b"y").expect("entered")));
        }
        assert!(folders.open.len() <= limits::OPEN_FOLDERS);
        for (number, folder) in all {
            let open = folders.open(&folder).expect("opened again");
            assert_eq!(FileFacts::of(&open).expect("its facts").id, folder.id());
            assert_eq!(folder.path(b"z"), format!("top/{number}/x/y/z").into_bytes());
            assert_eq!(folder.depth(), 3);
        }
    });
}

#[test]
fn a_path_longer_than_a_system_call_takes_is_opened_in_parts() {
    over_both(|way| {
        let place = tempfile::tempdir().expect("a folder");
        let mut folders = Folders::new(way, Purpose::Listing);
        let mut folder = root_of(place.path());
        let name = [b'n'; 255];
        for _ in 0..100 {
            let open = folders.open(&folder).expect("open");
            rustix::fs::mkdirat(&open, &name[..], Mode::RWXU).expect("made");
            folder = folders.enter(&folder, &name).expect("entered");
        }
        while let Some(open) = folders.open.pop_front() {
            folders.close(&open);
        }
        let open = folders.open(&folder).expect("opened again");
        assert_eq!(FileFacts::of(&open).expect("its facts").id, folder.id());
        // Removing by a path is left to the standard library, which goes down by descriptors.
    });
}

#[test]
fn a_link_is_no_folder_wherever_it_leads() {
    over_both(|way| {
        let place = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(place.path().join("real/inner")).expect("folders");
        for (name, target) in [("in", "real"), ("out", "/etc"), ("self", "."), ("up", "..")] {
            symlink(target, place.path().join(name)).expect("a link");
        }
        let mut folders = Folders::new(way, Purpose::Listing);
        let root = root_of(place.path());
        for name in ["in", "out", "self", "up"] {
            let failure = folders.enter(&root, name.as_bytes()).expect_err("refused");
            assert_eq!(failure.kind, FailureKind::UnsafePath, "{name}: {failure}");
        }
        let failure = folders.enter(&root, b"none").expect_err("missing");
        assert_eq!(failure.kind, FailureKind::NoSuchFile);
    });
}

#[test]
fn a_folder_that_a_link_or_another_folder_replaces_is_not_opened_again() {
    over_both(|way| {
        for replacement in ["link", "folder"] {
            let place = tempfile::tempdir().expect("a folder");
            let path = |name: &str| place.path().join(name);
            fs::create_dir_all(path("a/b")).expect("folders");
            fs::create_dir_all(path("elsewhere/b")).expect("folders");
            let mut folders = Folders::new(way, Purpose::Listing);
            let root = root_of(place.path());
            let above = folders.enter(&root, b"a").expect("entered");
            let folder = folders.enter(&above, b"b").expect("entered");
            folders.close(&above);
            folders.close(&folder);
            fs::rename(path("a"), path("old")).expect("renamed");
            match replacement {
                "link" => symlink("elsewhere", path("a")).expect("a link"),
                _ => fs::rename(path("elsewhere"), path("a")).expect("renamed"),
            }
            let failure = folders.open(&folder).expect_err("refused");
            let expected = match replacement {
                "link" => FailureKind::UnsafePath,
                _ => FailureKind::Changed,
            };
            assert_eq!(failure.kind, expected, "{replacement}: {failure}");
        }
    });
}

#[test]
fn by_hand_nothing_leads_upwards() {
    let place = tempfile::tempdir().expect("a folder");
    fs::create_dir(place.path().join("a")).expect("a folder");
    let root = fs::File::open(place.path()).expect("the root");
    for path in [&b".."[..], b"a/..", b"a/../..", b"", b"/etc", b"a//a"] {
        assert!(open_by_hand(&root, path, OFlags::RDONLY | OFlags::DIRECTORY).is_err(), "{path:?}");
    }
}

#[test]
fn a_folder_that_may_only_be_passed_will_do_for_writing() {
    over_both(|way| {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("a");
        fs::create_dir(&path).expect("a folder");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o300)).expect("a mode");
        let root = root_of(place.path());
        let mut folders = Folders::new(way, Purpose::Passing);
        assert!(folders.enter(&root, b"a").is_ok());
    });
}
