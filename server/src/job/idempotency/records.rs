//! The records of keys in memory, a bounded number for each identity.

use std::{collections::HashMap, sync::Arc};

use rcmd_protocol::{frame::Exit, ids::Key, outcome::Outcome};

use super::line::Record;

/// The records, by identity and key.
#[derive(Debug, Default)]
pub(super) struct Records {
    users: HashMap<Arc<str>, OfUser>,
    count: usize,
}

#[derive(Debug, Default)]
struct OfUser {
    records: HashMap<Key, Arc<Record>>,
    /// The number of keys that are being recorded.
    begun: usize,
}

/// A record with its identity and its key.
pub(super) type Whole = (Arc<str>, Key, Arc<Record>);

impl Records {
    /// Returns the record of a key.
    pub(super) fn get(&self, user: &str, key: Key) -> Option<Arc<Record>> {
        self.users.get(user)?.records.get(&key).cloned()
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Returns all records as they are now.
    pub(super) fn all(&self) -> Vec<Whole> {
        let of = |(user, of): (&Arc<str>, &OfUser)| {
            let user = Arc::clone(user);
            let records = of
                .records
                .iter()
                .map(move |(key, record)| (Arc::clone(&user), *key, Arc::clone(record)));
            records.collect::<Vec<_>>()
        };
        self.users.iter().flat_map(of).collect()
    }

    /// Adds or replaces a record. A record of a command that did not run frees its key.
    pub(super) fn insert(&mut self, user: &str, key: Key, record: Record) {
        let nothing_ran = |exit: &Exit| exit.outcome() == Outcome::NotStarted;
        if record.end.as_deref().is_some_and(nothing_ran) {
            return self.remove(user, key);
        }
        let of = match self.users.get_mut(user) {
            Some(of) => of,
            None => self.users.entry(user.into()).or_default(),
        };
        if of.records.insert(key, Arc::new(record)).is_none() {
            self.count += 1;
        }
    }

    fn remove(&mut self, user: &str, key: Key) {
        let Some(of) = self.users.get_mut(user) else { return };
        if of.records.remove(&key).is_some() {
            self.count -= 1;
        }
        self.tidy(user);
    }

    fn tidy(&mut self, user: &str) {
        if self.users.get(user).is_some_and(|of| of.records.is_empty() && of.begun == 0) {
            self.users.remove(user);
        }
    }

    /// Removes the records of keys used before this time, in milliseconds since 1970.
    pub(super) fn forget_before(&mut self, at: u64) {
        self.users.retain(|_, of| {
            of.records.retain(|_, record| record.at >= at);
            !of.records.is_empty()
        });
        self.count = self.users.values().map(|of| of.records.len()).sum();
    }

    /// Takes a place for one more key of an identity, which may have `limit`. If it has as many,
    /// the oldest record is removed, provided that the key was used `kept` milliseconds ago.
    ///
    /// # Errors
    /// The milliseconds until a place is free, if there is none.
    pub(super) fn take_place(
        &mut self,
        user: &str,
        limit: usize,
        now: u64,
        kept: u64,
    ) -> Result<(), u64> {
        let of = self.users.entry(user.into()).or_default();
        if of.records.len() + of.begun >= limit {
            let oldest = of.records.iter().min_by_key(|(_, record)| record.at);
            let oldest = oldest.map(|(key, record)| (*key, record.at.saturating_add(kept)));
            match oldest {
                Some((key, until)) if until <= now => {
                    of.records.remove(&key);
                    self.count -= 1;
                }
                oldest => {
                    let free_in = oldest.map_or(1000, |(_, until)| until - now);
                    self.tidy(user);
                    return Err(free_in);
                }
            }
        }
        self.users.entry(user.into()).or_default().begun += 1;
        Ok(())
    }

    /// Frees a place that [`Records::take_place`] took: the key has been recorded, or will not be.
    pub(super) fn give_back(&mut self, user: &str) {
        if let Some(of) = self.users.get_mut(user) {
            of.begun -= 1;
        }
        self.tidy(user);
    }
}

#[cfg(test)]
mod tests {
    use rcmd_protocol::ids::{JobId, RequestDigest};

    use super::*;

    const KEPT: u64 = 100;

    fn record(at: u64) -> Record {
        let digest = RequestDigest::from_hex(&"0".repeat(64)).unwrap();
        Record { digest, job: JobId::random().unwrap(), at, end: None }
    }

    fn key(name: &str) -> Key {
        Key::from_text(name.as_bytes())
    }

    #[test]
    fn at_its_number_an_identity_gets_no_more_until_its_oldest_is_old_enough() {
        let mut records = Records::default();
        for at in 0..3 {
            records.take_place("a", 3, at, KEPT).unwrap();
            records.insert("a", key(&at.to_string()), record(at));
            records.give_back("a");
        }
        assert_eq!(records.take_place("a", 3, 40, KEPT), Err(60));
        assert_eq!(records.take_place("b", 3, 40, KEPT), Ok(()), "another has its own");
        assert!(records.get("a", key("0")).is_some());
        assert_eq!(records.take_place("a", 3, 100, KEPT), Ok(()));
        assert!(records.get("a", key("0")).is_none() && records.get("a", key("1")).is_some());
        assert_eq!(records.count(), 2);
    }

    #[test]
    fn keys_that_are_being_written_down_count() {
        let mut records = Records::default();
        assert_eq!(records.take_place("a", 1, 0, KEPT), Ok(()));
        assert_eq!(records.take_place("a", 1, 0, KEPT), Err(1000));
        records.give_back("a");
        assert_eq!(records.take_place("a", 1, 0, KEPT), Ok(()));
        records.give_back("a");
        assert!(records.users.is_empty(), "nothing is kept of who has nothing");
    }
}
