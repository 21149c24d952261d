//! A file whose content was asked for, and what becomes of an entry.

use std::{fs::File, rc::Rc};

use super::{metadata::Wanted, place::Place};
use crate::{
    facts::FileFacts,
    failure::{EventOrigin, Failure},
    report::{FileAction, FileNotes},
};

/// A file whose content was asked for.
pub(super) struct Pending {
    pub(super) place: Rc<Place>,
    pub(super) name: Vec<u8>,
    /// What is there.
    pub(super) found: Option<FileFacts>,
    pub(super) notes: FileNotes,
    pub(super) has_more_names: bool,
    pub(super) wanted: Wanted,
    /// Names that are made when it is there.
    pub(super) links: Vec<WaitingLink>,
    pub(super) offer: Option<Offer>,
    /// How many of its chunks the sender was told of.
    pub(super) known: u64,
}

/// A name that waits for its file.
pub(super) struct WaitingLink {
    pub(super) index: u64,
    pub(super) place: Rc<Place>,
    pub(super) name: Vec<u8>,
}

/// A part of a file that was offered to the sender.
pub(super) struct Offer {
    pub(super) file: File,
    pub(super) part: OfferedPart,
    pub(super) length: u64,
    /// The bytes of each of its ranges, at an end of which the content may begin.
    pub(super) step: u64,
}

/// Where a part that was offered lies.
pub(super) enum OfferedPart {
    /// In the partial file of this name, which is this transfer's from now on.
    Own(Vec<u8>),
    /// In a partial file that another transfer writes, or that others may have open: what is gone on from is copied.
    /// One of this name is removed then.
    Copied(Option<Vec<u8>>),
    /// In the file that is there.
    InPlace,
}

/// What became of an entry.
pub(super) struct Outcome {
    pub(super) action: FileAction,
    pub(super) origin: EventOrigin,
    pub(super) notes: FileNotes,
    pub(super) bytes: u64,
    pub(super) digest: Option<[u8; 32]>,
    pub(super) failure: Option<Failure>,
}

impl Outcome {
    pub(super) fn done(action: FileAction, notes: FileNotes) -> Self {
        let origin = EventOrigin::Announced;
        Self { action, origin, notes, bytes: 0, digest: None, failure: None }
    }

    pub(super) fn failed(failure: Failure) -> Self {
        let action = FileAction::of_failure(&failure);
        Self { failure: Some(failure), ..Self::done(action, FileNotes::default()) }
    }
}
