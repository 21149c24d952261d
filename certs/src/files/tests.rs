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

#[test]
fn a_trust_file_that_anybody_can_change_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("ca.pem");
    fs::write(&path, "x").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o646)).unwrap();
    assert!(matches!(read_public(&path), Err(FileError::WorldWritable { .. })));
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
    assert!(matches!(read_public(&path), Err(FileError::TooLarge { limit: MAX_FILE, .. })));
}

#[test]
fn a_missing_file_says_so() {
    let error = read_public(Path::new("/nonexistent/ca.pem")).unwrap_err();
    assert!(error.is_missing());
    assert_eq!(error.to_string(), "/nonexistent/ca.pem does not exist");
}
