//! What a look is asked for and what it answers, also between the server and a helper.

use std::{ffi::OsString, path::PathBuf};

use rustix::{fd::OwnedFd, fs::Stat, io::Errno};
use serde::{Deserialize, Serialize};

use crate::process::{
    account::{Account, AccountError},
    error::{Obstacle, SpawnError},
    program::Writable,
};

/// What is to be looked for. Nothing in it was looked up yet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Find a folder and a program.
    Find(Find),
    /// Look up the account of this name.
    Account(OsString),
    /// Copy the file at this path, which has no links, into memory.
    Copy(#[serde(with = "crate::process::program::as_bytes")] PathBuf),
}

/// A folder to start in, and a program to find from there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Find {
    /// The account's home, where it starts unless another folder is asked for.
    #[serde(with = "crate::process::program::as_bytes")]
    pub home: PathBuf,
    /// The folder that was asked for, from the home.
    pub cwd: Option<OsString>,
    /// The program.
    pub program: Wanted,
    /// The PATH that it will have.
    pub search: OsString,
    /// Whom it will run as: what that user may change is no finding.
    pub uid: u32,
}

/// A program that is wanted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Wanted {
    /// This shell.
    Shell(#[serde(with = "crate::process::program::as_bytes")] PathBuf),
    /// What this name stands for, as execvp(3) has it.
    Named(OsString),
}

/// What was found of what was looked for.
#[derive(Debug)]
pub struct Found {
    /// The facts.
    pub facts: Facts,
    /// The folder, opened by O_PATH.
    pub folder: OwnedFd,
    /// True when folder and program were found by way of folders of root and of the server's own account
    /// alone, on local file systems.
    pub trusted: bool,
}

/// What was found, in words.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Facts {
    /// The folder, without links.
    #[serde(with = "crate::process::program::as_bytes")]
    pub cwd: PathBuf,
    /// What the client should know although it is no error.
    pub note: Option<String>,
    /// The program, by the path that is executed.
    #[serde(with = "crate::process::program::as_bytes")]
    pub program: PathBuf,
    /// Its path without links.
    #[serde(with = "crate::process::program::as_bytes")]
    pub path: PathBuf,
    /// Who else could put another in its place, if anybody could.
    pub writable: Option<Writable>,
    /// True for an ELF file.
    pub is_elf: bool,
    /// The file's key.
    pub file: FileKey,
}

/// A file in one state: whoever changes its content changes this, but for what happens within one tick
/// of the clock.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct FileKey {
    device: u64,
    inode: u64,
    /// Bytes.
    pub size: u64,
    modified: (i64, i64),
    /// Seconds and nanoseconds since 1970.
    pub changed: (i64, i64),
}

impl FileKey {
    pub(super) fn of(stat: &Stat) -> Self {
        // Their types differ between machines.
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

/// Why nothing was found.
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
    /// There is no such file.
    NotFound(#[serde(with = "crate::process::program::as_bytes")] PathBuf),
    /// It is no file.
    NoFile(#[serde(with = "crate::process::program::as_bytes")] PathBuf),
    /// It may not be executed.
    Denied(#[serde(with = "crate::process::program::as_bytes")] PathBuf),
    /// It can't be read, or the host has no room for it.
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
}

impl From<Failure> for SpawnError {
    fn from(failure: Failure) -> Self {
        let error = std::io::Error::from_raw_os_error;
        match failure {
            Failure::Folder { path, errno } => Self::NoSuchDir { path, error: error(errno) },
            Failure::NotInPath { name, path } => Self::NotInPath { name, path },
            Failure::NotFound(path) => Self::NotFound(path),
            Failure::NoFile(path) => Self::NotExecutable { path, why: Obstacle::NoFile },
            Failure::Denied(path) => Self::NotExecutable { path, why: Obstacle::Denied },
            Failure::Unreadable { path, errno } => {
                Self::NotExecutable { path, why: Obstacle::Other(error(errno)) }
            }
        }
    }
}

/// An answer of a helper; what was opened comes beside it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// The folder comes with it.
    Found(Facts),
    /// The copy comes with it.
    Copied(FileKey),
    /// Nothing comes with it.
    Account(Result<Account, AccountError>),
    /// Nothing comes with it.
    Failed(Failure),
}
