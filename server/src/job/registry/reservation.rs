//! What is taken in the registry, given back by being dropped.

use std::sync::Arc;

use rcmd_protocol::ids::Key;

use super::{Lookup, Registry};
use crate::job::JobHandle;

/// Something that counts among an identity's jobs without being one, such as a dry run; until it is
/// dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    registry: Arc<Registry>,
    user: String,
}

/// A key that is taken by a job. Dropping it frees the key, or leaves a tombstone if anything has run
/// under it.
#[derive(Debug)]
pub(crate) struct KeyReservation {
    registry: Arc<Registry>,
    user: String,
    key: Key,
    job: JobHandle,
    has_run: bool,
}

/// What came of asking for a key.
#[derive(Debug)]
pub(crate) enum Reservation {
    /// It is taken now.
    New(KeyReservation),
    /// There was something under it.
    Known(Lookup),
}

impl Counted {
    pub(super) fn new(registry: &Arc<Registry>, user: &str) -> Self {
        Self { registry: Arc::clone(registry), user: user.to_owned() }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.registry.count_off(&self.user);
    }
}

impl KeyReservation {
    pub(super) fn new(registry: &Arc<Registry>, user: &str, key: Key, job: &JobHandle) -> Self {
        let (registry, job) = (Arc::clone(registry), job.clone());
        Self { registry, user: user.to_owned(), key, job, has_run: false }
    }

    /// Notes that nothing of the job runs any more. If anything has run, its end is kept as long as what
    /// this returns; else the key is free.
    pub(crate) fn end(mut self, has_run: bool) -> Option<Self> {
        self.has_run = has_run;
        has_run.then(|| {
            self.registry.ended(&self.user, self.key, &self.job);
            self
        })
    }
}

impl Drop for KeyReservation {
    fn drop(&mut self) {
        self.registry.gone(&self.user, self.key, &self.job, self.has_run);
    }
}
