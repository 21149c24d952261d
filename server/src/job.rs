//! A command's life, apart from any connection.
//!
//! ```text
//!             permitted         turn            spawned         ended, pipes closed       done or retain
//!  Preparing ---------> Waiting ----> Starting -------> Running ------------------> Ended ---------> gone
//!      |                   |              |                                           ^              ^
//!      |                   +--------------+-------------------------------------------+ not started  |
//!      +---------------------------------------------------------------------------------------------+
//! ```
//!
//! Whatever a job waits for, it hears its mailbox meanwhile.
//!
//! One task owns it all: the process, the pipes, and what was not confirmed of its output. The
//! connection that has it at the moment is a sink that it writes frames to, and that another
//! connection may replace at any time.

mod delivery;
mod exit;
pub(crate) mod idempotency;
mod input;
mod launch;
mod output;
pub(crate) mod registry;
mod run;
mod timers;

pub(crate) use exit::{draining, not_started, unknown};

use std::sync::Arc;

use arc_swap::ArcSwap;
use rcmd_protocol::{
    digest::Algorithm,
    error::ProtocolError,
    frame::{Frame, Lock, OutputOffsets, Refusal, StartBody},
    ids::{JobId, Key, RequestDigest},
    io::Sender,
};
use tokio::sync::{SetOnce, mpsc};

use crate::{
    admission::{
        Admission, Entering,
        budget::{Budget, Share},
        locks::Locks,
    },
    audit::Audit,
    config::{OnReload, limits::Limits},
    job::idempotency::IdempotencyLog,
    policy::{AuthorizedRequest, Permit, Rules},
    process::Processes,
    request::authorize::Refused,
    trust::Peer,
};

/// Messages that may wait for a job. It takes each at once, so this is for bursts.
const MAILBOX: usize = 64;

/// The way to a job.
#[derive(Clone, Debug)]
pub(crate) struct JobHandle {
    mailbox: mpsc::Sender<Message>,
}

/// What a job can be told.
#[derive(Debug)]
pub(crate) enum Message {
    /// A connection wants it.
    Attach(Attachment),
    /// Its connection has a frame for it.
    Frame {
        /// Of the connection's attachment; a superseded one's frames are dropped.
        generation: u64,
        /// The frame.
        frame: Frame,
    },
    /// Its connection ended.
    Lost {
        /// Of the connection's attachment.
        generation: u64,
        /// Whether the client may come back; not after it broke the protocol.
        resumable: bool,
    },
    /// Its end need not be kept any longer.
    Forget,
    /// There are other rules.
    Judge(Arc<Rules>),
    /// The server stops: first gently, then not.
    Stop(Urgency),
}

/// How a job is to be ended when the server stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Urgency {
    /// SIGTERM.
    Term,
    /// SIGKILL.
    Kill,
}

/// A connection that wants a job. Dropped before the job has looked at it, as when the job ends at
/// that moment, it answers that the job is gone: a client must not wait for ever.
#[derive(Debug)]
pub(crate) struct Attachment {
    sink: Option<Sink>,
    received: Option<OutputOffsets>,
}

impl Attachment {
    /// With where its frames go, and the bytes of stdout and stderr that the client has; none for a
    /// start, which has received nothing and takes what is left.
    pub(crate) fn new(sink: Sink, received: Option<OutputOffsets>) -> Self {
        Self { sink: Some(sink), received }
    }

    fn take(mut self) -> Option<(Sink, Option<OutputOffsets>)> {
        Some((self.sink.take()?, self.received))
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        if let Some(Sink { link, ch, .. }) = self.sink.take() {
            link.send(Frame::Refused { ch, reason: Refusal::Gone, generation: None });
        }
    }
}

/// A channel of a connection, as a job sees it.
#[derive(Clone, Debug)]
pub(crate) struct Sink {
    /// The connection's sender.
    pub link: Sender,
    /// The channel's number there.
    pub ch: u32,
    /// Which of the client's connections it is.
    pub generation: u64,
    /// Ends the connection when the client broke the protocol on this channel.
    pub broken: Arc<SetOnce<ProtocolError>>,
}

impl Sink {
    fn fault(&self, fault: &ProtocolError) {
        self.link.send(Frame::Error(fault.failure()));
        // The first fault is the one that ends it.
        let _ = self.broken.set(fault.clone());
    }
}

