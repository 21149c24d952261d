//! The description of a job, before and after it was judged.

use std::{pin::Pin, sync::Arc};

use rcmd_protocol::{
    digest::Algorithm,
    frame::{Lock, StartBody},
    ids::{JobId, Key, RequestDigest},
    outcome::WireError,
    request::Request,
};

use crate::{
    admission::{Entering, budget::Share},
    policy::{Access, Denial, Permit, RequestFacts},
    process::SpawnError,
    trust::Peer,
};

/// The description of a job before anything is looked up for it.
#[derive(Debug)]
pub(crate) struct JobSpec {
    /// The job's ID.
    pub id: JobId,
    /// The key that it was started with, if that must outlive the job.
    pub kept: Option<Key>,
    /// The request digest.
    pub digest: RequestDigest,
    /// The peer that asked for the job.
    pub peer: Arc<Peer>,
    /// The options of the start.
    pub options: StartOptions,
    /// The lock that it must hold while it runs.
    pub lock: Option<Lock>,
}

/// The permit of a request, and what was found on the host for it.
#[derive(Debug)]
pub(crate) struct Judged {
    /// The proof that it may run.
    pub permit: Permit,
    /// The facts by which it was judged, for when the rules change.
    pub facts: RequestFacts,
    /// A note for the user on how the request was resolved.
    pub note: Option<String>,
}

/// A judgement in progress.
pub(crate) type Judging = Pin<Box<dyn Future<Output = Result<Judged, Rejection>> + Send>>;

/// A function that looks and judges again, once a command no longer has to wait.
pub(crate) type JudgeAgain = Box<dyn FnOnce() -> Judging + Send>;

/// A function that judges, by the rules of the moment, whether a transfer may go on with a folder.
pub(crate) type JudgeFolder = Box<dyn Fn(&Access) -> Result<(), Denial> + Send + Sync>;

/// The prerequisites of a job, before it waits for its lock and its turn.
pub(crate) struct Prepared {
    /// The permit, and what was found.
    pub judged: Judged,
    /// The function that judges again, for a job that had to wait.
    pub again: JudgeAgain,
    /// The function that judges the folders that a transfer enters.
    pub folders: JudgeFolder,
    /// The request.
    pub request: Arc<Request>,
    /// The memory that the request takes of the budget.
    pub held: Share,
    /// The count of this start as entering, until it takes a turn or a place in a queue.
    pub entering: Entering,
}

/// The reason why a command may not or can't run.
#[derive(Debug)]
pub(crate) enum Rejection {
    /// The policy denies the command.
    Denied(Denial),
    /// The command can't be run.
    Failed(WireError),
}

impl From<Denial> for Rejection {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

impl From<WireError> for Rejection {
    fn from(failure: WireError) -> Self {
        Self::Failed(failure)
    }
}

impl From<SpawnError> for Rejection {
    fn from(error: SpawnError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Rejection> for WireError {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Denied(denial) => denial.into(),
            Rejection::Failed(failure) => failure,
        }
    }
}

/// The options of a start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StartOptions {
    /// The algorithm for the digests of the streams.
    pub algorithm: Algorithm,
    /// The time in milliseconds after which the command is ended; 0 for never.
    pub timeout_ms: u64,
    /// The grace in milliseconds, if shorter than the server's.
    pub grace_ms: Option<u64>,
    /// True if data carries the time at which it was read.
    pub timestamps: bool,
    /// True if the client will send standard input.
    pub stdin: bool,
    /// The bytes that each output stream may be ahead of its reader.
    pub credit: u64,
}

impl StartOptions {
    /// Reads the options of a start. Returns `None` if this server supports none of its digests.
    pub(crate) fn of(start: &StartBody) -> Option<Self> {
        Some(Self {
            algorithm: Algorithm::choose(start.digests())?,
            timeout_ms: start.timeout_ms(),
            grace_ms: start.grace_ms(),
            timestamps: start.timestamps(),
            stdin: start.stdin(),
            credit: start.credit(),
        })
    }
}
