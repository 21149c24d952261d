//! The reasons by which ends are grouped, in a few words each.

use std::fmt;

use rcmd_client::{ErrorKind, Outcome, Report, Signal};

use crate::status;

/// The way in which a target ended. Targets of one reason are told together, whatever their messages say.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Reason {
    /// The command exited with this status.
    Status(u8),
    /// A signal ended the command; none if the report does not name the signal.
    Signal(Option<Signal>),
    /// The command was ended at its time limit.
    TimedOut,
    /// The command never ran, because of an error of this kind.
    NotStarted(Option<ErrorKind>),
    /// The host was only asked, and would permit the command.
    Permitted,
    /// The command never ran, because the run stopped before.
    HeldBack,
    /// The end of the command is not known, because of an error of this kind.
    Unknown(Option<ErrorKind>),
}

/// The kinds of ends that an account counts; the last one is the least certain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Category {
    /// The command exited with status 0.
    Exited,
    /// The host would permit the command, which is all that was asked.
    Permitted,
    /// The command exited with another status, or was ended by a signal.
    Failed,
    /// The command was ended at its time limit.
    TimedOut,
    /// The command never ran.
    NotStarted,
    /// The end of the command is not known.
    Unknown,
}

impl Category {
    /// Returns whether nothing went wrong.
    pub(crate) fn is_well(self) -> bool {
        matches!(self, Self::Exited | Self::Permitted)
    }

    /// Returns the exit status of several ends of which this is the least certain one.
    pub(crate) fn status(self) -> u8 {
        match self {
            Self::Exited | Self::Permitted => 0,
            Self::Failed => 1,
            Self::TimedOut => status::TIMED_OUT,
            Self::NotStarted => status::NOT_STARTED,
            Self::Unknown => status::UNKNOWN,
        }
    }
}

impl Reason {
    /// Returns how the target of this report ended. A status that is missing is no zero.
    pub(crate) fn of(report: &Report) -> Self {
        let kind = report.error.as_ref().map(|error| error.kind);
        match (report.outcome, report.code) {
            (Outcome::Exited, Some(code)) => Self::Status(code),
            (Outcome::Signaled, _) => Self::Signal(report.signal),
            (Outcome::TimedOut, _) => Self::TimedOut,
            (Outcome::NotStarted, _) => match kind {
                Some(ErrorKind::HeldBack) => Self::HeldBack,
                kind => Self::NotStarted(kind),
            },
            (Outcome::Exited | Outcome::Unknown, _) => Self::Unknown(kind),
        }
    }

    /// Returns what it counts as.
    pub(crate) fn category(self) -> Category {
        match self {
            Self::Status(0) => Category::Exited,
            Self::Status(_) | Self::Signal(_) => Category::Failed,
            Self::TimedOut => Category::TimedOut,
            Self::Permitted => Category::Permitted,
            Self::NotStarted(_) | Self::HeldBack => Category::NotStarted,
            Self::Unknown(_) => Category::Unknown,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(0) => f.write_str("exited 0"),
            Self::Status(code) => write!(f, "failed with status {code}"),
            Self::Signal(Some(signal)) => write!(f, "ended by {signal}"),
            Self::Signal(None) => f.write_str("ended by a signal"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Permitted => f.write_str("would be permitted"),
            Self::NotStarted(_) => f.write_str("not started"),
            Self::HeldBack => f.write_str("not started (held back)"),
            Self::Unknown(_) => f.write_str("unknown"),
        }
    }
}
