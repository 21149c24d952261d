//! Jobs: each the life of one command, apart from any connection.
//!
//! ```text
//!             permitted         turn            spawned         ended, pipes closed       done or retain
//!  Preparing ---------> Waiting ----> Starting -------> Running ------------------> Ended ---------> gone
//!      |                   |              |                                           ^              ^
//!      |                   +--------------+-------------------------------------------+ not started  |
//!      +---------------------------------------------------------------------------------------------+
//! ```
//!
//! Whatever a job waits for, it takes messages from its mailbox meanwhile.
//!
//! One task drives two halves, which know nothing of each other. The *supervisor* has the process,
//! its streams, deadlines and tree. The *delivery* has the output that was not confirmed, and the
//! connection that has the job at the moment. The types in `action.rs` are all that passes between
//! them.

mod action;
pub(crate) mod card;
pub(crate) mod counts;
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
mod transfer;

pub(crate) use self::{
    exit::{draining, not_started, unknown},
    sink::{Attachment, Sink},
    spec::{JobSpec, Judged, Judging, Prepared, Rejection, StartOptions},
};

use std::{sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use rcmd_protocol::frame::Frame;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::task::TaskTracker;

use self::{
    card::{About, Card},
    counts::JobCounts,
    idempotency::IdempotencyLog,
    registry::KeyReservation,
};
use crate::{
    admission::{Admission, budget::Budget, judging::JudgingShares, locks::Locks},
    audit::Audit,
    config::{OnReload, limits::Limits},
    policy::Rules,
    process::Processes,
};

/// The number of messages that may wait for a job. A job takes each at once, so this is for bursts.
const MAILBOX: usize = 64;

/// A handle to a job, which messages are sent by.
#[derive(Clone, Debug)]
pub(crate) struct JobHandle {
    mailbox: mpsc::Sender<Message>,
    card: Arc<Card>,
}

/// A message to a job.
#[derive(Debug)]
pub(crate) enum Message {
    /// A connection attaches to the job.
    Attach(Attachment),
    /// The job's connection has received a frame for it.
    Frame {
        /// The generation of the connection's attachment; frames of a superseded one are dropped.
        generation: u64,
        /// The frame.
        frame: Frame,
    },
    /// The job's connection has ended.
    Lost {
        /// The generation of the connection's attachment.
        generation: u64,
        /// True if the client may come back; false after it broke the protocol.
        resumable: bool,
    },
    /// The job's exit need not be kept any longer.
    Forget,
    /// The rules of the policy have changed.
    Judge(Arc<Rules>),
    /// An operator of the host ends the job.
    Kill,
    /// The server stops: first with the gentle urgency, then with the other.
    Stop(Urgency),
}

/// The signal that ends a job when the server stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Urgency {
    /// SIGTERM.
    Term,
    /// SIGKILL.
    Kill,
}

/// The state that all jobs of a server share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The distributor of slots to run.
    pub admission: Arc<Admission>,
    /// The limits of the host and of each identity.
    pub limits: ArcSwap<Limits>,
    /// The memory that is held for clients.
    pub budget: Arc<Budget>,
    /// The shares of identities in judging what their transfers ask.
    pub judging: JudgingShares,
    /// The counters of commands.
    pub counts: JobCounts,
    /// The keys that outlive their jobs.
    pub idempotency: Arc<IdempotencyLog>,
    /// The names that one command holds at a time.
    pub locks: Arc<Locks>,
    /// The audit, which records all jobs.
    pub audit: Arc<Audit>,
    /// The name of the user that commands run as.
    pub user: std::ffi::OsString,
    /// The starter of processes.
    pub processes: Processes,
    /// The treatment of commands that are no longer permitted.
    pub on_reload: OnReload,
    /// The time that a command outlives its attached connection.
    pub grace: std::time::Duration,
    /// The time for which an exit is kept.
    pub retain: std::time::Duration,
}

/// The mailbox of a job that has not begun: its handle exists before anything can happen to the
/// job.
#[derive(Debug)]
pub(crate) struct Mailbox {
    messages: mpsc::Receiver<Message>,
    // Held so that the mailbox never closes while the job receives from it.
    handle: JobHandle,
}

/// Makes the two ends of a job's mailbox. Operators see of the job what `about` says.
pub(crate) fn register(about: About) -> (JobHandle, Mailbox) {
    let (sender, messages) = mpsc::channel(MAILBOX);
    let handle = JobHandle { mailbox: sender, card: Arc::new(Card::new(about)) };
    (handle.clone(), Mailbox { messages, handle })
}

impl Mailbox {
    /// Runs the whole life of a job, and returns when nothing of it needs to be kept any longer.
    ///
    /// `preparing` finds what the job needs and has it judged; it is dropped when nobody wants the
    /// job any longer. The key is released when nothing has run, or when the exit need not be kept
    /// any longer.
    pub(crate) async fn live(
        self,
        spec: JobSpec,
        sink: Sink,
        preparing: impl Future<Output = Result<Prepared, Rejection>> + Send,
        shared: Arc<Shared>,
        reservation: KeyReservation,
    ) {
        let card = Arc::clone(&self.handle.card);
        let job = life::Job::new(spec, sink, self.messages, shared, card);
        job.live(preparing, reservation).await;
    }
}

impl JobHandle {
    /// Sends the job a message. Returns false if the job is gone.
    ///
    /// # Cancel safety
    /// Dropping the future loses the message.
    pub(crate) async fn tell(&self, message: Message) -> bool {
        self.mailbox.send(message).await.is_ok()
    }

    /// Returns whether the job was permitted. Before that it waits for its own judgement, whose
    /// result every attached client receives.
    pub(crate) fn is_permitted(&self) -> bool {
        self.card.is_permitted()
    }

    /// Returns what operators see of the job.
    pub(crate) fn card(&self) -> &Card {
        &self.card
    }

    /// Sends the job a message without waiting for it, so that a busy job delays nobody.
    pub(crate) fn tell_soon(&self, message: Message, tasks: &TaskTracker) {
        if let Err(TrySendError::Full(message)) = self.mailbox.try_send(message) {
            let job = self.clone();
            tasks.spawn(async move { job.tell(message).await });
        }
    }

    /// Sends an ended job the message that its exit need not be kept. A job whose mailbox is full
    /// has an active client, and ends through that.
    pub(crate) fn forget(&self) {
        let _ = self.mailbox.try_send(Message::Forget);
    }

    /// Returns whether the job is gone, so that it takes no more messages.
    pub(crate) fn is_gone(&self) -> bool {
        self.mailbox.is_closed()
    }

    /// Returns whether both handles are of the same job.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.mailbox.same_channel(&other.mailbox)
    }
}

/// Waits until the deadline, or for ever without one.
async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
