//! What is sent: an entry of a folder, or a folder that is open.

use std::{os::fd::OwnedFd, sync::Arc};

use crate::{
    facts::{FileFacts, FileId},
    failure::Failure,
    limits, name,
};

/// One thing to be sent. What stands beneath it is reached from its descriptor, and no link is followed.
#[derive(Clone, Debug)]
pub struct TransferSource {
    pub(crate) folder: Arc<OwnedFd>,
    /// Which folder it is.
    pub(crate) id: FileId,
    /// The entry, or nothing if it is the folder itself.
    pub(crate) entry: Option<Vec<u8>>,
    pub(crate) name: Vec<u8>,
    /// Why there is nothing to be sent.
    pub(crate) failure: Option<Failure>,
}

/// What a source consists of, from which it can be made again, in another process too.
#[derive(Clone, Debug)]
pub struct SourceParts {
    /// The folder.
    pub folder: Arc<OwnedFd>,
    /// The entry of the folder that is the source, or nothing if that is the folder itself.
    pub entry: Option<Vec<u8>>,
    /// Its name for the destination.
    pub name: Vec<u8>,
}

impl TransferSource {
    /// Returns an entry of a folder as a source: a file, a folder, or a link, which is sent as a link.
    ///
    /// # Errors
    /// `unsafe_path`: it is not the name of an entry; or the system does not tell which folder it is.
    pub fn entry(folder: Arc<OwnedFd>, entry: &[u8]) -> Result<Self, Failure> {
        name::check(entry)?;
        let id = id_of(&folder)?;
        Ok(Self { folder, id, entry: Some(entry.to_vec()), name: entry.to_vec(), failure: None })
    }

    /// Returns an open folder as a source, under a name for the destination. The descriptor must permit reading.
    ///
    /// # Errors
    /// `unsafe_path`: it cannot be the name of an entry; or the system does not tell which folder it is.
    pub fn folder(folder: OwnedFd, name: &[u8]) -> Result<Self, Failure> {
        name::check(name)?;
        let id = id_of(&folder)?;
        Ok(Self { folder: Arc::new(folder), id, entry: None, name: name.to_vec(), failure: None })
    }

    /// Returns a source that cannot be sent: the transfer announces that it failed, under a path of which the receiver
    /// makes no file. The descriptor may be that of any folder.
    ///
    /// # Errors
    /// The system does not tell which folder it is.
    pub fn lost(folder: Arc<OwnedFd>, path: &[u8], failure: Failure) -> Result<Self, Failure> {
        let id = id_of(&folder)?;
        let name = path.get(..limits::NAME).unwrap_or(path).to_vec();
        Ok(Self { folder, id, entry: None, name, failure: Some(failure) })
    }

    /// Returns what the source consists of.
    #[must_use]
    pub fn into_parts(self) -> SourceParts {
        SourceParts { folder: self.folder, entry: self.entry, name: self.name }
    }

    /// Returns the same source under another name for the destination.
    ///
    /// # Errors
    /// `unsafe_path`: it cannot be the name of an entry.
    pub fn under(mut self, name: &[u8]) -> Result<Self, Failure> {
        name::check(name)?;
        self.name = name.to_vec();
        Ok(self)
    }
}

fn id_of(folder: &OwnedFd) -> Result<FileId, Failure> {
    let facts = FileFacts::of(folder).map_err(|error| Failure::of(error, "look at the folder"))?;
    Ok(facts.id)
}
