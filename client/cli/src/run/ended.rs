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

    /// Returns this end after an error of output or input on this machine. The hint states how the command ended,
    /// which the report no longer does. After an earlier error, that one stays, with its hint.
    pub(super) fn spoiled(self, failure: LocalFailure) -> Self {
        let error = match self.report.error {
            Some(first) if self.cause == Cause::LocalIo => {
                let message = format!("{}; {}", first.message, failure.message);
                WireError { message, ..first }
            }
            _ => {
                let hint = match self.report.outcome {
                    Outcome::NotStarted => format!("Nothing ran; {}.", failure.remedy),
                    _ => format!("{}{}; {}.", fate(&self.report), failure.loss, failure.remedy),
                };
                WireError::new(ErrorKind::LocalIo, failure.message).hint(hint)
            }
        };
        let report = Report {
            outcome: Outcome::Unknown,
            code: None,
            signal: None,
            error: Some(error),
            retry_safe: false,
            truncated: true,
            ..self.report
        };
        Self { report, cause: Cause::LocalIo }
    }
}

/// An error of output or input on this machine.
#[derive(Debug)]
pub(super) struct LocalFailure {
    /// The message: what failed, and where.
    pub(super) message: String,
    /// The rest of a sentence about the end of the command: what is lost. Empty if nothing is.
    pub(super) loss: &'static str,
    /// The remedy, as a clause.
    pub(super) remedy: &'static str,
}

/// Returns how a command ended, as the beginning of a sentence.
fn fate(report: &Report) -> String {
    match (report.outcome, report.code, report.signal) {
        (Outcome::Exited, Some(code), _) => format!("The command exited with status {code}"),
        // Such as after an error here, for which the client had the command killed.
        (Outcome::Signaled, _, Some(Signal::KILL)) => "The command was killed on the host".into(),
        (Outcome::Signaled, _, Some(signal)) => format!("The command was ended by {signal}"),
        (Outcome::TimedOut, ..) => "The command was ended at its time limit".into(),
        _ => "The end of the command is not known".into(),
    }
}

/// Returns the failure to write to `place`.
pub(super) fn unwritten(place: Place, error: &io::Error) -> LocalFailure {
    LocalFailure {
        message: format!("cannot write {}: {error}", place.name()),
        loss: ", and a part of its output is lost",
        remedy: "make room here, or write the output elsewhere",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(outcome: Outcome, code: Option<u8>, signal: Option<Signal>) -> Ended {
        let failure = WireError::new(ErrorKind::Lost, "a report has an error");
        let bare = Report::without_job("web1", outcome, failure);
        Ended::by_report(Report { code, signal, error: None, ..bare })
    }

    fn full(place: Place) -> LocalFailure {
        unwritten(place, &io::Error::from(io::ErrorKind::StorageFull))
    }

    #[test]
    fn output_that_is_lost_after_the_end_is_told_with_that_end() {
        for (outcome, code, signal, expected) in [
            (Outcome::Exited, Some(3), None, "The command exited with status 3, and a part"),
            (Outcome::Signaled, None, Some(Signal::KILL), "The command was killed on the host, "),
            (Outcome::Signaled, None, Some(Signal::TERM), "The command was ended by SIGTERM, and"),
            (Outcome::TimedOut, None, None, "The command was ended at its time limit, and"),
            (Outcome::Unknown, None, None, "The end of the command is not known, and"),
            (Outcome::NotStarted, None, None, "Nothing ran; make room here"),
        ] {
            let spoiled = ended(outcome, code, signal).spoiled(full(Place::Stdout));
            assert_eq!(spoiled.cause, Cause::LocalIo);
            let hint = spoiled.report.error.unwrap().hint.unwrap();
            assert!(hint.starts_with(expected), "{hint}");
        }
    }

    #[test]
    fn a_second_failure_leaves_the_end_that_the_first_told() {
        let spoiled = ended(Outcome::Exited, Some(3), None).spoiled(full(Place::Stdout));
        let error = spoiled.spoiled(full(Place::Stderr)).report.error.unwrap();
        assert!(error.hint.unwrap().starts_with("The command exited with status 3"));
        let both = ["standard output", "standard error"];
        assert!(both.iter().all(|place| error.message.contains(place)), "{}", error.message);
    }
}
