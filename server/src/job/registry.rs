//! The jobs of a server, by the identity and the key that started them.

mod reservation;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rcmd_protocol::{
    ids::{Key, RequestDigest},
    outcome::{ErrorKind, WireError},
};

pub(crate) use self::reservation::{Counted, KeyReservation, Reservation};
use crate::{admission::presence::Presence, config::limits::RETAINED, job::JobHandle};

/// The jobs of a server. An entry exists before its job does anything, and leaves a tombstone, so
/// that a late attach is answered that the job is gone, not that it never existed.
#[derive(Debug)]
pub(crate) struct Registry {
    jobs: Mutex<Jobs>,
    channels: usize,
    tombstone: Duration,
    /// Where each job is a guest, as long as its end is kept.
    presence: Arc<Presence>,
}

#[derive(Debug, Default)]
struct Jobs {
    users: HashMap<String, User>,
    live: usize,
}

#[derive(Debug, Default)]
struct User {
    entries: HashMap<Key, Entry>,
    live: usize,
    /// The keys of ended jobs, oldest first; a job that leaves the list is forgotten.
    ended: VecDeque<Key>,
    /// The tombstones, oldest first.
    tombstones: VecDeque<(Instant, Key)>,
}

#[derive(Debug)]
enum Entry {
    Live { digest: RequestDigest, job: JobHandle },
    Ended { digest: RequestDigest, job: JobHandle },
    Tombstone,
}

/// The result of looking up a key.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// A job of the same request.
    Job(JobHandle),
    /// A job of another request.
    Conflict,
    /// A job that is gone.
    Gone,
    /// No job.
    Unknown,
}

impl Registry {
    /// Makes a registry for `channels` jobs at once, which keeps a tombstone for the time
    /// `tombstone`.
    pub(crate) fn new(channels: usize, tombstone: Duration, presence: Arc<Presence>) -> Self {
        Self { jobs: Mutex::default(), channels, tombstone, presence }
    }

