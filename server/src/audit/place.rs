//! The folder of a log while a server writes there: it is locked, and checked to be still in its
//! place.

use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use super::{error::AuditError, files};

/// The file that is locked while a server writes here.
const LOCK: &str = "lock";
/// The file that is locked while the server that writes here can't write.
const FAILING: &str = "failing";

/// The folder of a log, locked by this server.
#[derive(Debug)]
pub(super) struct Place {
    folder: PathBuf,
    lock: File,
    failing: File,
    is_failing: bool,
}

impl Place {
    /// Takes the folder, and creates it if it is missing.
    ///
    /// # Errors
    /// If it can't be created, or another server has locked it.
    pub(super) fn take(folder: &Path) -> Result<Self, AuditError> {
        let failed = |error| AuditError::Io { path: folder.to_owned(), error };
        files::make_folder(folder).map_err(failed)?;
        let lock = files::mark(&folder.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(AuditError::Locked(folder.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let failing = files::mark(&folder.join(FAILING)).map_err(failed)?;
        Ok(Self { folder: folder.to_owned(), lock, failing, is_failing: false })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Checks that its path still leads to this folder.
    ///
    /// # Errors
    /// If it does not, or that can't be determined.
    pub(super) fn check(&self) -> io::Result<()> {
        self.check_file(&self.lock, LOCK)
    }

    /// Checks that a file is in the folder under its name.
    ///
    /// # Errors
    /// If it is not, or that can't be determined.
    pub(super) fn check_file(&self, file: &File, name: &str) -> io::Result<()> {
        let path = self.folder.join(name);
        match files::lies_at(file, &path)? {
            true => Ok(()),
            false => Err(io::Error::other(format!("{} was removed or moved", path.display()))),
        }
    }

    /// Shows other programs whether the log can be written. A lock takes no room on the disk.
    pub(super) fn show(&mut self, is_failing: bool) {
        if self.is_failing == is_failing {
            return;
        }
        // A reader holds the lock for a moment at most; the next round tries again.
        let shown = if is_failing {
            self.failing.try_lock().is_ok()
        } else {
            self.failing.unlock().is_ok()
        };
        if shown {
            self.is_failing = is_failing;
        }
    }
}

/// Returns whether the server that writes into a folder shows that it can't.
///
/// # Errors
/// If the folder can't be read; `NotFound` if it is missing.
pub(crate) fn is_failing(folder: &Path) -> io::Result<bool> {
    // The lock is shared, so that two readers do not take each other for a server.
    match files::open(&folder.join(FAILING))?.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The room on the disk of a log, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Room {
    /// The bytes that are free.
    pub(crate) free: u64,
    /// The bytes in all.
    total: u64,
}

impl Room {
    /// The reserve of the disk in bytes, which is kept for peers that need little: 64 MiB, or an
    /// eighth of a small disk.
    const RESERVE: u64 = 64 << 20;

    /// Returns the room on the disk of a folder.
    ///
    /// # Errors
    /// If it can't be determined.
    pub(crate) fn of(folder: &Path) -> io::Result<Self> {
        let disk = files::room(folder)?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        Ok(Self { free: bytes(disk.f_bavail), total: bytes(disk.f_blocks) })
    }

    /// Returns whether no more than the reserve is left.
    pub(crate) fn is_scarce(self) -> bool {
        // Some file systems don't report their size.
        self.total > 0 && self.free < Self::RESERVE.min(self.total / 8)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_is_not_where_its_name_says_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("audit");
        let place = Place::take(&folder).unwrap();
        let file = files::create(&folder.join("a")).unwrap();
        let check = || place.check_file(&file, "a");
        check().unwrap();
        fs::rename(folder.join("a"), folder.join("b")).unwrap();
        assert!(check().unwrap_err().to_string().ends_with("a was removed or moved"));
        std::os::unix::fs::symlink("b", folder.join("a")).unwrap();
        check().unwrap_err();
        fs::rename(folder.join("b"), folder.join("a")).unwrap();
        check().unwrap();
        place.check().unwrap();
        fs::remove_dir_all(&folder).unwrap();
        check().unwrap_err();
        place.check().unwrap_err();
        Place::take(&folder).unwrap();
    }

    #[test]
    fn the_last_64_mib_or_the_last_eighth_is_kept() {
        let is_scarce = |free, total| Room { free, total }.is_scarce();
        assert!(is_scarce(63 << 20, 1 << 40) && !is_scarce(64 << 20, 1 << 40));
        assert!(is_scarce(31 << 10, 256 << 10) && !is_scarce(32 << 10, 256 << 10));
        assert!(!is_scarce(0, 0));
        assert!(Room::of(Path::new("/")).unwrap().total > 0);
    }

    #[test]
    fn others_see_whether_it_can_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("audit");
        assert_eq!(is_failing(&folder).unwrap_err().kind(), io::ErrorKind::NotFound);
        let mut place = Place::take(&folder).unwrap();
        assert!(matches!(Place::take(&folder), Err(AuditError::Locked(_))));
        assert!(!is_failing(&folder).unwrap());
        place.show(true);
        assert!(is_failing(&folder).unwrap());
        place.show(false);
        assert!(!is_failing(&folder).unwrap());
        place.show(true);
        drop(place);
        assert!(!is_failing(&folder).unwrap());
    }
}
