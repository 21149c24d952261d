//! The audit: who asked for what, what was started, and how it ended, recorded before it happens.
//!
//! | module | holds |
//! | --- | --- |
//! | [`record`], [`text`], `asked`, `redact` | records; strings in them; requests; secrets that are left out |
//! | `transfers` | what is recorded of a transfer |
//! | `bounds`, `started` | the maximum size of records; a start, which needs its end |
//! | `chain`, `walk` | lines that prove the lines before them: writing them, and checking one after another |
//! | `notices` | records of what happens without a request |
//! | `syncer`, `writer` | orders that wait to be written, syncing, signing and rotating; the file |
//! | `place`, `journal` | the folder of the log; the copy for systemd |
//! | `recover` | reading the end of the log that the last server left |
//! | [`verify`](mod@verify), [`show`] | the readers of the log |
//!
//! A line is written, by write(2), before what it records takes effect. With `sync = "each"`, a
//! start also waits until its line is on disk. If either fails, no further command is started.
//!
//! No worker of the runtime writes. It orders records, and awaits them where something depends on
//! them. The thread `audit-writer` writes; a start is written by the thread that starts the
//! process, which the start passes through in any case. These threads wait for each other and for
//! the thread `audit`, which syncs; workers wait for none of them.

mod asked;
pub(crate) mod bounds;
mod chain;
mod error;
pub(crate) mod files;
mod journal;
mod notices;
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
mod transfers;
pub mod verify;
mod walk;
mod writer;

use std::{
    future::Future,
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
use tracing::error;

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
    started::{Announcement, AuditedStart},
    syncer::AuditHealth,
    transfers::TransferNote,
    walk::LineError,
};
use crate::{
    policy::{Denial, Permit},
    trust::Peer,
};

/// The reason why nothing more is recorded while the disk hangs.
const CROWDED: &str = "it has very much to write, and the disk does not take it";
/// The reason why nothing is recorded when the server stops.
const CLOSED: &str = "the server is stopping";

/// A dry run of a peer, to be recorded once it is judged.
#[derive(Debug)]
pub struct Question {
    mode: String,
    asked: Asked,
    size: u64,
    digest: String,
}

/// The audit log of a server.
#[derive(Debug)]
pub struct Audit {
    shared: Arc<SharedLog>,
    settings: AuditSettings,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Audit {
    /// Continues the log in `settings.folder`: records an end for each command that the last server
    /// left without one, and the start of this server.
    ///
    /// # Errors
    /// The reason why there is no log; the server must not run then.
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
        let audit = Self { shared, settings: settings.clone(), threads: Mutex::default() };
        audit.start_thread("audit", SharedLog::run).map_err(failed)?;
        audit.start_thread("audit-writer", SharedLog::run_writer).map_err(failed)?;
        Ok(Arc::new(audit))
    }

