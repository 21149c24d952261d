//! The audit: who asked for what, what was started, how it ended; recorded before it happens.
//!
//! | module | holds |
//! | --- | --- |
//! | [`record`], [`text`], `redact` | records; the bytes in them; secrets left out of them |
//! | `chain`, `walk` | lines that prove the lines before them: written, and checked one after another |
//! | `writer`, `syncer`, `journal` | the file; the disk, signatures, rotation; systemd's copy |
//! | `recover` | the end of the log that the last server left |
//! | [`verify`](mod@verify), [`show`] | the readers of the log |
//!
//! A line is written, by write(2), before what it records takes effect; with `sync = "each"` a
//! start also waits until the line is on disk. When that fails, no further command is started.

mod chain;
mod error;
pub(crate) mod files;
mod journal;
pub mod record;
mod recover;
mod redact;
mod settings;
pub mod show;
mod syncer;
#[cfg(test)]
mod tests;
pub mod text;
pub mod verify;
mod walk;
mod writer;

use std::{
    fs::{File, TryLockError},
    io,
    os::unix::ffi::OsStrExt as _,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use rcmd_certs::signature::Signer;
use rcmd_protocol::{
    frame::{Exit, Mode},
    ids::{AuditHead, JobId, RequestDigest},
    outcome::{ErrorKind, WireError},
    request::Request,
};
use tracing::{error, warn};

pub use self::{
    chain::LINE_LIMIT,
    error::AuditError,
    settings::{AuditFile, AuditSettings, SyncMode},
    walk::LineError,
};
use self::{
    journal::Journal,
    record::{Attempt, EndRecord, Event, Lifecycle},
    recover::recover,
    syncer::SharedLog,
    text::Text,
    writer::Writer,
};
use crate::{
    policy::{Denial, Permit},
    trust::Peer,
};

/// The log of a server.
#[derive(Debug)]
pub struct Audit {
    shared: Arc<SharedLog>,
    settings: AuditSettings,
    syncer: Mutex<Option<JoinHandle<()>>>,
    /// Held so that no other server writes into the same folder.
    _lock: File,
}

/// A start that was recorded. Its end is recorded too, at the latest when this is dropped.
#[derive(Debug)]
pub struct AuditedStart {
    audit: Arc<Audit>,
    job: Option<String>,
}

impl Audit {
    /// Continues the log of `settings.folder`: records ends for what the last server left without,
    /// and the start of this one.
    ///
    /// # Errors
    /// The reason why there is no log; then the server must not run.
    pub fn open(settings: &AuditSettings, signer: Signer) -> Result<Arc<Self>, AuditError> {
        let folder = &settings.folder;
        let failed = |error| AuditError::Io { path: folder.clone(), error };
        files::make_folder(folder).map_err(failed)?;
        let lock = files::lock(folder).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(AuditError::Locked(folder.clone())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let recovered = recover(folder)?;
        if let Some((file, seq)) = &recovered.damaged {
            error!(
                file = %file.display(), after = seq,
                "audit: the last file is damaged; run `rcmd-server audit verify`"
            );
        }
        let journal = settings.journald.as_deref().map(Journal::start).transpose();
        let journal = journal.map_err(failed)?;
        let mut writer = Writer::begin(folder, recovered, signer, journal).map_err(failed)?;
        let begun = writer
            .note(&server(Lifecycle::Started))
            .map_err(io::Error::other)
            .and_then(|_| writer.sign())
            .and_then(|()| writer.file().sync_all())
            .and_then(|()| files::sync_folder(folder));
        begun.map_err(failed)?;
        let shared = Arc::new(SharedLog::new(writer, settings.clone()));
        shared.write(|writer| shared.remove_old(writer));
        let syncer = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || syncer.run())
            .map_err(failed)?;
        Ok(Arc::new(Self {
            shared,
            settings: settings.clone(),
            syncer: Mutex::new(Some(thread)),
            _lock: lock,
        }))
    }

    /// Records that a peer asks for a command. [`Audit::start`], [`Audit::denied`] or
    /// [`Audit::refused`] must follow.
    ///
    /// # Errors
    /// `resources` when it can't be recorded; then nothing may run.
    pub fn attempt(
        &self,
        peer: &Peer,
        job: &JobId,
        request: &Request,
        digest: &RequestDigest,
    ) -> Result<AuditHead, WireError> {
        let redactor = &self.settings.redactor;
        let args = match (request.mode(), request.args()) {
            (Mode::Shell, [line]) => vec![redactor.line(line)],
            (_, args) => redactor.args(args),
        };
        self.note(Event::Attempt(Box::new(Attempt {
            job: job.to_string(),
            peer: peer.user().to_owned(),
            groups: peer.identity().groups().iter().map(ToString::to_string).collect(),
            break_glass: peer.identity().is_break_glass(),
            address: peer.address().to_string(),
            mode: request.mode().to_string(),
            args,
            env: redactor.env(request.env()),
            cwd: request.cwd().map(Text::of),
            user: request.user().map(Text::of),
            digest: digest.to_string(),
        })))
    }

    /// Records that the policy denies an attempt, or taking up a job again.
    pub fn denied(&self, peer: &Peer, job: Option<&JobId>, denial: &Denial) {
        let event = Event::Denial {
            job: job.map(ToString::to_string),
            peer: peer.user().to_owned(),
            why: denial.kind.as_str().to_owned(),
            rules: denial.rules.clone(),
            reason: denial.reason.clone(),
        };
        // Nothing runs in any case; the gap is recorded when there is room.
        let _ = self.note(event);
    }

    /// Records that an attempt is refused for another reason than the policy.
    pub fn refused(&self, peer: &Peer, job: &JobId, failure: &WireError) {
        let _ = self.note(Event::Refusal {
            job: job.to_string(),
            peer: peer.user().to_owned(),
            kind: failure.kind.to_string(),
            message: failure.message.clone(),
        });
    }

    /// Records that a command is about to start. With `sync = "each"` this waits for the disk.
    ///
    /// # Errors
    /// `resources` when it can't be recorded or synced; then the command must not be started.
    ///
    /// # Cancel safety
    /// When the future is dropped, the start may have been recorded; then its end is recorded too.
    pub async fn start(
        self: &Arc<Self>,
        user: &[u8],
        permit: &Permit,
    ) -> Result<AuditedStart, WireError> {
        let plan = permit.plan();
        let head = self.note(Event::Start {
            job: plan.job.clone(),
            peer: permit.peer().user().to_owned(),
            user: Text::of(user),
            program: Text::of(plan.program.as_os_str().as_bytes()),
            cwd: Text::of(plan.cwd.as_os_str().as_bytes()),
            rules: permit.rules().to_vec(),
        })?;
        let mut started = AuditedStart { audit: Arc::clone(self), job: Some(plan.job.clone()) };
        if self.settings.sync == SyncMode::Each {
            let mut synced = self.shared.synced.subscribe();
            let done = synced.wait_for(|s| s.upto >= head.seq || s.failed >= head.seq).await;
            if !done.is_ok_and(|synced| synced.upto >= head.seq && synced.failed < head.seq) {
                let failure = unwritable("it could not be synced");
                started.note("not_started", &failure);
                return Err(failure);
            }
        }
        Ok(started)
    }

    /// Records that files were read again. `signer` signs from now on, if it is given.
    pub fn reloaded(&self, what: &str, failure: Option<String>, signer: Option<Signer>) {
        let event = Event::Reload { what: what.to_owned(), failure };
        self.shared.write(|writer| {
            writer.note_late(event);
            if let Some(signer) = signer {
                writer.replace_signer(signer);
                if let Err(error) = writer.sign() {
                    warn!(%error, "audit: no checkpoint under the new key");
                }
            }
        });
    }

    /// Records that a peer's connection or commands are ended because they are no longer permitted.
    pub fn cut(&self, peer: &Peer, reason: &str) {
        let event = Event::Cut {
            peer: peer.user().to_owned(),
            address: peer.address().to_string(),
            reason: reason.to_owned(),
        };
        self.shared.write(|writer| writer.note_late(event));
    }

    /// Records that the host's own certificate was renewed, or could not be.
    pub fn enrollment(&self, what: &str, failure: Option<String>) {
        let event = Event::Enrollment { what: what.to_owned(), failure };
        self.shared.write(|writer| writer.note_late(event));
    }

    fn note(&self, event: Event) -> Result<AuditHead, WireError> {
        self.shared.write(|writer| writer.note(&event)).map_err(|error| unwritable(&error))
    }

    /// Records that the server has stopped, signs and syncs. Nothing may be recorded after it.
    pub fn close(&self) {
        self.shared.end();
        let thread = self.syncer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            error!("audit: its thread has failed");
        }
        let closed = self.shared.write(|writer| {
            writer.catch_up()?;
            writer.end_all("the server stopped before it had ended")?;
            writer.note(&server(Lifecycle::Stopped)).map_err(io::Error::other)?;
            writer.sign()?;
            writer.file().sync_all()
        });
        if let Err(error) = closed {
            error!(%error, "audit: the end of the server could not be written");
        }
    }
}

