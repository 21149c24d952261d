//! The states of a channel: its place, the server process that may have its start, and its job.

use rcmd_protocol::{
    digest::Algorithm,
    ids::{Instance, JobId},
};
use tokio::time::Instant;

/// The server process that may have had the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::link) enum StartSent {
    /// No process: the start was never handed to a connection.
    Never,
    /// The process behind the present connection, whose hello has not come.
    AwaitingHello,
    /// The process with this instance.
    To(Instance),
    /// A process that was never learned: the connection broke before its hello.
    Unknown,
}

/// The place of a channel: on a connection, or waiting for one.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    /// The channel is on no connection. It waits for one, or for the hello of the present one.
    Detached { lost: Option<Lost> },
    /// The channel is on no connection until the time at which the busy host is asked again.
    Resting { until: Instant },
    /// The channel is on the connection, and waits for the answer to a start.
    Starting { ch: u32, lost: Option<Lost> },
    /// The channel is on the connection, and waits for the answer to an attach.
    Attaching { ch: u32, lost: Option<Lost> },
    /// The channel is on the connection, and waits for the end.
    Running { ch: u32 },
}

/// A loss of the connection that no answer of the server has mended yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lost {
    /// The time at which the connection was given up, from which the grace counts.
    pub(super) at: Instant,
    /// The time from which the loss counts in notices to a person.
    pub(super) since: Instant,
}

/// The job of a channel, as far as the server has named it.
#[derive(Debug)]
pub(super) enum Job {
    /// The server has not named the job.
    Unnamed,
    /// The server has named the job, which waits for its turn, or has never started.
    Named(Named),
    /// The server has reported that the job's process runs, or ran.
    Started {
        named: Named,
        /// The time at which the process started, in milliseconds since 1970.
        at: u64,
    },
}

/// The name of a job, and the digest of its streams. Both stay as long as the job lives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Named {
    pub(super) id: JobId,
    pub(super) digest: Algorithm,
}

impl Job {
    /// Returns the job's name and digests, if they are known.
    pub(super) fn named(&self) -> Option<&Named> {
        match self {
            Self::Unnamed => None,
            Self::Named(named) | Self::Started { named, .. } => Some(named),
        }
    }

    /// Returns when the process started, in milliseconds since 1970, if it did.
    pub(super) fn started_at(&self) -> Option<u64> {
        match self {
            Self::Unnamed | Self::Named(_) => None,
            Self::Started { at, .. } => Some(*at),
        }
    }
}

impl State {
    /// Returns the loss that is not mended yet.
    pub(super) fn lost(self) -> Option<Lost> {
        match self {
            Self::Detached { lost }
            | Self::Starting { lost, .. }
            | Self::Attaching { lost, .. } => lost,
            Self::Resting { .. } | Self::Running { .. } => None,
        }
    }

    /// Returns this state after the server has answered in between.
    pub(super) fn mended(self) -> Self {
        match self {
            Self::Detached { .. } => Self::Detached { lost: None },
            Self::Starting { ch, .. } => Self::Starting { ch, lost: None },
            Self::Attaching { ch, .. } => Self::Attaching { ch, lost: None },
            Self::Resting { .. } | Self::Running { .. } => self,
        }
    }

    /// Returns the number of the channel on the connection that has it.
    pub(super) fn ch(self) -> Option<u32> {
        match self {
            Self::Starting { ch, .. } | Self::Attaching { ch, .. } | Self::Running { ch } => {
                Some(ch)
            }
            Self::Detached { .. } | Self::Resting { .. } => None,
        }
    }

    /// Returns the number of the channel if the server takes input and requests on it now. While an
    /// attach is not answered, nobody knows what it has had of them.
    pub(super) fn open_ch(self) -> Option<u32> {
        match self {
            Self::Starting { ch, .. } | Self::Running { ch } => Some(ch),
            Self::Detached { .. } | Self::Resting { .. } | Self::Attaching { .. } => None,
        }
    }
}