    fn start_thread(&self, name: &str, run: fn(&SharedLog)) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&shared));
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread?);
        Ok(())
    }

    /// Orders the record of a peer's request for a command, or of the beginning of a large request.
    /// [`Audit::start`], [`Audit::denied`] or [`Audit::refused`] must follow. The future returns
    /// when the record is written.
    ///
    /// # Errors
    /// `resources`, if it can't be recorded; nothing may run then.
    pub fn attempt(
        &self,
        peer: &Peer,
        job: &JobId,
        request: &Request,
        digest: &RequestDigest,
    ) -> impl Future<Output = Result<AuditHead, WireError>> + Send + use<> {
        let size = asked::size(request);
        self.note(Event::Attempt(Box::new(Attempt {
            job: job.to_string(),
            peer: peer.user().to_owned(),
            groups: peer.identity().groups().iter().map(ToString::to_string).collect(),
            break_glass: peer.identity().is_break_glass(),
            address: peer.origin().to_string(),
            mode: request.mode().to_string(),
            asked: Asked::of(request, &self.settings.redactor, BEGINNING),
            size: (size > BEGINNING).then_some(size as u64),
            digest: digest.to_string(),
        })))
    }

    /// Orders the record that the policy denies an attempt, or attaching to a job. The future
    /// returns when it is written, or can't be.
    pub fn denied(
        &self,
        peer: &Peer,
        job: Option<&JobId>,
        denial: &Denial,
    ) -> impl Future<Output = ()> + Send + use<> {
        let event = Event::Denial {
            job: job.map(ToString::to_string),
            peer: peer.user().to_owned(),
            why: denial.kind.as_str().to_owned(),
            rules: denial.rules.clone(),
            reason: self.settings.redactor.message(&denial.reason),
        };
        self.note_for(peer, event)
    }

    /// Orders the record that an attempt is refused for a reason other than the policy, as
    /// [`Audit::denied`] does.
    pub fn refused(
        &self,
        peer: &Peer,
        job: &JobId,
        failure: &WireError,
    ) -> impl Future<Output = ()> + Send + use<> {
        let event = Event::Refusal {
            job: job.to_string(),
            peer: peer.user().to_owned(),
            kind: failure.kind.to_string(),
            message: self.settings.redactor.message(&failure.message),
        };
        self.note_for(peer, event)
    }

    /// Makes the part of the record of a dry run that comes from the request, for [`Audit::asked`].
    pub fn question(&self, request: &Request, digest: RequestDigest) -> Question {
        Question {
            mode: request.mode().to_string(),
            asked: Asked::of(request, &self.settings.redactor, OF_A_QUESTION),
            size: asked::size(request) as u64,
            digest: digest.to_string(),
        }
    }

    /// Orders the record of a peer's dry run, with the failure that the command would have. The
    /// future returns when it is written.
    ///
    /// # Errors
    /// `resources`, if it can't be recorded; the dry run must not be answered then.
    pub fn asked(
        &self,
        peer: &Peer,
        question: Question,
        failure: Option<&WireError>,
    ) -> impl Future<Output = Result<AuditHead, WireError>> + Send + use<> {
        let Question { mode, asked, size, digest } = question;
        let event = Event::Ask {
            peer: peer.user().to_owned(),
            address: peer.origin().to_string(),
            mode,
            asked,
            size,
            digest,
            kind: failure.map(|failure| failure.kind.to_string()),
        };
        self.note(event)
    }

    /// Counts a refused start. The count is recorded later.
    pub fn turned_away(&self, peer: &Peer) {
        self.shared.count_turned_away(peer.user());
    }

    /// Returns whether no more than the reserve of the disk is left.
    pub fn is_scarce(&self) -> bool {
        self.shared.is_scarce()
    }

    /// Orders the record that a command is about to start, with the whole request if the attempt
    /// has only its beginning. The command may start once [`Announcement::synced`] and
    /// [`Announcement::write`] have succeeded.
    ///
    /// # Errors
    /// `resources`, if it can't be recorded; the command must not be started then.
    pub fn start(
        &self,
        user: &[u8],
        permit: &Permit,
        request: &Request,
    ) -> Result<(AuditedStart, Announcement), WireError> {
        if self.shared.is_crowded() {
            return Err(unwritable(CROWDED));
        }
        let was_cut = asked::size(request) > BEGINNING;
        let whole = || Box::new(Asked::of(request, &self.settings.redactor, usize::MAX));
        let plan = permit.plan();
        let event = Event::Start {
            job: plan.job.clone(),
            peer: permit.peer().user().to_owned(),
            user: Text::of(user),
            program: Text::of(plan.program.as_os_str().as_bytes()),
            cwd: Text::of(plan.cwd.as_os_str().as_bytes()),
            rules: permit.rules().to_vec(),
            request: was_cut.then(whole),
        };
        Ok(started::announce(&self.shared, plan.job.clone(), event))
    }

    fn note(
        &self,
        event: Event,
    ) -> impl Future<Output = Result<AuditHead, WireError>> + Send + use<> {
        let is_crowded = self.shared.is_crowded();
        let noted =
            (!is_crowded).then(|| self.shared.order(move |writer| writer.note(&event.bounded())));
        async move {
            let noted = noted.ok_or_else(|| unwritable(CROWDED))?.await;
            noted.map_err(|_| unwritable(CLOSED))?.map_err(|error| unwritable(&error))
        }
    }

    /// Orders a record about something that does not run in any case. If it can't be written, it
    /// adds to a gap, which is recorded when there is room. While very many orders wait, it is only
    /// counted.
    fn note_for(&self, peer: &Peer, event: Event) -> impl Future<Output = ()> + Send + use<> {
        let noted = match self.shared.is_crowded() {
            true => {
                self.turned_away(peer);
                None
            }
            false => Some(self.note(event)),
        };
        async move {
            if let Some(noted) = noted {
                let _ = noted.await;
            }
        }
    }

    /// Records that the server has stopped, signs and syncs. Nothing may be recorded afterwards.
    pub fn close(&self) {
        self.end_threads();
        let closed = self.shared.write(|writer| {
            writer.keep_place();
            writer.catch_up()?;
            self.shared.sum_up(writer)?;
            writer.end_all("the server stopped before it had ended")?;
            writer.note(&server(Lifecycle::Stopped)).map_err(io::Error::other)?;
            writer.sign()?;
            writer.file().sync_all()
        });
        if let Err(error) = closed {
            error!(%error, "audit: the end of the server could not be written");
        }
    }

    /// Ends the threads, once all orders are written.
    fn end_threads(&self) {
        self.shared.close();
        self.shared.end();
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                error!("audit: one of its threads has failed");
            }
        }
    }
}

fn server(state: Lifecycle) -> Event {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Event::Server { state, version, pid: std::process::id() }
}

/// Returns about how many bytes are recorded for a request of `size` bytes that does not run.
pub(crate) fn of_what_does_not_run(size: usize) -> usize {
    1024 + size.min(BEGINNING)
}

/// Returns the refusal of a peer that had much written, for when little room is left.
pub(crate) fn scarce() -> WireError {
    let why = "the host's audit has little room left, which is kept for those who ask for less";
    WireError::new(ErrorKind::Resources, why)
        .hint("Nothing ran; free space for server/audit on the host.")
}
