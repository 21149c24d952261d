//! The end of a run, and its exit status.

use std::io;

use rcmd_client::{ErrorKind, Outcome, Report, Signal, WireError};

use crate::output::sink::Place;
use crate::status;

/// The end of a run.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) report: Report,
    pub(super) cause: Cause,
}

/// The cause of an exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The report of the host, or that it was not reached.
    Report,
    /// The reader of our standard output has gone.
    ReaderGone,
    /// An error of output or input on this machine.
    LocalIo,
    /// A signal to this process, after which the command did not end in time.
    GivenUp(Signal),
}

impl Ended {
    /// Returns the end that the host reported.
    pub(super) fn by_report(report: Report) -> Self {
        Self { report, cause: Cause::Report }
    }

    /// Returns the exit status.
    pub(super) fn status(&self) -> u8 {
        match self.cause {
            Cause::Report => self.report.exit_status(),
            Cause::ReaderGone => status::READER_GONE,
            Cause::LocalIo => status::LOCAL_IO,
            Cause::GivenUp(signal) => signal.exit_status(),
        }
    }

    /// Returns this end after an error of output or input on this machine.
    pub(super) fn spoiled(self, failure: WireError) -> Self {
        let report = Report {
            outcome: Outcome::Unknown,
            code: None,
            signal: None,
            error: Some(failure),
            retry_safe: false,
            truncated: true,
            ..self.report
        };
        Self { report, cause: Cause::LocalIo }
    }
}

/// Returns the failure to write to `place`.
pub(super) fn unwritten(place: Place, error: &io::Error) -> WireError {
    WireError::new(ErrorKind::LocalIo, format!("cannot write {}: {error}", place.name()))
        .hint("The command was killed on the host; make room here, or write its output elsewhere.")
}
