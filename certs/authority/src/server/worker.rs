//! The one thread that owns the authority's state.

use std::{sync::Arc, thread};

use rcmd_certs::enroll::message::RefusalReason;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::error::ServeError;
use crate::state::{AuthorityState, Published, StateError};

/// The most requests that may wait for the thread. Each takes a few milliseconds: two syncs of a disk.
const QUEUE: usize = 1024;

type Work = Box<dyn FnOnce(&AuthorityState) + Send>;

/// The receiver of the newest lists.
pub(super) type PublishedWatch = watch::Receiver<Option<Arc<Published>>>;

/// A handle that sends requests to the thread that owns the state.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    queue: mpsc::Sender<Work>,
    ended: CancellationToken,
}

impl Worker {
    /// Starts the thread. The lists that it signs come through the returned receiver.
    pub(super) fn start(state: AuthorityState) -> Result<(Self, PublishedWatch), ServeError> {
        let (queue, mut work) = mpsc::channel::<Work>(QUEUE);
        let (tell, updates) = watch::channel(state.published());
        let ended = CancellationToken::new();
        let guard = ended.clone().drop_guard();
        let serve = move || {
            let _guard = guard;
            while let Some(work) = work.blocking_recv() {
                work(&state);
                tell.send_if_modified(|told| {
                    let newest = state.published();
                    let number =
                        |lists: &Option<Arc<Published>>| lists.as_ref().map(|lists| lists.number);
                    let is_news = number(told) != number(&newest);
                    *told = newest;
                    is_news
                });
            }
        };
        let started = thread::Builder::new().name("rcmd-worker".into()).spawn(serve);
        started.map_err(|error| ServeError::Stopped(error.to_string()))?;
        Ok((Self { queue, ended }, updates))
    }

    /// Runs `work` on the thread. Work that was queued is done even if nobody waits for it any more.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&AuthorityState) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, StateError> {
        let (tell, answer) = oneshot::channel();
        let work: Work = Box::new(move |state| {
            // The task that asked may have ended.
            let _ = tell.send(work(state));
        });
        let busy =
            |_| StateError::refused(RefusalReason::Busy, "too much to do; try again in a moment");
        self.queue.try_send(work).map_err(busy)?;
        let gone = |_| StateError::refused(RefusalReason::Internal, "the authority is stopping");
        answer.await.map_err(gone)?
    }

    /// Waits until the thread has ended.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }
}
