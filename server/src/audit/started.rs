//! A start, which is recorded before it happens and whose end must be recorded.

use std::{future::Future, sync::Arc};

use rcmd_protocol::{frame::Exit, ids::AuditHead, outcome::WireError};
use tokio::sync::oneshot;

use super::{
    CLOSED,
    error::unwritable,
    record::{EndRecord, Event},
    settings::SyncMode,
    syncer::SharedLog,
    transfers::TransferNote,
};

/// The ordered record of a start, which may happen once the record is written.
#[derive(Debug)]
pub struct Announcement {
    shared: Arc<SharedLog>,
    /// The result of the record; `None` once it is known to be written.
    noted: Option<oneshot::Receiver<Result<AuditHead, String>>>,
}

/// A start whose record is ordered. Its end is recorded too, at the latest when this is dropped.
#[derive(Debug)]
pub struct AuditedStart {
    shared: Arc<SharedLog>,
    job: Option<String>,
}

/// Orders the record of a job's start.
pub(super) fn announce(
    shared: &Arc<SharedLog>,
    job: String,
    event: Event,
) -> (AuditedStart, Announcement) {
    let noted = shared.order(move |writer| writer.note(&event.bounded()));
    let announcement = Announcement { shared: Arc::clone(shared), noted: Some(noted) };
    (AuditedStart { shared: Arc::clone(shared), job: Some(job) }, announcement)
}

impl Announcement {
    /// Waits until the record is on disk, with `sync = "each"`.
    ///
    /// # Errors
    /// `resources`, if it can't be written or synced; the command must not be started then.
    pub async fn synced(mut self) -> Result<Self, WireError> {
        let noted = self.noted.take_if(|_| self.shared.settings.sync == SyncMode::Each);
        let Some(noted) = noted else { return Ok(self) };
        let noted = noted.await.map_err(|_| unwritable(CLOSED))?;
        let seq = noted.map_err(|error| unwritable(&error))?.seq;
        let mut synced = self.shared.synced.subscribe();
        let done = synced.wait_for(|s| s.upto >= seq || s.failed >= seq).await;
        match done.is_ok_and(|synced| synced.upto >= seq && synced.failed < seq) {
            true => Ok(self),
            false => Err(unwritable("it could not be synced")),
        }
    }

    /// Writes the record, if it is not written yet, and all that was ordered before it. Waits for
    /// the disk.
    ///
    /// # Errors
    /// `resources`, if it can't be written; the command must not be started then.
    pub fn write(self) -> Result<(), WireError> {
        let Some(mut noted) = self.noted else { return Ok(()) };
        self.shared.carry_out();
        let noted = noted.try_recv().map_err(|_| unwritable(CLOSED))?;
        noted.map(drop).map_err(|error| unwritable(&error))
    }
}

impl AuditedStart {
    /// Orders the record of the transfer that the command was, if the start was recorded.
    pub fn transferred(&self, note: TransferNote) {
        let Some(job) = self.job.clone() else { return };
        let event = note.event(&job).bounded();
        drop(self.shared.order(move |writer| writer.note_end(&job, event)));
    }

    /// Orders the record of the end of the command, if the start was recorded. The future returns
    /// the head of the log when the record is written, or `None` if there is no room for it yet.
    pub fn end(mut self, exit: &Exit) -> impl Future<Output = Option<AuditHead>> + Send + use<> {
        let (failure, redactor) = (exit.failure(), &self.shared.settings.redactor);
        let noted = self.job.take().map(|job| {
            let event = Event::End(Box::new(EndRecord {
                job: job.clone(),
                outcome: exit.outcome().to_string(),
                code: exit.code(),
                signal: exit.signal().map(|signal| signal.to_string()),
                kind: failure.map(|failure| failure.kind.to_string()),
                message: failure.map(|failure| redactor.message(&failure.message)),
                stdout_bytes: exit.stdout().bytes,
                stderr_bytes: exit.stderr().bytes,
                duration_ms: exit.duration_ms(),
            }));
            self.shared.order(move |writer| writer.note_end(&job, event.bounded()))
        });
        async move { noted?.await.ok().flatten() }
    }
}

impl Drop for AuditedStart {
    fn drop(&mut self) {
        let Some(job) = self.job.take() else { return };
        let event = Event::lost(job.clone(), "the server lost track of the process").bounded();
        drop(self.shared.order(move |writer| writer.note_end(&job, event)));
    }
}
