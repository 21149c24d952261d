//! The messages that a caller gets about its command before the end, and the end.

use tokio::sync::watch;

use super::notices::{self, Notice, NoticeReader, NoticeWriter};
use crate::report::Report;

/// The process of a command, when it runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Started {
    /// The job's name on the host.
    pub job: String,
    /// A message for the user, such as that a home folder is missing.
    pub note: Option<String>,
    /// The time at which the process started, in milliseconds since 1970 by the host's clock.
    pub started_at: u64,
}

/// The progress of a command. The link writes it, and a child reads it.
#[derive(Debug, Default)]
pub(crate) enum Progress {
    /// The process has not started, as far as is known.
    #[default]
    Waiting,
    /// The process runs.
    Running(Started),
    /// The command ended, or nothing more will be heard of it.
    Ended {
        /// The process of the command, if it had one.
        started: Option<Started>,
        report: Box<Report>,
    },
    /// A dry run whose command the host would permit, with what the host would do.
    Permitted(String),
}

impl Progress {
    /// Returns whether nothing more will come.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self, Self::Ended { .. } | Self::Permitted(_))
    }

    /// Returns the process of the command, if it has or had one.
    pub(crate) fn started(&self) -> Option<&Started> {
        match self {
            Self::Running(started) => Some(started),
            Self::Ended { started, .. } => started.as_ref(),
            Self::Waiting | Self::Permitted(_) => None,
        }
    }

    /// Returns how the command ended, if it has.
    pub(crate) fn report(&self) -> Option<&Report> {
        match self {
            Self::Ended { report, .. } => Some(report),
            Self::Waiting | Self::Running(_) | Self::Permitted(_) => None,
        }
    }
}

/// The link's end of what a caller hears.
#[derive(Debug)]
pub(crate) struct Reporter {
    progress: watch::Sender<Progress>,
    notices: NoticeWriter,
}

impl Reporter {
    /// Returns a reporter, with the caller's ends.
    pub(crate) fn new() -> (Self, watch::Receiver<Progress>, NoticeReader) {
        let (progress, seen) = watch::channel(Progress::default());
        let (notices, noticed) = notices::pair();
        (Self { progress, notices }, seen, noticed)
    }

    /// Sends a notice to a person who waits, who may miss one that a later notice makes out of date.
    pub(crate) fn notice(&self, notice: Notice) {
        self.notices.put(notice);
    }

    /// Reports that the process runs.
    pub(crate) fn started(&self, started: Started) {
        self.progress.send_modify(|progress| *progress = Progress::Running(started));
    }

    /// Answers a dry run of a command that the host would permit.
    pub(crate) fn permitted(&self, note: String) {
        self.progress.send_modify(|progress| *progress = Progress::Permitted(note));
    }

    /// Reports the end of the command.
    pub(crate) fn report(&self, report: Report) {
        self.progress.send_modify(|progress| {
            let started = match std::mem::take(progress) {
                Progress::Running(started) => Some(started),
                Progress::Ended { started, .. } => started,
                Progress::Waiting | Progress::Permitted(_) => None,
            };
            *progress = Progress::Ended { started, report: Box::new(report) };
        });
    }
}
