//! The orders for looks and their answers, also between the server and a helper.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use rustix::{fd::OwnedFd, fs::Stat, io::Errno};
use serde::{Deserialize, Serialize};

use super::roots::{FindRoots, Root, RootFailure};
use crate::process::{
    account::{Account, AccountError},
    error::{Obstacle, SpawnError, lacking},
    ids::Uid,
    program::Writable,
};

/// An order for a look. Nothing in it has been looked up yet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Find a folder and a program.
    Find(Find),
    /// Look up the account of this name.
    Account(OsString),
    /// Find the roots of a transfer.
    Roots(FindRoots),
    /// Copy the file at this path, which has no links, into memory.
    Copy(#[serde(with = "crate::process::program::as_bytes")] PathBuf),
}

/// The folder to start in, and the program to find from there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Find {
    /// The account's home, where the command starts unless the request names another folder.
    #[serde(with = "crate::process::program::as_bytes")]
    pub home: PathBuf,
    /// The folder that the request names, relative to the home.
    pub cwd: Option<OsString>,
    /// The program to find.
    pub program: Wanted,
    /// The PATH that the command will have.
    pub search: OsString,
    /// The user ID that it will run as; that this user may change the program is not a finding.
    pub uid: Uid,
}

/// A program to find.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Wanted {
    /// This shell.
    Shell(#[serde(with = "crate::process::program::as_bytes")] PathBuf),
    /// The program that execvp(3) would find by this name.
    Named(OsString),
}

/// The result of a look.
#[derive(Debug)]
pub struct Found {
    /// The facts that were found.
    pub facts: Facts,
    /// The folder, opened with O_PATH.
    pub folder: OwnedFd,
    /// True if the folder and the program were found only through folders of root and of the
    /// server's own account, on local file systems.
    pub trusted: bool,
}

/// The facts that a look has found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Facts {
    /// The path of the folder without links.
    #[serde(with = "crate::process::program::as_bytes")]
    pub cwd: PathBuf,
    /// A note for the client, which is not an error.
    pub note: Option<String>,
    /// The path by which the program is executed.
    #[serde(with = "crate::process::program::as_bytes")]
    pub program: PathBuf,
    /// The path of the program without links.
    #[serde(with = "crate::process::program::as_bytes")]
    pub path: PathBuf,
    /// The way in which others could put another in its place, if there is one.
    pub writable: Option<Writable>,
    /// True if the program is an ELF file.
    pub is_elf: bool,
    /// The key of the program's file.
    pub file: FileKey,
}

/// A key for a file in one state: a change of the content changes the key, except within one tick
/// of the clock.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct FileKey {
    device: u64,
    inode: u64,
    /// The size in bytes.
    pub size: u64,
    modified: (i64, i64),
    /// The time of the last change of status, in seconds and nanoseconds since 1970.
    pub changed: (i64, i64),
}

impl FileKey {
    pub(super) fn of(stat: &Stat) -> Self {
        // The types of these fields differ between architectures.
        #[allow(clippy::unnecessary_cast, trivial_numeric_casts)]
        Self {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        }
    }
}

/// The reason why nothing was found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Failure {
    /// The folder can't be entered.
    Folder {
        #[serde(with = "crate::process::program::as_bytes")]
        path: PathBuf,
        errno: i32,
    },
    /// No folder of PATH has such a program.
    NotInPath { name: OsString, path: OsString },
    /// The file does not exist.
    NotFound(#[serde(with = "crate::process::program::as_bytes")] PathBuf),
    /// The path is not a regular file.
    NoFile(#[serde(with = "crate::process::program::as_bytes")] PathBuf),
    /// The file may not be executed.
    Denied(#[serde(with = "crate::process::program::as_bytes")] PathBuf),
    /// The file can't be read, or the host has no memory for its copy.
    Unreadable {
        #[serde(with = "crate::process::program::as_bytes")]
        path: PathBuf,
        errno: i32,
    },
}

impl Failure {
    pub(super) fn folder(path: PathBuf, errno: Errno) -> Self {
        Self::Folder { path, errno: errno.raw_os_error() }
    }

    pub(super) fn unreadable(path: &Path, errno: Errno) -> Self {
        Self::Unreadable { path: path.to_owned(), errno: errno.raw_os_error() }
    }
}

impl From<Failure> for SpawnError {
    fn from(failure: Failure) -> Self {
        // Missing resources of the host are no property of the file.
        let of = |path, errno, otherwise: fn(PathBuf, io::Error) -> Self| {
            let error = io::Error::from_raw_os_error(errno);
            match lacking(Errno::from_raw_os_error(errno)) {
                Some(what) => Self::Resources { path, what, error },
                None => otherwise(path, error),
            }
        };
        match failure {
            Failure::Folder { path, errno } => {
                of(path, errno, |path, error| Self::NoSuchDir { path, error })
            }
            Failure::NotInPath { name, path } => Self::NotInPath { name, path },
            Failure::NotFound(path) => Self::NotFound(path),
            Failure::NoFile(path) => Self::NotExecutable { path, why: Obstacle::NoFile },
            Failure::Denied(path) => Self::NotExecutable { path, why: Obstacle::Denied },
            Failure::Unreadable { path, errno } => of(path, errno, |path, error| {
                Self::NotExecutable { path, why: Obstacle::Other(error) }
            }),
        }
    }
}

/// The answer of a helper; an opened file or folder is passed beside it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// The facts; the folder is passed beside them.
    Found(Facts),
    /// The key of a copied file; the copy is passed beside it.
    Copied(FileKey),
    /// The roots; their folders are passed beside them.
    Roots(Vec<Root>),
    /// The reason why there are none; nothing is passed beside it.
    NoRoots(RootFailure),
    /// The account; nothing is passed beside it.
    Account(Result<Account, AccountError>),
    /// The failure; nothing is passed beside it.
    Failed(Failure),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_descriptors_is_out_of_resources_and_the_file_is_not_missing() {
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM] {
            let path = PathBuf::from("/bin/sh");
            let failures = [Failure::unreadable(&path, errno), Failure::folder(path, errno)];
            for failure in failures {
                let error = SpawnError::from(failure);
                assert!(matches!(error, SpawnError::Resources { .. }), "{error}");
            }
        }
    }
}
