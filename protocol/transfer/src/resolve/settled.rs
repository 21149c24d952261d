//! Where an open file lies: the path that the system reports of it, and the same folder by that path.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::OFlags;

use super::way::open_plain;
use crate::{
    facts::FileFacts,
    failure::{Failure, FailureKind},
};

/// Opens a folder again by the path that the system reports of it, from the root and through no link, for what it was
/// open for. Whoever judges the path of the new descriptor judges the folder that is used: a descriptor of another
/// mount namespace, or of what was mounted over, has the path of something else here.
///
/// # Errors
/// `changed`: another folder has that path, or none. Or the path cannot be told, or opened.
pub fn settled(folder: impl AsFd) -> Result<OwnedFd, Failure> {
    let folder = folder.as_fd();
    let path = path_of(folder)?;
    let flags = rustix::fs::fcntl_getfl(folder);
    let flags = flags.map_err(|error| Failure::of(error, "look at its folder"))?;
    let purpose = if flags.contains(OFlags::PATH) { OFlags::PATH } else { OFlags::RDONLY };
    let again = match open_plain(&path, purpose | OFlags::DIRECTORY) {
        Ok(again) => again,
        Err(error) => {
            let mut failure = Failure::of(error, "find its folder by the path that it has");
            if matches!(failure.kind, FailureKind::NoSuchFile | FailureKind::UnsafePath) {
                failure.kind = FailureKind::Changed;
            }
            return Err(failure);
        }
    };
    let facts = |of: BorrowedFd<'_>| {
        FileFacts::of(of).map_err(|error| Failure::of(error, "look at its folder"))
    };
    let (found, here) = (facts(folder)?, facts(again.as_fd())?);
    if found.id != here.id || !here.is_on_mount_of(&found) {
        let text = "its folder is not the one that has its path on this host";
        return Err(Failure::new(FailureKind::Changed, text));
    }
    Ok(again)
}

/// Returns the path of an open file, as the system has it.
pub(super) fn path_of(found: impl AsFd) -> Result<Vec<u8>, Failure> {
    let link = format!("/proc/self/fd/{}", found.as_fd().as_raw_fd());
    let path = rustix::fs::readlink(&link, Vec::new());
    let path = path.map_err(|error| Failure::of(error, "find where it is"))?;
    let path = path.into_bytes();
    if path.starts_with(b"/") {
        return Ok(path);
    }
    Err(Failure::new(FailureKind::NoSuchFile, "it has no place among the files"))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use rustix::fs::Mode;

    use super::*;

    #[test]
    fn a_folder_is_the_same_one_by_its_path_and_open_for_the_same() {
        let place = tempfile::tempdir().expect("a folder");
        let listed = File::open(place.path()).expect("opened");
        let passed = OFlags::PATH | OFlags::DIRECTORY;
        let passed = rustix::fs::openat(&listed, c".", passed, Mode::empty()).expect("opened");
        for folder in [listed.as_fd(), passed.as_fd()] {
            let again = settled(folder).expect("settled");
            let is_path = |of: BorrowedFd<'_>| {
                rustix::fs::fcntl_getfl(of).expect("flags").contains(OFlags::PATH)
            };
            assert_eq!(is_path(again.as_fd()), is_path(folder));
        }
    }

    #[test]
    fn a_folder_whose_path_is_another_s_is_refused() {
        let place = tempfile::tempdir().expect("a folder");
        let path = |name: &str| place.path().join(name);
        fs::create_dir(path("a")).expect("made");
        let open = File::open(path("a")).expect("opened");
        fs::remove_dir(path("a")).expect("removed");
        let refused = |open: &File| settled(open).map_err(|failure| failure.kind).map(drop);
        assert_eq!(refused(&open), Err(FailureKind::Changed));
        // One that was removed has this name from the system.
        fs::create_dir(path("a (deleted)")).expect("made");
        assert_eq!(refused(&open), Err(FailureKind::Changed));
        let (pipe, _other) = std::io::pipe().expect("a pipe");
        let pipe = File::from(OwnedFd::from(pipe));
        assert_eq!(refused(&pipe), Err(FailureKind::NoSuchFile));
    }
}
