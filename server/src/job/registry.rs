//! The jobs of a server, by the identity and key that started them.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rcmd_protocol::{
    ids::{Key, RequestDigest},
    outcome::{ErrorKind, WireError},
};

use crate::{config::limits::RETAINED, job::JobHandle};

/// The jobs of a server. An entry exists before its job does anything, and leaves a tombstone, so that a
/// late attach is told that the job is gone rather than that it never existed.
#[derive(Debug)]
pub(crate) struct Registry {
    jobs: Mutex<Jobs>,
    channels: usize,
    tombstone: Duration,
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
    /// Ended jobs, oldest first; a job that leaves the list is forgotten.
    ended: VecDeque<Key>,
    /// Tombstones, oldest first.
    tombstones: VecDeque<(Instant, Key)>,
}

#[derive(Debug)]
enum Entry {
    Live { digest: RequestDigest, job: JobHandle },
    Ended { digest: RequestDigest, job: JobHandle },
    Tombstone,
}

/// Something that counts among an identity's jobs without being one, such as a dry run; until it is
/// dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    registry: Arc<Registry>,
    user: String,
}

/// What the registry has under a key.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// A job of the same request.
    Job(JobHandle),
    /// A job of another request.
    Conflict,
    /// A job that is gone.
    Gone,
    /// Nothing.
    Unknown,
}

