use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use super::*;

#[test]
fn a_folder_that_was_just_made_is_known_by_its_mount_owner_and_mode() {
    let place = tempfile::tempdir().expect("a folder");
    let open = |path: &Path| OwnedFd::from(fs::File::open(path).expect("opened"));
    let (above, made) = (open(place.path()), place.path().join("made"));
    let account = rustix::process::geteuid().as_raw();
    rustix::fs::mkdirat(&above, "made", Mode::from_raw_mode(UNFINISHED)).expect("made");
    let check = |above: &OwnedFd, folder: &Path, account| {
        check_made(above, &open(folder), account).map(drop).map_err(|failure| failure.kind)
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
}