/// What is known of a job before anything is looked at for it.
#[derive(Debug)]
pub(crate) struct JobSpec {
    /// Its name.
    pub id: JobId,
    /// The key it was started with, if it is to outlive the job.
    pub kept: Option<Key>,
    /// The request digest.
    pub digest: RequestDigest,
    /// Who asked for it.
    pub peer: Arc<Peer>,
    /// The connection that asked.
    pub sink: Sink,
    /// How it was asked for.
    pub options: StartOptions,
    /// What it must hold alone while it runs.
    pub lock: Option<Lock>,
}

/// What was found for a job, and that it may run.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// Proof that it may run.
    pub permit: Permit,
    /// What was permitted, should the rules change.
    pub authorized: AuthorizedRequest,
    /// What the request takes of the budget.
    pub held: Share,
    /// What the user should know of how it was resolved.
    pub note: Option<String>,
    /// That it was let in, until it takes a turn or a place in a queue.
    pub entering: Entering,
}

/// The scalars of a start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StartOptions {
    /// Digests of the streams.
    pub algorithm: Algorithm,
    /// Milliseconds after which it is ended; 0 for never.
    pub timeout_ms: u64,
    /// Milliseconds of grace, if less than the server's.
    pub grace_ms: Option<u64>,
    /// Whether data carries the time.
    pub timestamps: bool,
    /// Whether standard input will come.
    pub stdin: bool,
}

impl StartOptions {
    /// Reads them from a start; `None` if its digests are all unknown here.
    pub(crate) fn of(start: &StartBody) -> Option<Self> {
        Some(Self {
            algorithm: Algorithm::choose(start.digests())?,
            timeout_ms: start.timeout_ms(),
            grace_ms: start.grace_ms(),
            timestamps: start.timestamps(),
            stdin: start.stdin(),
        })
    }
}

/// What all jobs of a server share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Turns.
    pub admission: Arc<Admission>,
    /// Who may have how many of them.
    pub limits: ArcSwap<Limits>,
    /// Memory.
    pub budget: Arc<Budget>,
    /// Keys that outlive their jobs.
    pub idempotency: Arc<IdempotencyLog>,
    /// Names that one command holds at a time.
    pub locks: Arc<Locks>,
    /// What is written down of them all.
    pub audit: Arc<Audit>,
    /// The name of the user whom commands run as.
    pub user: std::ffi::OsString,
    /// The way to processes.
    pub processes: Processes,
    /// What becomes of commands that are no longer permitted.
    pub on_reload: OnReload,
    /// How long an attached command outlives its connection.
    pub grace: std::time::Duration,
    /// How long an end is kept.
    pub retain: std::time::Duration,
}

/// A job that was registered and not begun: its handle exists before anything can happen to it.
#[derive(Debug)]
pub(crate) struct Registered {
    mailbox: mpsc::Receiver<Message>,
    // Held so that the mailbox never closes while the job looks into it.
    handle: JobHandle,
}

/// Makes the two ends of a job's mailbox.
pub(crate) fn register() -> (JobHandle, Registered) {
    let (sender, mailbox) = mpsc::channel(MAILBOX);
    let handle = JobHandle { mailbox: sender };
    (handle.clone(), Registered { mailbox, handle })
}

impl Registered {
    /// Lives the whole life of the job; ends when nothing of it needs to be known any more.
    ///
    /// `preparing` finds what the job needs and has it judged; it is dropped when nobody wants the job
    /// any more. `on_end` is called when nothing of the job runs any more and only its end is kept, with
    /// whether anything had run. Returns that as well.
    pub(crate) async fn live(
        self,
        spec: JobSpec,
        preparing: impl Future<Output = Result<Prepared, Refused>> + Send,
        shared: Arc<Shared>,
        on_end: impl FnOnce(bool) + Send,
    ) -> bool {
        let (job, lock) = run::Job::new(spec, self.mailbox, shared);
        let started = job.live(preparing, lock, on_end).await;
        drop(self.handle);
        started
    }
}

impl JobHandle {
    /// Tells the job something; false when it is gone.
    ///
    /// # Cancel safety
    /// The message is lost when dropped.
    pub(crate) async fn tell(&self, message: Message) -> bool {
        self.mailbox.send(message).await.is_ok()
    }

    /// Tells a job that has ended to keep its end no longer. One that is too busy to hear it has a
    /// client, and ends by that.
    pub(crate) fn forget(&self) {
        let _ = self.mailbox.try_send(Message::Forget);
    }

    /// Whether nothing of the job is left that could be told anything.
    pub(crate) fn is_gone(&self) -> bool {
        self.mailbox.is_closed()
    }

    /// Whether both lead to the same job.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.mailbox.same_channel(&other.mailbox)
    }
}