impl Registry {
    /// Makes a registry for `channels` jobs at once, which keeps a tombstone for this time.
    pub(crate) fn new(channels: usize, tombstone: Duration) -> Self {
        Self { jobs: Mutex::default(), channels, tombstone }
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

    /// Looks a key up and, if nothing is under it, registers `job`. The identity may have `limit` jobs at
    /// once.
    ///
    /// # Errors
    /// `busy` when the identity or the host has its maximum.
    pub(crate) fn claim(
        &self,
        limit: usize,
        user: &str,
        key: Key,
        digest: RequestDigest,
        job: &JobHandle,
    ) -> Result<Lookup, WireError> {
        self.jobs(|jobs| {
            let all = jobs.live;
            let user = jobs.users.entry(user.to_owned()).or_default();
            match user.find(key, digest) {
                Lookup::Unknown => {
                    self.check_room(user, limit, all)?;
                    user.entries.insert(key, Entry::Live { digest, job: job.clone() });
                    user.live += 1;
                    jobs.live += 1;
                    Ok(Lookup::Unknown)
                }
                found => Ok(found),
            }
        })
    }

    /// Counts something that is no job among the jobs of an identity, which may have `limit` at once.
    ///
    /// # Errors
    /// `busy` when the identity or the host has its maximum.
    pub(crate) fn count(self: &Arc<Self>, limit: usize, user: &str) -> Result<Counted, WireError> {
        self.jobs(|jobs| {
            let all = jobs.live;
            let user = jobs.users.entry(user.to_owned()).or_default();
            self.check_room(user, limit, all)?;
            user.live += 1;
            jobs.live += 1;
            Ok::<_, WireError>(())
        })?;
        Ok(Counted { registry: Arc::clone(self), user: user.to_owned() })
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

    /// Marks a job as ended; its exit is kept. When too many are kept, the identity's oldest is
    /// forgotten.
    pub(crate) fn ended(&self, user: &str, key: Key, job: &JobHandle) {
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

    /// Removes a job. `started` is whether anything had run: if not, the key is free again.
    pub(crate) fn gone(&self, user: &str, key: Key, job: &JobHandle, started: bool) {
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

impl Drop for Counted {
    fn drop(&mut self) {
        self.registry.jobs(|jobs| {
            let Some(user) = jobs.users.get_mut(&self.user) else { return };
            user.live -= 1;
            jobs.live -= 1;
            if user.is_unused() {
                jobs.users.remove(&self.user);
            }
        });
    }
}

impl Entry {
    /// Returns whether the entry is of this job, and not of a later one under the same key.
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

    // A client's retries end with the grace, so tombstones need not stay long; their number is bounded
    // as well.
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

#[cfg(test)]
mod tests {
    use rcmd_protocol::request::Request;

    use super::*;
    use crate::job;

    fn digest(word: &str) -> RequestDigest {
        Request::exec([word]).build().unwrap().digest()
    }

    fn registry() -> Registry {
        Registry::new(3, Duration::from_secs(600))
    }

    #[test]
    fn a_key_has_one_job_and_one_request() {
        let (registry, key) = (registry(), Key::from_text(b"k"));
        let (job, _mailbox) = job::register();
        let (other, _other_mailbox) = job::register();
        assert!(matches!(registry.claim(2, "a", key, digest("x"), &job), Ok(Lookup::Unknown)));
        match registry.claim(2, "a", key, digest("x"), &other) {
            Ok(Lookup::Job(found)) => assert!(found.is_same(&job)),
            found => panic!("{found:?}"),
        }
        assert!(matches!(registry.claim(2, "a", key, digest("y"), &other), Ok(Lookup::Conflict)));
        assert!(matches!(registry.find("b", key, digest("x")), Lookup::Unknown));
    }

    #[test]
    fn an_identity_has_so_many_jobs_and_the_next_may_have_its_own() {
        let registry = registry();
        let (job, _mailbox) = job::register();
        let claim = |user: &str, key: &[u8]| {
            registry.claim(2, user, Key::from_text(key), digest("x"), &job).map_err(|f| f.kind)
        };
        assert!(claim("a", b"1").is_ok());
        assert!(claim("a", b"2").is_ok());
        assert_eq!(claim("a", b"3").unwrap_err(), ErrorKind::Busy);
        assert!(claim("b", b"3").is_ok());
        assert_eq!(
            claim("b", b"4").unwrap_err(),
            ErrorKind::Busy,
            "the host has as many as it may"
        );
        registry.ended("a", Key::from_text(b"1"), &job);
        assert!(claim("a", b"3").is_ok());
        assert_eq!(registry.live(), 3);
    }

    #[test]
    fn a_question_counts_as_long_as_it_lasts() {
        let registry = Arc::new(registry());
        let (job, _mailbox) = job::register();
        let questions: Vec<_> = (0..2).map(|_| registry.count(2, "a").unwrap()).collect();
        assert_eq!(registry.count(2, "a").unwrap_err().kind, ErrorKind::Busy);
        let key = Key::from_text(b"k");
        assert!(registry.claim(2, "a", key, digest("x"), &job).is_err());
        drop(questions);
        assert!(registry.claim(2, "a", key, digest("x"), &job).is_ok());
        registry.gone("a", key, &job, false);
        assert_eq!((registry.live(), registry.jobs(|jobs| jobs.users.len())), (0, 0));
    }

    #[test]
    fn what_ran_leaves_a_tombstone_and_what_did_not_leaves_nothing() {
        let registry = registry();
        let (job, _mailbox) = job::register();
        for (name, started) in [("ran", true), ("refused", false)] {
            let key = Key::from_text(name.as_bytes());
            registry.claim(2, "a", key, digest("x"), &job).unwrap();
            registry.ended("a", key, &job);
            assert!(matches!(registry.find("a", key, digest("x")), Lookup::Job(_)));
            registry.gone("a", key, &job, started);
            match registry.find("a", key, digest("x")) {
                Lookup::Gone => assert!(started),
                Lookup::Unknown => assert!(!started),
                found => panic!("{found:?}"),
            }
        }
    }

    #[test]
    fn ends_that_nobody_fetches_are_bounded() {
        let registry = Registry::new(1, Duration::from_secs(600));
        let (job, _mailbox) = job::register();
        let key = |n: usize| Key::from_text(&n.to_le_bytes());
        for n in 0..=RETAINED {
            registry.claim(1, "a", key(n), digest("x"), &job).unwrap();
            registry.ended("a", key(n), &job);
        }
        assert!(matches!(registry.find("a", key(0), digest("x")), Lookup::Gone));
        assert!(matches!(registry.find("a", key(1), digest("x")), Lookup::Job(_)));
    }

    #[test]
    fn a_key_that_was_freed_and_taken_again_is_not_freed_twice() {
        let (registry, key) = (registry(), Key::from_text(b"k"));
        let (first, _mailbox) = job::register();
        let (second, _other_mailbox) = job::register();
        registry.claim(2, "a", key, digest("x"), &first).unwrap();
        registry.gone("a", key, &first, false);
        registry.claim(2, "a", key, digest("x"), &second).unwrap();
        registry.gone("a", key, &first, false);
        match registry.find("a", key, digest("x")) {
            Lookup::Job(found) => assert!(found.is_same(&second)),
            found => panic!("{found:?}"),
        }
        assert_eq!(registry.live(), 1);
    }
}
