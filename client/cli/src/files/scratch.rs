//! Private folders: of what passes through standard input and output, and of what is edited. They are removed at every
//! end of this program but a kill.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;

/// The private folders of this process. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    folders: Arc<Mutex<Vec<TempDir>>>,
}

impl Scratch {
    /// Makes a folder that nobody else reaches, in `$TMPDIR` or `/tmp`, and returns its path.
    ///
    /// # Errors
    /// There is no place for it.
    pub(super) fn folder(&self) -> io::Result<PathBuf> {
        let private = Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix("rcmd-").permissions(private).tempdir()?;
        let path = folder.path().to_owned();
        self.folders.lock().unwrap_or_else(PoisonError::into_inner).push(folder);
        Ok(path)
    }

    /// Leaves a folder where it is, for its user.
    pub(super) fn keep(&self, path: &Path) {
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = folders.iter().position(|folder| folder.path() == path) {
            let _ = folders.swap_remove(at).keep();
        }
    }

    /// Removes all folders that are left.
    pub(super) fn remove(&self) {
        let folders =
            std::mem::take(&mut *self.folders.lock().unwrap_or_else(PoisonError::into_inner));
        for folder in folders {
            let path = folder.path().to_owned();
            // A thread that transfers may be making a file in it at this moment.
            if folder.close().is_err() {
                let _ = remove_again(&path);
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "programs that serve nobody")]
fn remove_again(path: &Path) -> io::Result<()> {
    std::fs::remove_dir_all(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_private_and_go_at_the_end_unless_they_are_kept() {
        let scratch = Scratch::default();
        let (gone, kept) = (scratch.folder().unwrap(), scratch.folder().unwrap());
        assert_eq!(gone.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::write(gone.join("content"), b"x").unwrap();
        scratch.keep(&kept);
        scratch.remove();
        assert!(!gone.exists() && kept.exists());
        std::fs::remove_dir(&kept).unwrap();
    }
}
