//! The one thread that owns the office.

use std::sync::Arc;
use std::thread;

use rcmd_certs::enroll::message::Reason;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::ServeError;
use crate::state::{Office, OfficeError, Published};

/// How much may wait for the clerk. Each takes a few milliseconds: two syncs of a disk.
const QUEUE: usize = 1024;

type Work = Box<dyn FnOnce(&Office) + Send>;

/// Through this the newest lists come.
pub(super) type News = watch::Receiver<Option<Arc<Published>>>;

/// The way to the office.
#[derive(Clone, Debug)]
pub(super) struct Clerk {
    queue: mpsc::Sender<Work>,
    ended: CancellationToken,
}

impl Clerk {
    /// Starts the thread. The lists that it signs come through the receiver.
    pub(super) fn start(office: Office) -> Result<(Self, News), ServeError> {
        let (queue, mut work) = mpsc::channel::<Work>(QUEUE);
        let (tell, news) = watch::channel(office.published());
        let ended = CancellationToken::new();
        let guard = ended.clone().drop_guard();
        let serve = move || {
            let _guard = guard;
            while let Some(work) = work.blocking_recv() {
                work(&office);
                tell.send_if_modified(|told| {
                    let newest = office.published();
                    let number =
                        |lists: &Option<Arc<Published>>| lists.as_ref().map(|lists| lists.number);
                    let is_news = number(told) != number(&newest);
                    *told = newest;
                    is_news
                });
            }
        };
        let started = thread::Builder::new().name("rcmd-clerk".into()).spawn(serve);
        started.map_err(|error| ServeError::Stopped(error.to_string()))?;
        Ok((Self { queue, ended }, news))
    }

    /// Has something done. What was queued is done even if nobody waits for it any more.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Office) -> Result<T, OfficeError> + Send + 'static,
    ) -> Result<T, OfficeError> {
        let (tell, answer) = oneshot::channel();
        let work: Work = Box::new(move |office| {
            // Whoever asked may be gone.
            let _ = tell.send(work(office));
        });
        let busy = |_| OfficeError::refused(Reason::Busy, "too much to do; try again in a moment");
        self.queue.try_send(work).map_err(busy)?;
        let gone = |_| OfficeError::refused(Reason::Internal, "the authority is stopping");
        answer.await.map_err(gone)?
    }

    /// Waits until the thread has ended.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }
}
