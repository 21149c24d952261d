//! Files on disk: bounded reads, private keys that stay private, and writes that are whole or not
//! there.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use crate::{secret::Confidential, text::printable};

mod write;

pub use write::{Existing, NewFile, create_private_dir, write_all};

/// The largest file that is read, in bytes. A whole bundle of public authorities has 220 KiB.
pub const MAX_FILE: u64 = 1024 * 1024;

/// A file or folder that could not be used. The message names the path and, where one exists, the
/// command that mends it.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Nothing is there.
    #[error("{} does not exist", shown(.0))]
    Missing(PathBuf),
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", shown(path))]
    Io {
        /// What was tried: `read`, `write`, `create`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A folder, device, pipe or socket where a file should be.
    #[error("{} is not a regular file", shown(.0))]
    NotRegular(PathBuf),
    /// Larger than a file of its kind can be.
    #[error("{} is larger than {limit} bytes; a file of its kind is not", shown(path))]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bytes that it may have.
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
        /// Its permission bits.
        mode: u32,
        /// The permission bits that it should have, as `chmod` takes them.
        remedy: &'static str,
    },
    /// A file that decides whom to trust, and that anybody may change.
    #[error("anybody may change {} (mode {mode:04o}): chmod o-w {}", shown(path), shown(path))]
    WorldWritable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A private key that belongs to somebody else.
    #[error("{} belongs to uid {owner}, not to you (uid {own}) or root", shown(path))]
    Owner {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The uid of this process.
        own: u32,
    },
    /// A file that is there already and was not to be replaced.
    #[error("{} exists already", shown(.0))]
    Exists(PathBuf),
}

impl FileError {
    /// Returns whether the file is simply not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing(_))
    }

    /// Returns what turns an error of the system into [`FileError::Io`], for what was being done.
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

/// Reads a public file, such as a certificate. Symbolic links are followed: `certbot` and
/// Kubernetes lay certificates out so.
///
/// # Errors
/// [`FileError`] if it is missing, unreadable, no regular file, larger than [`MAX_FILE`], or
/// writable by anybody.
pub fn read_public(path: &Path) -> Result<Vec<u8>, FileError> {
    read_public_up_to(path, MAX_FILE)
}

/// Reads a public file that may have `limit` bytes.
///
/// # Errors
/// As [`read_public`], with this limit.
pub fn read_public_up_to(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    read_checked(path, limit, |metadata| {
        let mode = metadata.mode() & 0o7777;
        if mode & 0o002 != 0 {
            return Err(FileError::WorldWritable { path: path.to_owned(), mode });
        }
        Ok(())
    })
}

/// Reads a private key.
///
/// # Errors
/// As [`read_public`]; also if anybody but its owner may read or write it, or if its owner is
/// neither this process's user nor root.
pub fn read_private(path: &Path) -> Result<Confidential<Vec<u8>>, FileError> {
    let bytes = read_checked(path, MAX_FILE, |metadata| {
        let mode = metadata.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(FileError::TooOpen { path: path.to_owned(), mode, remedy: "600" });
        }
        let own = rustix::process::geteuid().as_raw();
        let owner = metadata.uid();
        if owner != own && owner != 0 {
            return Err(FileError::Owner { path: path.to_owned(), owner, own });
        }
        Ok(())
    })?;
    Ok(Confidential::new(bytes))
}

/// Opens a file. The checks are made on the open descriptor, so what was checked is what is read.
fn read_checked(
    path: &Path,
    limit: u64,
    check: impl FnOnce(&fs::Metadata) -> Result<(), FileError>,
) -> Result<Vec<u8>, FileError> {
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
    // What the file says of its size is believed up to the limit, and spares reads in small steps.
    let size = usize::try_from(metadata.len().min(limit)).unwrap_or_default();
    let mut bytes = Vec::with_capacity(size + 1);
    file.take(limit + 1).read_to_end(&mut bytes).map_err(FileError::io("read", path))?;
    if bytes.len() as u64 > limit {
        return Err(FileError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
