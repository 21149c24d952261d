//! Where what is received goes.

use std::{os::fd::OwnedFd, sync::Arc};

use crate::{facts::FileFacts, failure::Failure, name};

/// A place for what is received, with the descriptor that everything is reached from. It may be one of `O_PATH`.
#[derive(Clone, Debug)]
pub struct Destination {
    pub(crate) folder: Arc<OwnedFd>,
    pub(crate) facts: FileFacts,
    pub(crate) kind: DestinationKind,
}

/// What the descriptor of a destination is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DestinationKind {
    /// The folder that every source goes into, under its own name.
    Inside,
    /// The folder that the one source goes into, under this name.
    Named(Vec<u8>),
    /// The folder that stands for the one source, which must be a folder.
    Itself,
    /// The folder in which one of this name is made, which every source goes into. The first must be a folder.
    NewFolder(Vec<u8>),
}

impl Destination {
    /// Returns the inside of a folder: each source goes into it under its own name.
    ///
    /// # Errors
    /// The system does not tell which folder it is.
    pub fn inside(folder: OwnedFd) -> Result<Self, Failure> {
        Self::new(folder, DestinationKind::Inside)
    }

    /// Returns a name in a folder: the one source goes there. A folder that has this name already is kept with its
    /// permission bits and times, and gets the contents of the source.
    ///
    /// # Errors
    /// `unsafe_path`: it is no name; or the system does not tell which folder it is.
    pub fn named(folder: OwnedFd, name: &[u8]) -> Result<Self, Failure> {
        name::check(name)?;
        Self::new(folder, DestinationKind::Named(name.to_vec()))
    }

    /// Returns a folder that gets the contents of the one source, which is a folder. Its permission bits and times
    /// stay.
    ///
    /// # Errors
    /// The system does not tell which folder it is.
    pub fn itself(folder: OwnedFd) -> Result<Self, Failure> {
        Self::new(folder, DestinationKind::Itself)
    }

    /// Returns a folder that does not exist yet, by its name in another. It is made if the first source is a folder;
    /// a file has no folder to go into.
    ///
    /// # Errors
    /// `unsafe_path`: it is no name; or the system does not tell which folder it is.
    pub fn new_folder(folder: OwnedFd, name: &[u8]) -> Result<Self, Failure> {
        name::check(name)?;
        Self::new(folder, DestinationKind::NewFolder(name.to_vec()))
    }

    /// Returns a destination of any kind.
    ///
    /// # Errors
    /// `unsafe_path`: its name is none; or the system does not tell which folder it is.
    pub fn of(folder: OwnedFd, kind: DestinationKind) -> Result<Self, Failure> {
        if let DestinationKind::Named(name) | DestinationKind::NewFolder(name) = &kind {
            name::check(name)?;
        }
        Self::new(folder, kind)
    }

    /// Returns the descriptor and what it is, from which [`of`](Self::of) makes the destination again, in another
    /// process too.
    #[must_use]
    pub fn into_parts(self) -> (Arc<OwnedFd>, DestinationKind) {
        (self.folder, self.kind)
    }

    fn new(folder: OwnedFd, kind: DestinationKind) -> Result<Self, Failure> {
        let facts = FileFacts::of(&folder);
        let facts = facts.map_err(|error| Failure::of(error, "look at the folder"))?;
        Ok(Self { folder: Arc::new(folder), facts, kind })
    }
}
