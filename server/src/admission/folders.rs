//! Folders that transfers hold open from the moment they are found until their processes have them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rcmd_protocol::outcome::{ErrorKind, WireError};

/// The count of open folders, of all identities together and of each.
#[derive(Debug)]
pub(crate) struct OpenFolders {
    all: usize,
    each: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    of: HashMap<Arc<str>, usize>,
}

/// Room for some folders, which is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct RoomForFolders {
    folders: Arc<OpenFolders>,
    who: Arc<str>,
    count: usize,
}

impl OpenFolders {
    /// Makes room for `all` folders, of which one identity may hold `each`.
    pub(crate) fn new(all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self { all, each, counts: Mutex::default() })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes room for folders that were opened for an identity.
    ///
    /// # Errors
    /// `busy`, if there is none: the caller closes the folders.
    pub(crate) fn take(
        self: &Arc<Self>,
        who: &str,
        count: usize,
    ) -> Result<RoomForFolders, WireError> {
        let mut counts = self.counts();
        let own = counts.of.get(who).copied().unwrap_or(0) + count;
        let whose = match (own > self.each, counts.all + count > self.all) {
            (true, _) => format!("transfers of this identity hold {} folders", self.each),
            (false, true) => format!("transfers hold {} folders", self.all),
            (false, false) => {
                let who = Arc::<str>::from(who);
                counts.of.insert(Arc::clone(&who), own);
                counts.all += count;
                drop(counts);
                return Ok(RoomForFolders { folders: Arc::clone(self), who, count });
            }
        };
        let message = format!("{whose} open that have not begun, and may hold no more");
        Err(WireError::new(ErrorKind::Busy, message)
            .hint("Nothing was transferred; try again.")
            .retry_after_ms(1000))
    }
}

impl Drop for RoomForFolders {
    fn drop(&mut self) {
        let mut counts = self.folders.counts();
        counts.all = counts.all.saturating_sub(self.count);
        if let Some(own) = counts.of.get_mut(&self.who) {
            *own = own.saturating_sub(self.count);
            if *own == 0 {
                counts.of.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_folders_are_held_than_one_identity_and_all_may_hold() {
        let folders = OpenFolders::new(100, 64);
        let first = folders.take("a", 32).unwrap();
        let second = folders.take("a", 32).unwrap();
        let failure = folders.take("a", 1).unwrap_err();
        assert!(failure.message.contains("of this identity hold 64 folders"), "{failure}");
        assert_eq!((failure.kind, failure.retry_after_ms), (ErrorKind::Busy, Some(1000)));
        let other = folders.take("b", 36).unwrap();
        let failure = folders.take("c", 1).unwrap_err();
        assert!(failure.message.contains("transfers hold 100 folders"), "{failure}");
        drop(first);
        let third = folders.take("c", 32).unwrap();
        assert!(folders.take("a", 1).is_err());
        drop((second, third, other));
        let counts = folders.counts();
        assert!(counts.all == 0 && counts.of.is_empty(), "{counts:?}");
    }
}