impl AuditedStart {
    /// Records the end of the command; returns `None` when there is no room for it yet.
    pub fn end(mut self, exit: &Exit) -> Option<AuditHead> {
        let failure = exit.failure();
        let event = Event::End(Box::new(EndRecord {
            job: self.job.take()?,
            outcome: exit.outcome().to_string(),
            code: exit.code(),
            signal: exit.signal().map(|signal| signal.to_string()),
            kind: failure.map(|failure| failure.kind.to_string()),
            message: failure.map(|failure| failure.message.clone()),
            stdout_bytes: exit.stdout().bytes,
            stderr_bytes: exit.stderr().bytes,
            duration_ms: exit.duration_ms(),
        }));
        self.audit.shared.write(|writer| writer.note_late(event))
    }
}

impl AuditedStart {
    /// Records an end although no process was seen to end.
    fn note(&mut self, outcome: &str, failure: &WireError) {
        let Some(job) = self.job.take() else { return };
        let event = Event::without_process(job, outcome, failure.kind.as_str(), &failure.message);
        self.audit.shared.write(|writer| writer.note_late(event));
    }
}

impl Drop for AuditedStart {
    fn drop(&mut self) {
        let lost = WireError::new(ErrorKind::Lost, "the server lost sight of it");
        self.note("unknown", &lost);
    }
}

fn server(state: Lifecycle) -> Event {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Event::Server { state, version, pid: std::process::id() }
}

fn unwritable(reason: &str) -> WireError {
    WireError::new(ErrorKind::Resources, format!("the host's audit can't be written: {reason}"))
        .hint("Nothing ran, and nothing will until the audit can be written; free space for server/audit on the host.")
}
