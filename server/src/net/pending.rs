//! Peers that have not authenticated yet: how many there may be, and how long each may take.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{sync::oneshot, time::Instant};
use tokio_util::sync::CancellationToken;

/// Peers that have not authenticated yet, oldest first.
///
/// When there are too many, the oldest is sent away: an honest peer needs milliseconds, so one that
/// takes long is not honest.
#[derive(Debug, Default)]
pub(crate) struct PendingHandshakes {
    peers: Mutex<VecDeque<(u64, CancellationToken)>>,
}

/// Counts as unauthenticated, under a deadline, until it is dropped: when the hello has come.
#[derive(Debug)]
pub(super) struct HelloGuard {
    pending: Arc<PendingHandshakes>,
    number: u64,
    _hello: oneshot::Sender<()>,
}

/// The reasons to send a peer away before its hello.
#[derive(Debug)]
pub(super) struct Overdue {
    hello: oneshot::Receiver<()>,
    shed: CancellationToken,
    deadline: Instant,
}

impl PendingHandshakes {
    /// Counts one more peer; `number` rises with each. The oldest goes when there are `limit`
    /// others.
    pub(super) fn enter(
        self: &Arc<Self>,
        number: u64,
        limit: usize,
        deadline: Instant,
    ) -> (HelloGuard, Overdue) {
        let shed = CancellationToken::new();
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        while peers.len() >= limit {
            if let Some((_, oldest)) = peers.pop_front() {
                oldest.cancel();
            }
        }
        peers.push_back((number, shed.clone()));
        let (sender, hello) = oneshot::channel();
        let guard = HelloGuard { pending: Arc::clone(self), number, _hello: sender };
        (guard, Overdue { hello, shed, deadline })
    }

    /// Sends the oldest away, to free its descriptor. Returns false when there is none.
    pub(crate) fn shed(&self) -> bool {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.pop_front().map(|(_, oldest)| oldest.cancel()).is_some()
    }
}

impl Drop for HelloGuard {
    fn drop(&mut self) {
        let mut peers = self.pending.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(at) = peers.binary_search_by_key(&self.number, |(number, _)| *number) {
            peers.remove(at);
        }
    }
}

impl Overdue {
    /// Waits for the reason to send the peer away; forever once its hello has come.
    pub(super) async fn reason(self) -> &'static str {
        tokio::select! {
            biased;
            _ = self.hello => std::future::pending().await,
            () = self.shed.cancelled() => "too many peers have not authenticated; this was the oldest",
            () = tokio::time::sleep_until(self.deadline) => "the handshake or the hello took too long",
        }
    }
}
