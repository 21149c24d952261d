use std::{
    fs::{File, Permissions},
    os::unix::fs::PermissionsExt as _,
};

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn private(path: &Path) -> NewFile<'_> {
    NewFile { path, bytes: b"secret", private: true }
}

#[test]
fn keys_are_0600_in_0700_folders() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("a/b");
    create_private_dir(&dir).unwrap();
    let path = dir.join("key.pem");
    write_all(&[private(&path)], Existing::Keep).unwrap();
    assert_eq!((mode(&dir), mode(&path)), (0o700, 0o600));
    assert_eq!(read_private(&path).unwrap().expose(), b"secret");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "a temporary file was left");
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_remedy() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("key.pem");
    write_all(&[private(&path)], Existing::Keep).unwrap();
    for open in [0o640, 0o604, 0o620, 0o602, 0o610] {
        fs::set_permissions(&path, Permissions::from_mode(open)).unwrap();
        let message = read_private(&path).unwrap_err().to_string();
        assert!(message.contains(&format!("chmod 600 {}", path.display())), "{message}");
    }
    fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    assert!(read_private(&path).is_ok());
}

/// Makes a folder with a file that nobody else could change.
fn file_in(root: &tempfile::TempDir) -> (PathBuf, PathBuf) {
    let dir = root.path().join("d");
    fs::create_dir(&dir).unwrap();
    let path = dir.join("ca.pem");
    fs::write(&path, "x").unwrap();
    set_mode(&dir, 0o755);
    set_mode(&path, 0o644);
    (dir, path)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_file_that_decides_and_that_others_may_change_is_refused_with_the_remedy() {
    let root = tempfile::tempdir().unwrap();
    let (dir, path) = file_in(&root);
    assert_eq!(read_public(&path).unwrap(), b"x");
    for changed in [&path, &dir] {
        for mode in [0o646, 0o664, 0o666, 0o622, 0o602] {
            set_mode(changed, mode | 0o100);
            let message = read_public(&path).unwrap_err().to_string();
            assert!(message.contains(&format!("chmod go-w {}", changed.display())), "{message}");
        }
        set_mode(changed, if changed == &dir { 0o755 } else { 0o644 });
    }
    // In a sticky folder nobody can rename another user's file.
    set_mode(&dir, 0o1777);
    assert_eq!(read_public(&path).unwrap(), b"x");
    assert_eq!(read_shown(&path, MAX_FILE).unwrap(), b"x");
}

#[test]
fn a_folder_behind_a_link_counts_and_so_does_the_link_s_own() {
    let root = tempfile::tempdir().unwrap();
    let (dir, path) = file_in(&root);
    let links = root.path().join("links");
    fs::create_dir(&links).unwrap();
    let link = links.join("ca.pem");
    std::os::unix::fs::symlink("../d/ca.pem", &link).unwrap();
    assert_eq!(read_public(&link).unwrap(), b"x");
    for changed in [&dir, &links] {
        set_mode(changed, 0o777);
        let message = read_public(&link).unwrap_err().to_string();
        assert!(message.contains(&format!("chmod go-w {}", changed.display())), "{message}");
        set_mode(changed, 0o755);
    }
    assert_eq!(read_public(&path).unwrap(), b"x");
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("ca.pem", &link).unwrap();
    assert!(matches!(read_public(&link), Err(FileError::Io { .. })), "a link to itself");
}

#[test]
fn what_belongs_to_somebody_else_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let (dir, path) = file_in(&root);
    if !rustix::process::geteuid().is_root() {
        return;
    }
    for changed in [&path, &dir] {
        std::os::unix::fs::chown(changed, Some(54_321), None).unwrap();
        let message = read_public(&path).unwrap_err().to_string();
        let expected = format!("{} belongs to uid 54321", changed.display());
        assert!(message.contains(&expected), "{message}");
        std::os::unix::fs::chown(changed, Some(0), None).unwrap();
    }
    std::os::unix::fs::chown(&dir, Some(54_321), None).unwrap();
    assert!(matches!(check_folder(&dir.join("not/yet")), Err(FileError::Owner { .. })));
    assert_eq!(read_shown(&path, MAX_FILE).unwrap(), b"x");
}

#[test]
fn an_existing_file_is_kept_unless_forced() {
    let root = tempfile::tempdir().unwrap();
    let (first, second) = (root.path().join("new"), root.path().join("old"));
    fs::write(&second, "old").unwrap();
    let files = [private(&first), private(&second)];
    assert!(matches!(write_all(&files, Existing::Keep), Err(FileError::Exists(_))));
    assert!(!first.exists() && fs::read(&second).unwrap() == b"old");
    write_all(&files, Existing::Replace).unwrap();
    assert_eq!(fs::read(&second).unwrap(), b"secret");
}

#[test]
fn a_pipe_a_folder_and_a_device_are_refused_without_waiting() {
    let root = tempfile::tempdir().unwrap();
    let pipe = root.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    for path in [pipe.as_path(), root.path(), Path::new("/dev/zero")] {
        assert!(matches!(read_private(path), Err(FileError::NotRegular(_))), "{path:?}");
    }
}

#[test]
fn an_endless_file_is_not_read_to_its_end() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("sparse");
    File::create(&path).unwrap().set_len(1 << 40).unwrap();
    assert!(matches!(read_public(&path), Err(FileError::TooLarge { .. })));
}

#[test]
fn a_missing_file_says_so() {
    let error = read_public(Path::new("/nonexistent/ca.pem")).unwrap_err();
    assert!(error.is_missing());
    assert_eq!(error.to_string(), "/nonexistent/ca.pem does not exist");
}
