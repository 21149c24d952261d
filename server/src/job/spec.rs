//! What a job is, before and after it was judged.

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
    policy::{Denial, HostFacts, Permit},
    process::SpawnError,
    trust::Peer,
};

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
    /// How it was asked for.
    pub options: StartOptions,
    /// What it must hold alone while it runs.
    pub lock: Option<Lock>,
}

/// What was found for a request, and that it may run.
#[derive(Debug)]
pub(crate) struct Judged {
    /// Proof that it may run.
    pub permit: Permit,
    /// What it was judged by, should the rules change.
    pub facts: HostFacts,
    /// What the user should know of how it was resolved.
    pub note: Option<String>,
}

/// A judgement that is being made.
pub(crate) type Judging = Pin<Box<dyn Future<Output = Result<Judged, Rejection>> + Send>>;

/// Looks and judges again, once what a command had to wait for is there.
pub(crate) type JudgeAgain = Box<dyn FnOnce() -> Judging + Send>;

/// What a job needs before it waits for its lock and its turn.
pub(crate) struct Prepared {
    /// What was found, and that it may run now.
    pub judged: Judged,
    /// The same anew, for when it had to wait.
    pub again: JudgeAgain,
    /// What was asked for.
    pub request: Arc<Request>,
    /// What the request takes of the budget.
    pub held: Share,
    /// That it was let in, until it takes a turn or a place in a queue.
    pub entering: Entering,
}

/// Why a command may not run.
#[derive(Debug)]
pub(crate) enum Rejection {
    /// It may not be done.
    Denied(Denial),
    /// It can't be done.
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
    /// Bytes that each output stream may be ahead of its reader.
    pub credit: u64,
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
            credit: start.credit(),
        })
    }
}
