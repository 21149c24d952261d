//! The copy of the state for a backup, and the first steps of a restored authority.
#![expect(
    clippy::disallowed_methods,
    reason = "the authority's thread, and programs that serve nobody"
)]

use std::{fs, path::PathBuf};

use rcmd_certs::files::FileError;
use serde::{Deserialize, Serialize};

use super::{
    authority_state::AuthorityState,
    error::StateError,
    journal::Event,
    records::{LISTS, NEWEST, TOKENS},
};

/// The number by which a restored authority raises the number of its lists. It is more than the lists that can
/// have been signed since the backup, because members refuse lists with a lower number than theirs.
const LEAP: u64 = 1 << 20;

/// The store and the journal at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// A copy of the store, to be removed by whoever asked for it.
    pub store: PathBuf,
    /// The number of bytes of the journal that belong to it.
    pub journal: u64,
}

impl AuthorityState {
    /// Copies the store beside itself.
    ///
    /// # Errors
    /// [`StateError`] when there is no room, or the store fails.
    pub fn snapshot(&self) -> Result<Snapshot, StateError> {
        let (from, to) = (self.layout.store(), self.layout.authority_dir().join(".backup.redb"));
        let journal = fs::metadata(self.layout.journal()).map_or(0, |facts| facts.len());
        // Nothing else is written during a transaction. `copy` keeps the mode, 0600.
        self.store.look(|_| {
            fs::copy(&from, &to).map_err(FileError::io("write", &to)).map_err(StateError::from)
        })?;
        Ok(Snapshot { store: to, journal })
    }

    /// Makes a restored authority safe to use, since it does not know what happened after the backup. Open
    /// tokens end, because they may have been used, and new lists are numbered above all that were
    /// signed. Returns the number of tokens that ended.
    ///
    /// # Errors
    /// [`StateError`]; then the call must be repeated.
    pub fn restored(&self, made_at: &str, now: i64) -> Result<usize, StateError> {
        self.journal.add(now, Event::Restored { made_at: made_at.to_owned() })?;
        let ended = self.store.change::<_, StateError>(|rows| {
            let mut ended = 0;
            for (id, mut token) in rows.all(&TOKENS)? {
                if token.left > 0 && token.revoked_at.is_none() {
                    token.revoked_at = Some(now);
                    rows.put(&TOKENS, &id, &token)?;
                    ended += 1;
                }
            }
            if let Some(mut lists) = rows.get(&LISTS, NEWEST)? {
                lists.number = lists.number.saturating_add(LEAP);
                rows.put(&LISTS, NEWEST, &lists)?;
            }
            Ok(ended)
        })?;
        self.publish(now)?;
        Ok(ended)
    }
}
