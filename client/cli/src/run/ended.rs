//! How a run ended, and the exit status of that.

use std::io;

use rcmd_client::{ErrorKind, Outcome, Report, Signal, WireError};

use crate::output::sink::Place;
use crate::status;

/// How a run ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) report: Report,
    pub(super) cause: Cause,
}

/// What the exit status hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// What the host says; or that it was never reached.
    Report,
    /// The reader of our standard output has gone.
    ReaderGone,
    /// Output could not be written here, or input not read.
    LocalIo,
    /// This signal of ours; the end that it brought did not come in time.
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

    /// Returns this end after something could not be written or read here.
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
        .hint("The command was killed there; make room here, or send its output elsewhere.")
}
