//! A start that was recorded, and needs its end.

use std::sync::Arc;

use rcmd_protocol::{
    frame::Exit,
    ids::AuditHead,
    outcome::{ErrorKind, WireError},
};

use super::{
    error::unwritable,
    record::{EndRecord, Event},
    settings::SyncMode,
    syncer::SharedLog,
};

/// A start that was recorded. Its end is recorded too, at the latest when this is dropped.
#[derive(Debug)]
pub struct AuditedStart {
    shared: Arc<SharedLog>,
    job: Option<String>,
    seq: u64,
}

impl AuditedStart {
    /// Makes the start of a job that stands in this record.
    pub(super) fn new(shared: Arc<SharedLog>, job: String, seq: u64) -> Self {
        Self { shared, job: Some(job), seq }
    }

    /// Waits until the start is on disk, with `sync = "each"`.
    ///
    /// # Errors
    /// `resources` when it can't be synced; then the command must not be started.
    ///
    /// # Cancel safety
    /// When the future is dropped, the end is recorded.
    pub async fn synced(mut self) -> Result<Self, WireError> {
        if self.shared.settings.sync == SyncMode::Group {
            return Ok(self);
        }
        let seq = self.seq;
        let mut synced = self.shared.synced.subscribe();
        let done = synced.wait_for(|s| s.upto >= seq || s.failed >= seq).await;
        if done.is_ok_and(|synced| synced.upto >= seq && synced.failed < seq) {
            return Ok(self);
        }
        let failure = unwritable("it could not be synced");
        self.note("not_started", &failure);
        Err(failure)
    }

    /// Records the end of the command; returns `None` when there is no room for it yet.
    pub fn end(mut self, exit: &Exit) -> Option<AuditHead> {
        let (failure, redactor) = (exit.failure(), &self.shared.settings.redactor);
        let event = Event::End(Box::new(EndRecord {
            job: self.job.take()?,
            outcome: exit.outcome().to_string(),
            code: exit.code(),
            signal: exit.signal().map(|signal| signal.to_string()),
            kind: failure.map(|failure| failure.kind.to_string()),
            message: failure.map(|failure| redactor.message(&failure.message)),
            stdout_bytes: exit.stdout().bytes,
            stderr_bytes: exit.stderr().bytes,
            duration_ms: exit.duration_ms(),
        }));
        self.shared.write(|writer| writer.note_late(event.bounded()))
    }

    /// Records an end although no process was seen to end.
    fn note(&mut self, outcome: &str, failure: &WireError) {
        let Some(job) = self.job.take() else { return };
        let event = Event::without_process(job, outcome, failure.kind.as_str(), &failure.message);
        self.shared.write(|writer| writer.note_late(event.bounded()));
    }
}

impl Drop for AuditedStart {
    fn drop(&mut self) {
        let lost = WireError::new(ErrorKind::Lost, "the server lost sight of it");
        self.note("unknown", &lost);
    }
}
