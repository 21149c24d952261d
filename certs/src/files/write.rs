//! Atomic writes, and folders of keys.
#![expect(
    clippy::disallowed_methods,
    reason = "the thread `upkeep`, the authority's thread, programs before they serve and those that serve nobody"
)]

use std::{
    fmt,
    fs::{self, DirBuilder, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use super::FileError;

/// Makes `dir` a folder that only its owner may enter, with its parents if they are missing.
///
/// # Errors
/// [`FileError`] if it cannot be made, or is there already and open to others.
pub fn create_private_dir(dir: &Path) -> Result<(), FileError> {
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        // 0755 even under a careless umask: whoever may write here may replace ca.pem.
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(parent)
            .map_err(FileError::io("create", parent))?;
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(FileError::io("create", dir)(error));
        }
        _ => {}
    }
    let metadata = fs::symlink_metadata(dir).map_err(FileError::io("read", dir))?;
    if !metadata.is_dir() {
        let source = io::Error::from(io::ErrorKind::NotADirectory);
        return Err(FileError::Io { action: "write into", path: dir.to_owned(), source });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(FileError::TooOpen { path: dir.to_owned(), mode, remedy: "700" });
    }
    Ok(())
}

/// The treatment of a file that exists already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Leave it, and fail.
    Keep,
    /// Replace it.
    Replace,
}

/// A file to be written.
#[derive(Clone, Copy)]
pub struct NewFile<'a> {
    /// The path.
    pub path: &'a Path,
    /// The content.
    pub bytes: &'a [u8],
    /// True if only its owner may read it (0600), false if everybody may (0644).
    pub private: bool,
}

/// The content is left out: it may be a private key.
impl fmt::Debug for NewFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Writes files so that each is complete or absent, even after a crash. Each is written to a temporary file
/// beside it, synced and renamed, and its folder is synced. All temporary files are complete before the
/// first rename, so that a full disk leaves nothing half done.
///
/// # Errors
/// [`FileError`] naming the file that could not be written; [`FileError::Exists`] for one that was
/// to be kept. Files before it in the slice may have been written by then.
pub fn write_all(files: &[NewFile<'_>], existing: Existing) -> Result<(), FileError> {
    if existing == Existing::Keep {
        // The rename checks again. This check comes first so that usually nothing at all is written.
        if let Some(file) = files.iter().find(|file| file.path.symlink_metadata().is_ok()) {
            return Err(FileError::Exists(file.path.to_owned()));
        }
    }
    let mut ready = Vec::new();
    for file in files {
        ready.push((file.path, prepare(file).map_err(FileError::io("write", file.path))?));
    }
    for (path, temporary) in ready {
        let renamed = match existing {
            Existing::Keep => temporary.persist_noclobber(path),
            Existing::Replace => temporary.persist(path),
        };
        renamed.map_err(|error| FileError::io("write", path)(error.error))?;
        File::open(folder(path))
            .and_then(|folder| folder.sync_all())
            .map_err(FileError::io("write", path))?;
    }
    Ok(())
}

/// Makes a folder and its parents, with the mode that the umask leaves.
///
/// # Errors
/// Fails when one can't be made.
pub fn create_folders(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// Removes a file, if it is there.
///
/// # Errors
/// [`FileError`] when it can't be removed.
pub fn remove(path: &Path) -> Result<(), FileError> {
    removed(path, fs::remove_file(path))
}

/// Removes a folder and all that is in it, if it is there.
///
/// # Errors
/// [`FileError`] when it can't be removed.
pub fn remove_folder(path: &Path) -> Result<(), FileError> {
    removed(path, fs::remove_dir_all(path))
}

fn removed(path: &Path, done: io::Result<()>) -> Result<(), FileError> {
    match done {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FileError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

fn prepare(file: &NewFile<'_>) -> io::Result<tempfile::NamedTempFile> {
    let mode = if file.private { 0o600 } else { 0o644 };
    let mut temporary = tempfile::Builder::new()
        .prefix(".rcmd-")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(folder(file.path))?;
    temporary.write_all(file.bytes)?;
    // Set on the open file: the mode at creation is subject to the umask.
    temporary.as_file().set_permissions(Permissions::from_mode(mode))?;
    temporary.as_file().sync_all()?;
    Ok(temporary)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
