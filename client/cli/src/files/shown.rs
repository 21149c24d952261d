//! What is shown of transfers, on its way to the thread that shows it.

use std::time::Duration;

use rcmd_transfer::{
    EventOrigin, Failure, FailureKind, FileAction, FileEvent, FileKind, FileNotes,
};
use tokio::sync::oneshot;

use super::verdict::HostEnd;

/// A message to the display; they come in the order in which things happen.
pub(super) enum Shown {
    /// A file of a transfer; of no host, if it is missing here.
    File { host: Option<usize>, file: Box<ShownFile> },
    /// A message of rcmd's own about a host.
    Note { host: usize, text: String },
    /// A transfer ended, after this time.
    Ended { host: usize, end: Box<HostEnd>, took: Duration },
    /// All of a set ended.
    Account(Account),
    /// Nothing more comes, although an engine that nobody waits for may still say something.
    Over,
    /// Time has passed.
    Tick,
    /// What is written to standard output from now on is a content, beside which there is no live line; the sender is
    /// dropped when that is gone.
    Content(oneshot::Sender<()>),
    /// This process is about to be stopped; the sender is dropped when the live line is gone.
    Suspended(oneshot::Sender<()>),
}

/// What became of one file.
#[derive(Clone, Debug)]
pub(super) struct ShownFile {
    pub(super) path: Vec<u8>,
    pub(super) kind: FileKind,
    pub(super) origin: EventOrigin,
    pub(super) action: FileAction,
    pub(super) bytes: u64,
    pub(super) digest: Option<[u8; 32]>,
    pub(super) notes: FileNotes,
    pub(super) failure: Option<Failure>,
}

impl ShownFile {
    /// Returns an event that outlives the engine's.
    pub(super) fn of(event: &FileEvent<'_>) -> Self {
        // The destination itself has no name in it.
        let path = if event.path.is_empty() { b"." } else { event.path };
        Self {
            path: path.to_vec(),
            kind: event.kind,
            origin: event.origin,
            action: event.action,
            bytes: event.bytes,
            digest: event.digest,
            notes: event.notes,
            failure: event.failure.cloned(),
        }
    }

    /// Returns why nothing was deleted, if this is what says so: it is about the destination itself.
    pub(super) fn withheld(&self) -> Option<&str> {
        let failure = self.failure.as_ref().filter(|_| self.path == b".")?;
        (failure.kind == FailureKind::TooBig).then_some(&*failure.message)
    }

    /// Returns a source that is missing here.
    pub(super) fn missing(path: Vec<u8>, failure: Failure) -> Self {
        Self {
            path,
            kind: FileKind::Other,
            origin: EventOrigin::Source,
            action: FileAction::Failed,
            bytes: 0,
            digest: None,
            notes: FileNotes::default(),
            failure: Some(failure),
        }
    }
}

/// How many hosts of a set ended in each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    /// Everything was transferred.
    pub(super) done: usize,
    /// Something failed.
    pub(super) failed: usize,
    pub(super) timed_out: usize,
    /// Nothing was transferred.
    pub(super) not_started: usize,
    pub(super) unknown: usize,
}
