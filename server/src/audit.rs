//! The audit: who asked for what, what was started, how it ended; recorded before it happens.
//!
//! | module | holds |
//! | --- | --- |
//! | [`record`], [`text`], `asked`, `redact` | records; the bytes in them; requests; secrets left out of them |
//! | `bounds`, `started` | how large records may be; a start that needs its end |
//! | `chain`, `walk` | lines that prove the lines before them: written, and checked one after another |
//! | `writer`, `syncer`, `place`, `journal` | the file; the disk, signatures, rotation; the folder; systemd's copy |
//! | `recover` | the end of the log that the last server left |
//! | [`verify`](mod@verify), [`show`] | the readers of the log |
//!
//! A line is written, by write(2), before what it records takes effect; with `sync = "each"` a
//! start also waits until the line is on disk. When that fails, no further command is started.

mod asked;
pub(crate) mod bounds;
mod chain;
mod error;
pub(crate) mod files;
mod journal;
pub(crate) mod place;
pub mod record;
mod recover;
mod redact;
mod settings;
pub mod show;
mod started;
mod syncer;
#[cfg(test)]
mod tests;
pub mod text;
pub mod verify;
mod walk;
mod writer;

use std::{
    io,
    os::unix::ffi::OsStrExt as _,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use rcmd_certs::signature::Signer;
use rcmd_protocol::{
    ids::{AuditHead, JobId, RequestDigest},
    outcome::{ErrorKind, WireError},
    request::Request,
};
use tracing::{error, warn};

use self::{
    asked::{BEGINNING, OF_A_QUESTION},
    error::unwritable,
    journal::Journal,
    place::Place,
    record::{Asked, Attempt, Event, Lifecycle},
    recover::recover,
    syncer::SharedLog,
    text::Text,
    writer::Writer,
};
pub use self::{
    chain::LINE_LIMIT,
    error::AuditError,
    settings::{AuditFile, AuditSettings, SyncMode},
    started::AuditedStart,
    walk::LineError,
};
use crate::{
    policy::{Denial, Permit},
    trust::Peer,
};

/// What a peer asked about, as it is recorded once it is answered.
#[derive(Debug)]
pub struct Question {
    mode: String,
    asked: Asked,
    size: u64,
    digest: String,
}

/// The log of a server.
#[derive(Debug)]
pub struct Audit {
    shared: Arc<SharedLog>,
    settings: AuditSettings,
    syncer: Mutex<Option<JoinHandle<()>>>,
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
        let place = Place::take(folder)?;
        let recovered = recover(folder)?;
        if let Some((file, seq)) = &recovered.damaged {
            error!(
                file = %file.display(), after = seq,
                "audit: the last file is damaged; run `rcmd-server audit verify`"
            );
        }
        let journal = settings.journald.as_deref().map(Journal::start).transpose();
        let journal = journal.map_err(failed)?;
        let mut writer = Writer::begin(place, recovered, signer, journal).map_err(failed)?;
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
        Ok(Arc::new(Self { shared, settings: settings.clone(), syncer: Mutex::new(Some(thread)) }))
    }

    /// Records that a peer asks for a command: the beginning of the request, if it is a large one.
    /// [`Audit::start`], [`Audit::denied`] or [`Audit::refused`] must follow.
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
        let size = asked::size(request);
        self.note(Event::Attempt(Box::new(Attempt {
            job: job.to_string(),
            peer: peer.user().to_owned(),
            groups: peer.identity().groups().iter().map(ToString::to_string).collect(),
            break_glass: peer.identity().is_break_glass(),
            address: peer.address().to_string(),
            mode: request.mode().to_string(),
            asked: Asked::of(request, &self.settings.redactor, BEGINNING),
            size: (size > BEGINNING).then_some(size as u64),
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
            reason: self.settings.redactor.message(&denial.reason),
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
            message: self.settings.redactor.message(&failure.message),
        });
    }

    /// Takes down what a peer asks about, for [`Audit::asked`].
    pub fn question(&self, request: &Request, digest: RequestDigest) -> Question {
        Question {
            mode: request.mode().to_string(),
            asked: Asked::of(request, &self.settings.redactor, OF_A_QUESTION),
            size: asked::size(request) as u64,
            digest: digest.to_string(),
        }
    }

    /// Records that a peer asked whether it would be permitted something, and what stands against it.
    ///
    /// # Errors
    /// `resources` when it can't be recorded; then it must not be answered.
    pub fn asked(
        &self,
        peer: &Peer,
        question: Question,
        failure: Option<&WireError>,
    ) -> Result<(), WireError> {
        let Question { mode, asked, size, digest } = question;
        let event = Event::Ask {
            peer: peer.user().to_owned(),
            address: peer.address().to_string(),
            mode,
            asked,
            size,
            digest,
            kind: failure.map(|failure| failure.kind.to_string()),
        };
        self.note(event).map(drop)
    }

    /// Counts a start that is turned away. How many there were is recorded later.
    pub fn turned_away(&self, peer: &Peer) {
        self.shared.write(|writer| writer.count_turned_away(peer.user()));
    }

    /// Returns whether the last part of the disk is being written to.
    pub fn is_scarce(&self) -> bool {
        self.shared.is_scarce()
    }

    /// Records that a command is about to start: the whole request, if the attempt has only its
    /// beginning. It may start once [`AuditedStart::synced`] says so.
    ///
    /// # Errors
    /// `resources` when it can't be recorded; then the command must not be started.
    pub fn start(
        &self,
        user: &[u8],
        permit: &Permit,
        request: &Request,
    ) -> Result<AuditedStart, WireError> {
        let was_cut = asked::size(request) > BEGINNING;
        let whole = || Box::new(Asked::of(request, &self.settings.redactor, usize::MAX));
        let plan = permit.plan();
        let head = self.note(Event::Start {
            job: plan.job.clone(),
            peer: permit.peer().user().to_owned(),
            user: Text::of(user),
            program: Text::of(plan.program.as_os_str().as_bytes()),
            cwd: Text::of(plan.cwd.as_os_str().as_bytes()),
            rules: permit.rules().to_vec(),
            request: was_cut.then(whole),
        })?;
        Ok(AuditedStart::new(Arc::clone(&self.shared), plan.job.clone(), head.seq))
    }

    /// Records that files were read again. `signer` signs from now on, if it is given.
    pub fn reloaded(&self, what: &str, failure: Option<String>, signer: Option<Signer>) {
        let event = Event::Reload { what: what.to_owned(), failure }.bounded();
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
        self.note_late(event);
    }

    /// Records that the host's own certificate was renewed, or could not be.
    pub fn enrollment(&self, what: &str, failure: Option<String>) {
        self.note_late(Event::Enrollment { what: what.to_owned(), failure });
    }

    fn note(&self, event: Event) -> Result<AuditHead, WireError> {
        let event = event.bounded();
        self.shared.write(|writer| writer.note(&event)).map_err(|error| unwritable(&error))
    }

    /// Records what has happened already; returns `None` while there is no room for it.
    fn note_late(&self, event: Event) -> Option<AuditHead> {
        self.shared.write(|writer| writer.note_late(event.bounded()))
    }

    /// Records that the server has stopped, signs and syncs. Nothing may be recorded after it.
    pub fn close(&self) {
        self.shared.end();
        let thread = self.syncer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            error!("audit: its thread has failed");
        }
        let closed = self.shared.write(|writer| {
            writer.keep_place();
            writer.catch_up()?;
            writer.sum_up()?;
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

fn server(state: Lifecycle) -> Event {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Event::Server { state, version, pid: std::process::id() }
}

/// Returns about how many bytes are recorded of a request of `size` bytes that does not run.
pub(crate) fn of_what_does_not_run(size: usize) -> usize {
    1024 + size.min(BEGINNING)
}

/// Returns the refusal of a peer that had much written, when there is little room.
pub(crate) fn scarce() -> WireError {
    let why = "the host's audit has little room left, which is kept for those who ask for less";
    WireError::new(ErrorKind::Resources, why)
        .hint("Nothing ran; free space for server/audit on the host.")
}
