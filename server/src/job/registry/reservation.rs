//! Reservations in the registry, which are released when dropped.

use std::sync::Arc;

use rcmd_protocol::ids::Key;

use super::{Lookup, Registry};
use crate::{admission::presence::Guest, job::JobHandle};

/// One that counts among an identity's jobs without being a job, such as a dry run, until it is
/// dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    registry: Arc<Registry>,
    user: String,
}

/// A key that a job has taken. Dropping this frees the key, or leaves a tombstone if anything has
/// run under the key.
#[derive(Debug)]
pub(crate) struct KeyReservation {
    registry: Arc<Registry>,
    user: String,
    key: Key,
    job: JobHandle,
    has_run: bool,
    /// `None` only if the server has closed, which it does not while the job's connection is there.
    _guest: Option<Guest>,
}

/// The result of reserving a key.
#[derive(Debug)]
pub(crate) enum Reservation {
    /// The key is reserved.
    New(KeyReservation),
    /// The key was in use.
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
        let (guest, registry, job) = (registry.presence.enter(), Arc::clone(registry), job.clone());
        Self { registry, user: user.to_owned(), key, job, has_run: false, _guest: guest }
    }

    /// Notes that nothing of the job runs any longer. If anything has run, its exit is kept until
    /// the returned reservation is dropped; otherwise the key is free.
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