    fn jobs<T>(&self, act: impl FnOnce(&mut Jobs) -> T) -> T {
        act(&mut self.jobs.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks a key up.
    pub(crate) fn find(&self, user: &str, key: Key, digest: RequestDigest) -> Lookup {
        self.jobs(|jobs| {
            jobs.users.get(user).map_or(Lookup::Unknown, |user| user.find(key, digest))
        })
    }

    /// Looks a key up and, if nothing is under it, registers `job`. The identity may have `limit`
    /// jobs at once.
    ///
    /// # Errors
    /// `busy`, if the identity or the host has as many as it may.
    pub(crate) fn reserve(
        self: &Arc<Self>,
        limit: usize,
        user: &str,
        key: Key,
        digest: RequestDigest,
        job: &JobHandle,
    ) -> Result<Reservation, WireError> {
        let known = self.jobs(|jobs| {
            let all = jobs.live;
            let user = jobs.users.entry(user.to_owned()).or_default();
            match user.find(key, digest) {
                Lookup::Unknown => {
                    self.check_room(user, limit, all)?;
                    user.entries.insert(key, Entry::Live { digest, job: job.clone() });
                    user.live += 1;
                    jobs.live += 1;
                    Ok(None)
                }
                known => Ok::<_, WireError>(Some(known)),
            }
        })?;
        Ok(match known {
            Some(known) => Reservation::Known(known),
            None => Reservation::New(KeyReservation::new(self, user, key, job)),
        })
    }

    /// Counts one more among the jobs of an identity, which may have `limit` at once, without
    /// registering a job.
    ///
    /// # Errors
    /// `busy`, if the identity or the host has as many as it may.
    pub(crate) fn count(self: &Arc<Self>, limit: usize, user: &str) -> Result<Counted, WireError> {
        self.jobs(|jobs| {
            let all = jobs.live;
            let user = jobs.users.entry(user.to_owned()).or_default();
            self.check_room(user, limit, all)?;
            user.live += 1;
            jobs.live += 1;
            Ok::<_, WireError>(())
        })?;
        Ok(Counted::new(self, user))
    }

    fn check_room(&self, user: &User, limit: usize, all: usize) -> Result<(), WireError> {
        if user.live >= limit {
            return Err(too_many("this identity", limit));
        }
        if all >= self.channels {
            return Err(too_many("the host", self.channels));
        }
        Ok(())
    }

    /// Marks a job as ended; its exit is kept. If too many are kept, the identity's oldest is
    /// forgotten.
    fn ended(&self, user: &str, key: Key, job: &JobHandle) {
        let now = Instant::now();
        self.jobs(|jobs| {
            let Some(user) = jobs.users.get_mut(user) else { return };
            let Some(entry) = user.entries.get_mut(&key).filter(|entry| entry.is_of(job)) else {
                return;
            };
            let Entry::Live { digest, .. } = entry else { return };
            *entry = Entry::Ended { digest: *digest, job: job.clone() };
            user.live -= 1;
            jobs.live -= 1;
            user.ended.push_back(key);
            if user.ended.len() > RETAINED
                && let Some(oldest) = user.ended.pop_front()
            {
                user.bury(oldest, now);
            }
        });
    }

    /// Removes a job. If nothing had `started`, the key is free again; otherwise a tombstone is
    /// left.
    fn gone(&self, user: &str, key: Key, job: &JobHandle, started: bool) {
        let now = Instant::now();
        self.ended(user, key, job);
        self.jobs(|jobs| {
            let Some(entry) = jobs.users.get_mut(user) else { return };
            if entry.entries.get(&key).is_some_and(|found| found.is_of(job)) {
                entry.ended.retain(|&ended| ended != key);
                if started {
                    entry.bury(key, now);
                } else {
                    entry.entries.remove(&key);
                }
            }
            entry.clear(now, self.tombstone);
            if entry.is_unused() {
                jobs.users.remove(user);
            }
        });
    }

    /// Ends the count that [`Registry::count`] began.
    fn count_off(&self, user: &str) {
        self.jobs(|jobs| {
            let Some(entry) = jobs.users.get_mut(user) else { return };
            entry.live -= 1;
            jobs.live -= 1;
            if entry.is_unused() {
                jobs.users.remove(user);
            }
        });
    }

    /// Returns the number of jobs that run or wait.
    pub(crate) fn live(&self) -> usize {
        self.jobs(|jobs| jobs.live)
    }

    /// Returns all jobs that run or wait.
    pub(crate) fn all_live(&self) -> Vec<JobHandle> {
        self.jobs(|jobs| {
            let entries = jobs.users.values().flat_map(|user| user.entries.values());
            entries
                .filter_map(|entry| match entry {
                    Entry::Live { job, .. } => Some(job.clone()),
                    _ => None,
                })
                .collect()
        })
    }
}

impl Entry {
    /// Returns whether the entry is of this job, and not of another under the same key.
    fn is_of(&self, of: &JobHandle) -> bool {
        match self {
            Self::Live { job, .. } | Self::Ended { job, .. } => job.is_same(of),
            Self::Tombstone => false,
        }
    }
}

impl User {
    fn is_unused(&self) -> bool {
        self.entries.is_empty() && self.live == 0
    }

    fn find(&self, key: Key, digest: RequestDigest) -> Lookup {
        match self.entries.get(&key) {
            None => Lookup::Unknown,
            Some(Entry::Tombstone) => Lookup::Gone,
            Some(Entry::Live { digest: known, job } | Entry::Ended { digest: known, job }) => {
                if *known == digest {
                    Lookup::Job(job.clone())
                } else {
                    Lookup::Conflict
                }
            }
        }
    }

    fn bury(&mut self, key: Key, now: Instant) {
        if let Some(Entry::Ended { job, .. }) = self.entries.insert(key, Entry::Tombstone) {
            job.forget();
        }
        self.tombstones.push_back((now, key));
    }

    // A client's retries end with the grace, so tombstones need not be kept for long. Their number
    // is bounded as well.
    fn clear(&mut self, now: Instant, keep: Duration) {
        const MOST: usize = 16 * RETAINED;
        while let Some(&(at, key)) = self.tombstones.front() {
            if now.duration_since(at) < keep && self.tombstones.len() <= MOST {
                break;
            }
            self.tombstones.pop_front();
            if matches!(self.entries.get(&key), Some(Entry::Tombstone)) {
                self.entries.remove(&key);
            }
        }
    }
}

fn too_many(who: &str, limit: usize) -> WireError {
    WireError::new(ErrorKind::Busy, format!("{who} has {limit} commands here already"))
        .hint("Nothing ran; wait for some of them to end, or raise `channels` in server.toml.")
        .retry_after_ms(1000)
}
