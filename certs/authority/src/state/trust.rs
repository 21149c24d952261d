//! The authorities that members trust: the one that signs, and the other one of a rotation.

use std::sync::Arc;

use rcmd_certs::{
    files::{self, Existing, FileError, NewFile},
    paths::Layout,
};
use serde::{Deserialize, Serialize};

use super::{
    error::StateError,
    records::Step,
    store::{Store, Table},
};
use crate::ca::Authority;

/// The present step of a rotation, under [`HERE`]; there is no record when settled.
pub(super) const ROTATION: Table<RotationRecord> = Table::new("rotation");

/// The only key of [`ROTATION`].
pub(super) const HERE: &str = "here";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RotationRecord {
    pub(super) step: Step,
    /// The time at which the rotation began, in Unix time.
    pub(super) since: i64,
}

/// The authorities that members trust: the one that signs, and the other one of a rotation.
#[derive(Clone, Debug)]
pub(super) struct Trust {
    pub(super) signing: Arc<Authority>,
    pub(super) other: Option<Arc<Authority>>,
}

impl Trust {
    /// Loads the authorities that the store names, and finishes an unfinished settlement.
    pub(super) fn load(layout: &Layout, store: &Store) -> Result<Self, StateError> {
        let record = store.look(|rows| rows.get(&ROTATION, HERE))?;
        let next = layout.next_authority();
        if let Some(RotationRecord { step: Step::Settling, .. }) = record {
            if files::exists(&next.authority_cert()) {
                let new = Authority::load(&next)?;
                settle_files(layout, &new)?;
            }
            store.change(|rows| rows.remove(&ROTATION, HERE))?;
        }
        let signing = Arc::new(Authority::load(layout)?);
        match record.map(|record| record.step) {
            Some(Step::Announced) => {
                Ok(Self { signing, other: Some(Arc::new(Authority::load(&next)?)) })
            }
            Some(Step::Switched) => {
                Ok(Self { signing: Arc::new(Authority::load(&next)?), other: Some(signing) })
            }
            Some(Step::Settling) | None => Ok(Self { signing, other: None }),
        }
    }

    /// Returns all authorities whose certificates are accepted, the one that signs first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Authority>> {
        std::iter::once(&self.signing).chain(&self.other)
    }
}

/// Moves the new authority to the place of the old one. This may be repeated after a kill.
pub(super) fn settle_files(layout: &Layout, new: &Authority) -> Result<(), StateError> {
    write_authority(layout, new)?;
    Ok(remove(&layout.next_authority())?)
}

pub(super) fn write_authority(layout: &Layout, authority: &Authority) -> Result<(), FileError> {
    let (cert, key) = (layout.authority_cert(), layout.authority_key());
    let (cert_text, key_text) = (authority.cert_pem(), authority.key_pem());
    let files = [
        NewFile { path: &key, bytes: key_text.as_bytes(), private: true },
        NewFile { path: &cert, bytes: cert_text.as_bytes(), private: false },
    ];
    files::write_all(&files, Existing::Replace)
}

pub(super) fn remove(next: &Layout) -> Result<(), FileError> {
    files::remove_folder(next.dir())
}
