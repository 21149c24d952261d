//! Files on disk: bounded reads, private keys that stay private, and atomic writes.
#![expect(
    clippy::disallowed_methods,
    reason = "the thread `upkeep`, the authority's thread, programs before they serve and those that serve nobody"
)]

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use crate::{secret::Confidential, text::printable};

mod guard;
mod write;

pub use write::{
    Existing, NewFile, create_folders, create_private_dir, remove, remove_folder, write_all,
};

/// The largest file that is read, in bytes. A whole bundle of public authorities has 220 KiB.
pub const MAX_FILE: u64 = 1024 * 1024;

/// A file or folder that could not be used. The message names the path and, where there is one, the
/// command that repairs it.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file does not exist.
    #[error("{} does not exist", shown(.0))]
    Missing(PathBuf),
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", shown(path))]
    Io {
        /// The action that failed: `read`, `write`, `create`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A folder, device, pipe or socket where a file should be.
    #[error("{} is not a regular file", shown(.0))]
    NotRegular(PathBuf),
    /// A file larger than its limit.
    #[error("{} is larger than {limit} bytes", shown(path))]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit, in bytes.
        limit: u64,
    },
    /// A private key that others can read, or a folder of keys that others can enter.
    #[error(
        "others may use {} (mode {mode:04o}); keep it to yourself: chmod {remedy} {}",
        shown(path),
        shown(path)
    )]
    TooOpen {
        /// The file or folder.
        path: PathBuf,
        /// The permission bits of the file or folder.
        mode: u32,
        /// The permission bits that it should have, as `chmod` takes them.
        remedy: &'static str,
    },
    /// A file that decides something, or a folder above it, that others may change.
    #[error(
        "others than its owner may change {} (mode {mode:04o}): chmod go-w {}",
        shown(path),
        shown(path)
    )]
    Writable {
        /// The file or folder.
        path: PathBuf,
        /// The permission bits of the file or folder.
        mode: u32,
    },
    /// A file that decides something, or a folder above it, that belongs to somebody else.
    #[error(
        "{} belongs to uid {owner}, not to you (uid {own}) or root, who could change it: run this as \
         its owner, or chown it",
        shown(path)
    )]
    Owner {
        /// The file or folder.
        path: PathBuf,
        /// The uid of the owner.
        owner: u32,
        /// The uid of this process.
        own: u32,
    },
    /// A file that is there already and was not to be replaced.
    #[error("{} exists already", shown(.0))]
    Exists(PathBuf),
}

impl FileError {
    /// Returns whether the file does not exist.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing(_))
    }

    /// Returns a function that turns an error of the system into a [`FileError`] about `action` and `path`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::NotFound if action == "read" => Self::Missing(path.to_owned()),
            io::ErrorKind::AlreadyExists => Self::Exists(path.to_owned()),
            _ => Self::Io { action, path: path.to_owned(), source },
        }
    }
}

/// Returns a path made safe to print.
pub fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy())
}

/// Reads a file that decides something: certificates, lists, settings, rules. Symbolic links are
/// followed: `certbot` and Kubernetes lay certificates out so.
///
/// # Errors
/// [`FileError`] if it is missing, unreadable, no regular file, larger than [`MAX_FILE`]; also if it,
/// or a folder or a link on the way to it, belongs to somebody else than root or this process's user,
/// or others may change it.
pub fn read_public(path: &Path) -> Result<Vec<u8>, FileError> {
    read_public_up_to(path, MAX_FILE)
}

/// Reads like [`read_public`], with another limit, in bytes.
///
/// # Errors
/// As [`read_public`].
pub fn read_public_up_to(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let bytes = read_checked(path, limit, |found| guard::check(path, found))?;
    guard::check_way(path)?;
    Ok(bytes)
}

/// Reads a file of at most `limit` bytes that decides nothing, whoever may change it.
///
/// # Errors
/// [`FileError`] if it is missing, unreadable, no regular file, or larger.
pub fn read_shown(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    read_checked(path, limit, |_| Ok(()))
}

/// Reads a private key.
///
/// # Errors
/// [`FileError`] if it is missing, unreadable, no regular file, or larger than [`MAX_FILE`]; also if
/// anybody but its owner may read or write it, or if its owner is neither this process's user nor root.
pub fn read_private(path: &Path) -> Result<Confidential<Vec<u8>>, FileError> {
    read_checked(path, MAX_FILE, |found| check_private(path, found)).map(Confidential::new)
}

/// Returns whether a path leads to a file or folder.
pub fn exists(path: &Path) -> bool {
    path.exists()
}

/// Returns whether the name is in use, be it by a link that leads nowhere.
pub fn is_taken(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Checks that this process may use a private key, without reading it. This comes before files are made
/// beside it that would belong to another user.
///
/// # Errors
/// As [`read_private`].
pub fn check_key(path: &Path) -> Result<(), FileError> {
    open_checked(path, |found| check_private(path, found)).map(drop)
}

/// Checks that files which this process makes in `dir` would belong to the folder's owner, or to root. In
/// another user's home they would lock that user out.
///
/// # Errors
/// [`FileError`] naming the folder that belongs to somebody else, or that others may change.
pub fn check_folder(dir: &Path) -> Result<(), FileError> {
    guard::check_way(dir)
}

fn check_private(path: &Path, found: &fs::Metadata) -> Result<(), FileError> {
    let mode = found.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(FileError::TooOpen { path: path.to_owned(), mode, remedy: "600" });
    }
    guard::check_owner(path, found)
}

/// Opens a file. The checks are made on the open descriptor, so that the file checked is the file read.
fn open_checked(
    path: &Path,
    check: impl FnOnce(&fs::Metadata) -> Result<(), FileError>,
) -> Result<(File, u64), FileError> {
    let file = OpenOptions::new()
        .read(true)
        // A named pipe without a writer would block the open.
        .custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed())
        .open(path)
        .map_err(FileError::io("read", path))?;
    let metadata = file.metadata().map_err(FileError::io("read", path))?;
    if !metadata.is_file() {
        return Err(FileError::NotRegular(path.to_owned()));
    }
    check(&metadata)?;
    Ok((file, metadata.len()))
}

fn read_checked(
    path: &Path,
    limit: u64,
    check: impl FnOnce(&fs::Metadata) -> Result<(), FileError>,
) -> Result<Vec<u8>, FileError> {
    let (file, size) = open_checked(path, check)?;
    // The size that the file claims is believed up to the limit, which saves reads in small steps.
    let size = usize::try_from(size.min(limit)).unwrap_or_default();
    let mut bytes = Vec::with_capacity(size + 1);
    file.take(limit + 1).read_to_end(&mut bytes).map_err(FileError::io("read", path))?;
    if bytes.len() as u64 > limit {
        return Err(FileError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
