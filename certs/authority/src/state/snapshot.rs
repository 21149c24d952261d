//! What a backup copies, and what a restored authority does before it works again.
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

/// By how much a restored authority raises the number of its lists: more than it can have signed
/// since the backup, because members refuse lists that are numbered lower than what they have.
const LEAP: u64 = 1 << 20;

/// The store and the journal at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// A copy of the store, to be removed by whoever asked for it.
    pub store: PathBuf,
    /// How many bytes of the journal go with it.
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
        // Within a transaction nothing else is written; `copy` takes the mode over, 0600.
        self.store.look(|_| {
            fs::copy(&from, &to).map_err(FileError::io("write", &to)).map_err(StateError::from)
        })?;
        Ok(Snapshot { store: to, journal })
    }

    /// Makes a restored authority safe to work: what it does not know happened after the backup. Open
    /// tokens end, because they may have been used, and new lists are numbered above all that were
    /// signed. Returns how many tokens ended.
    ///
    /// # Errors
    /// [`StateError`]; call it again.
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
