//! The roots of a transfer: the places on this host that its paths lead to, as `cp` reads paths.
//!
//! | module | holds |
//! | --- | --- |
//! | `finding` | finding them |
//! | `expand` | what a path with patterns means |

mod expand;
pub(super) mod finding;
#[cfg(test)]
mod tests;

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::PathBuf};

use rustix::{
    fd::{AsFd as _, OwnedFd},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use super::walk::path_of;

/// The maximum number of roots of one transfer.
pub const ROOTS: usize = 512;

/// An order to find the roots of a transfer. Nothing in it has been looked up yet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FindRoots {
    /// The account's home, where relative paths begin.
    #[serde(with = "crate::process::program::as_bytes")]
    pub home: PathBuf,
    /// The kind of roots.
    pub wanted: WantedRoots,
    /// The paths, at least one.
    pub paths: Vec<Vec<u8>>,
}

/// The kind of roots of a transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum WantedRoots {
    /// The place that the one path means, to receive into.
    Place {
        /// True if the path is the place of the one source, whatever is there.
        is_itself: bool,
        /// True if there are several sources.
        has_several: bool,
    },
    /// What stands at the paths, to be read.
    Sources {
        /// True if no name in them is a pattern.
        is_literal: bool,
    },
}

/// A root of a transfer. Its folder is one of those that were opened, by number.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Root {
    /// Something to be read: the entry of a folder, or the folder itself.
    Source {
        /// The folder.
        folder: usize,
        /// The entry.
        entry: Option<Vec<u8>>,
        /// The name that it has for the receiver.
        name: Vec<u8>,
        /// The size in bytes; 0 of what is no file.
        size: u64,
    },
    /// A place to receive into.
    Place {
        /// The folder.
        folder: usize,
        /// What the folder is.
        kind: PlaceKind,
        /// True if it is, or would be, the root of the host, a home, or a folder above one: nothing is deleted in it,
        /// nor in what stands there under the name of a source.
        is_home: bool,
    },
    /// A path to be read that leads nowhere.
    Lost {
        /// The path as it was asked for.
        path: Vec<u8>,
        /// The reason.
        why: RootFailure,
    },
}

/// What the folder of a place is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum PlaceKind {
    /// Each source goes into it, under its own name.
    Inside,
    /// It stands for the one source.
    Itself,
    /// The one source goes into it, under this name.
    Named(Vec<u8>),
    /// A folder of this name is made in it, which each source goes into.
    NewFolder(Vec<u8>),
}

/// The reason why a path leads nowhere.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RootFailure {
    /// The name of a kind of failure.
    pub kind: String,
    /// What happened; with the path, unless it is that of one root.
    pub message: String,
}

/// The roots that were found.
#[derive(Debug)]
pub struct FoundRoots {
    /// The folders, each with its path without links.
    pub folders: Vec<(OwnedFd, PathBuf)>,
    /// The roots, at least one.
    pub roots: Vec<Root>,
}

impl Root {
    /// Returns the number of the folder, if there is one.
    pub fn folder(&self) -> Option<usize> {
        match self {
            Self::Source { folder, .. } | Self::Place { folder, .. } => Some(*folder),
            Self::Lost { .. } => None,
        }
    }

    /// Returns the name in the folder that the root has, if it is not the folder itself.
    pub fn entry(&self) -> Option<&[u8]> {
        match self {
            Self::Source { entry, .. } => entry.as_deref(),
            Self::Place { kind: PlaceKind::Named(name) | PlaceKind::NewFolder(name), .. } => {
                Some(name)
            }
            Self::Place { kind: PlaceKind::Inside | PlaceKind::Itself, .. } | Self::Lost { .. } => {
                None
            }
        }
    }

    /// Returns the size in bytes of what is there to be read.
    pub fn size(&self) -> u64 {
        match self {
            Self::Source { size, .. } => *size,
            Self::Place { .. } | Self::Lost { .. } => 0,
        }
    }
}

impl FoundRoots {
    /// Checks the answer of a look, and finds the path of each folder by its descriptor, so that the
    /// folder that is judged is the one that is used.
    ///
    /// # Errors
    /// If an answer names what it does not pass on, or a folder has no path.
    pub(super) fn verified(roots: Vec<Root>, passed: Vec<OwnedFd>) -> Result<Self, Errno> {
        let is_name = |name: &[u8]| {
            !matches!(name, b"" | b"." | b"..") && !name.iter().any(|b| b"/\0".contains(b))
        };
        let is_valid = |root: &Root| {
            root.folder().is_none_or(|folder| folder < passed.len())
                && root.entry().is_none_or(is_name)
        };
        if roots.is_empty() || roots.len() > ROOTS || !roots.iter().all(is_valid) {
            return Err(Errno::INVAL);
        }
        let folders = passed.into_iter().map(|folder| {
            let path = path_of(folder.as_fd())?;
            if path.is_absolute() { Ok((folder, path)) } else { Err(Errno::STALE) }
        });
        Ok(Self { folders: folders.collect::<Result<_, _>>()?, roots })
    }

    /// Returns the path of a root without links; `None` of one that leads nowhere.
    pub fn path(&self, root: &Root) -> Option<PathBuf> {
        let (_, folder) = self.folders.get(root.folder()?)?;
        Some(match root.entry() {
            Some(entry) => folder.join(OsStr::from_bytes(entry)),
            None => folder.clone(),
        })
    }
}
