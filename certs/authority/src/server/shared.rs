//! The state that all tasks of a serving authority share.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rustls::ServerConfig;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    slots::Slots,
    worker::{PublishedWatch, Worker},
};

/// The state that all tasks share.
pub(super) struct Shared {
    pub(super) worker: Worker,
    /// The newest lists.
    pub(super) updates: PublishedWatch,
    /// The TLS configuration, which changes with the listener's certificate.
    pub(super) tls: RwLock<Arc<ServerConfig>>,
    pub(super) slots: Arc<Slots>,
    /// The interval at which new lists are signed.
    pub(super) list_every: watch::Sender<Duration>,
    /// The token that is cancelled when no new peers are to be accepted.
    pub(super) closing: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Shared {
    pub(super) fn tls(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.tls.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_tls(&self, config: Arc<ServerConfig>) {
        *self.tls.write().unwrap_or_else(PoisonError::into_inner) = config;
    }
}
