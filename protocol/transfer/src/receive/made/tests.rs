use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use super::*;

#[test]
fn a_folder_that_was_just_made_is_known_by_its_mount_owner_and_mode() {
    let place = tempfile::tempdir().expect("a folder");
    let open = |path: &Path| OwnedFd::from(fs::File::open(path).expect("opened"));
    let (above, made) = (open(place.path()), place.path().join("made"));
    let account = rustix::process::geteuid().as_raw();
    rustix::fs::mkdirat(&above, "made", Mode::from_raw_mode(NEW)).expect("made");
    let check = |above: &OwnedFd, folder: &Path, account| {
        check(above, &open(folder), account).map(drop).map_err(|failure| failure.kind)
    };
    assert_eq!(check(&above, &made, account), Ok(()));
    assert_eq!(check(&above, &made, account + 1), Err(FailureKind::Changed));
    for (mode, expected) in [
        (0o755, Err(FailureKind::Changed)),
        (0o1755, Err(FailureKind::Changed)),
        (0o1710, Err(FailureKind::Changed)),
        (0o700, Err(FailureKind::Changed)),
        // It inherits this bit.
        (0o3700, Ok(())),
    ] {
        fs::set_permissions(&made, fs::Permissions::from_mode(mode)).expect("its mode");
        assert_eq!(check(&above, &made, account), expected, "{mode:o}");
    }
    let elsewhere = open(Path::new("/proc"));
    assert_eq!(check(&elsewhere, &made, account), Err(FailureKind::Changed));
    // Whoever put it there has what is in it read by others.
    fs::write(made.join("f"), b"content").expect("a file");
    assert_eq!(check(&above, &made, account), Err(FailureKind::Changed));
}

#[test]
fn a_folder_that_was_marked_is_not_finished_and_no_other_is() {
    let place = tempfile::tempdir().expect("a folder");
    let above = OwnedFd::from(fs::File::open(place.path()).expect("opened"));
    make(&above, b"made").expect("made");
    let folder = OwnedFd::from(fs::File::open(place.path().join("made")).expect("opened"));
    let facts = FileFacts::of(&folder).expect("its facts");
    assert!(!is_unfinished(facts.mode));
    mark(&folder, &facts).expect("marked");
    assert!(is_unfinished(FileFacts::of(&folder).expect("its facts").mode));
    let above = FileFacts::of(&above).expect("its facts").id;
    assert!(!is_bound(&folder, above, b"made"));
    bind(&folder, above, b"made");
    assert!(is_bound(&folder, above, b"made") && !is_bound(&folder, above, b"other"));
    assert!(!is_bound(&folder, facts.id, b"made"));
    unbind(&folder);
    assert!(!is_bound(&folder, above, b"made"));
    for (mode, is) in
        [(0o5700, true), (0o7700, true), (0o1700, false), (0o700, false), (0o5755, false)]
    {
        assert_eq!(is_unfinished(mode), is, "{mode:o}");
    }
}
