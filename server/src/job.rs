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
//! One task drives two halves, which know nothing of each other: the *supervisor* has the process, its
//! streams, deadlines and tree, and the *delivery* what was not confirmed of its output and the
//! connection that has the job at the moment. `action.rs` is all that they say to each other.

mod action;
mod delivery;
mod early;
mod exit;
pub(crate) mod idempotency;
mod judgement;
mod launch;
mod life;
pub(crate) mod registry;
mod sink;
mod spec;
mod supervisor;

pub(crate) use self::{
    exit::{draining, not_started, unknown},
    sink::{Attachment, Sink},
    spec::{JobSpec, Judged, Judging, Prepared, Rejection, StartOptions},
};

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use arc_swap::ArcSwap;
use rcmd_protocol::frame::Frame;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::task::TaskTracker;

use self::{idempotency::IdempotencyLog, registry::KeyReservation};
use crate::{
    admission::{Admission, budget::Budget, locks::Locks},
    audit::Audit,
    config::{OnReload, limits::Limits},
    policy::Rules,
    process::Processes,
};

/// Messages that may wait for a job. It takes each at once, so this is for bursts.
const MAILBOX: usize = 64;

/// The way to a job.
#[derive(Clone, Debug)]
pub(crate) struct JobHandle {
    mailbox: mpsc::Sender<Message>,
    is_permitted: Arc<AtomicBool>,
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

/// The mailbox of a job that was not begun: its handle exists before anything can happen to it.
#[derive(Debug)]
pub(crate) struct Mailbox {
    messages: mpsc::Receiver<Message>,
    // Held so that the mailbox never closes while the job looks into it.
    handle: JobHandle,
}

/// Makes the two ends of a job's mailbox.
pub(crate) fn register() -> (JobHandle, Mailbox) {
    let (sender, messages) = mpsc::channel(MAILBOX);
    let handle = JobHandle { mailbox: sender, is_permitted: Arc::default() };
    (handle.clone(), Mailbox { messages, handle })
}

impl Mailbox {
    /// Lives the whole life of a job; ends when nothing of it needs to be known any more.
    ///
    /// `preparing` finds what the job needs and has it judged; it is dropped when nobody wants the job
    /// any more. The key is given back when nothing has run, or when the end need not be kept any more.
    pub(crate) async fn live(
        self,
        spec: JobSpec,
        sink: Sink,
        preparing: impl Future<Output = Result<Prepared, Rejection>> + Send,
        shared: Arc<Shared>,
        reservation: KeyReservation,
    ) {
        let job = life::Job::new(spec, sink, self.messages, shared);
        job.live(preparing, reservation, &self.handle).await;
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

    /// Returns whether the job was permitted. Before that it waits for its own judgement, which whoever
    /// takes it up is told of.
    pub(crate) fn is_permitted(&self) -> bool {
        self.is_permitted.load(Ordering::Acquire)
    }

    fn set_permitted(&self) {
        self.is_permitted.store(true, Ordering::Release);
    }

    /// Sends the job a message without waiting for it: one that hears it late holds up nobody.
    pub(crate) fn tell_soon(&self, message: Message, tasks: &TaskTracker) {
        if let Err(TrySendError::Full(message)) = self.mailbox.try_send(message) {
            let job = self.clone();
            tasks.spawn(async move { job.tell(message).await });
        }
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

/// Waits until then; for ever, without a deadline.
async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
