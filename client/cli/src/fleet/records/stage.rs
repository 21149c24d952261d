//! The stages of the targets of a recorded run.

use rcmd_client::Report;
use serde::Serialize;

use super::TargetState;
use crate::fleet::account::{Category, Reason};

/// The stage of a target, in the order in which people are told of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// The command exited with status 0.
    Exited,
    /// The command exited with another status, or was ended by a signal.
    Failed,
    /// The command was ended at its time limit.
    TimedOut,
    /// The command never ran.
    NotStarted,
    /// The command may have run, and its end is not known.
    Unknown,
    /// The start was sent, by a process that still waits for the end.
    Running,
    /// The start was not yet sent, by a process that still continues the run.
    Waiting,
}

impl Stage {
    /// All of them, in their order.
    pub(crate) const ALL: [Self; 7] = [
        Self::Exited,
        Self::Failed,
        Self::TimedOut,
        Self::NotStarted,
        Self::Unknown,
        Self::Running,
        Self::Waiting,
    ];

    /// Returns where a target stands whose record a process writes, or does not.
    pub(crate) fn of(state: &TargetState, running: bool) -> Self {
        match (&state.end, &state.sent) {
            (Some(report), _) => Self::of_end(report),
            (None, Some(_)) if running => Self::Running,
            (None, Some(_)) => Self::Unknown,
            (None, None) if running => Self::Waiting,
            (None, None) => Self::NotStarted,
        }
    }

    fn of_end(report: &Report) -> Self {
        match Reason::of(report).category() {
            Category::Exited => Self::Exited,
            Category::Failed => Self::Failed,
            Category::TimedOut => Self::TimedOut,
            // What is only asked about is not recorded.
            Category::NotStarted | Category::Permitted => Self::NotStarted,
            Category::Unknown => Self::Unknown,
        }
    }

    /// Returns it as people say it.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::Failed => "failed",
            Self::TimedOut => "timed out",
            Self::NotStarted => "not started",
            Self::Unknown => "unknown",
            Self::Running => "running",
            Self::Waiting => "waiting",
        }
    }
}
