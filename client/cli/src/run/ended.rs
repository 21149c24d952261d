//! The end of a run, and its exit status.

use std::io;

use rcmd_client::{ErrorKind, Outcome, Report, Signal, WireError};

use crate::output::sink::Place;
use crate::settings::Statuses;
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

    /// Returns the exit status that the caller expects.
    pub(super) fn status(&self, statuses: Statuses) -> u8 {
        match (self.cause, statuses) {
            (Cause::ReaderGone, _) => status::READER_GONE,
            (Cause::Report, Statuses::Own) => self.report.exit_status(),
            (Cause::LocalIo, Statuses::Own) => status::LOCAL_IO,
            (Cause::GivenUp(signal), Statuses::Own) => signal.exit_status(),
            (Cause::Report, _) => as_ssh(&self.report, statuses),
            (Cause::LocalIo | Cause::GivenUp(_), _) => status::SSH_FAILED,
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

/// Returns the exit status for a caller of ssh. A signal that ended the command gives 128 + N, as from a shell there,
/// and not 255, as from OpenSSH: callers take that for a lost connection, and run the command again.
fn as_ssh(report: &Report, statuses: Statuses) -> u8 {
    match (report.outcome, &report.error) {
        (Outcome::Exited, _) | (Outcome::Signaled, None) => report.exit_status(),
        (Outcome::NotStarted, Some(error)) if statuses == Statuses::Ssh => {
            match error.kind.not_started_status() {
                // What the shell of the host would say.
                missing @ (126 | 127) => missing,
                _ => status::SSH_FAILED,
            }
        }
        _ => status::SSH_FAILED,
    }
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
    fn callers_of_ssh_get_255_for_all_that_is_not_of_the_command() {
        let of = |ended: &Ended| ended.status(Statuses::Ssh);
        let failed = |outcome, kind| {
            Ended::by_report(Report::without_job("web1", outcome, WireError::new(kind, "")))
        };
        assert_eq!(of(&ended(Outcome::Exited, Some(3), None)), 3);
        assert_eq!(of(&ended(Outcome::Exited, Some(255), None)), 255);
        assert_eq!(of(&ended(Outcome::Signaled, None, Some(Signal::KILL))), 137);
        assert_eq!(of(&ended(Outcome::TimedOut, None, None)), 255);
        for kind in [ErrorKind::Unreachable, ErrorKind::Denied, ErrorKind::Busy, ErrorKind::Usage] {
            assert_eq!(of(&failed(Outcome::NotStarted, kind)), 255, "{kind:?}");
        }
        assert_eq!(of(&failed(Outcome::NotStarted, ErrorKind::NotFound)), 127);
        assert_eq!(of(&failed(Outcome::NotStarted, ErrorKind::NotExecutable)), 126);
        assert_eq!(of(&failed(Outcome::Unknown, ErrorKind::NotFound)), 255);
        let stopped = Report {
            signal: Some(Signal::TERM),
            ..failed(Outcome::Signaled, ErrorKind::ServerStopped).report
        };
        assert_eq!(of(&Ended::by_report(stopped)), 255);
        let subsystem = failed(Outcome::NotStarted, ErrorKind::NotFound);
        assert_eq!(subsystem.status(Statuses::Subsystem), 255);
        let given_up =
            Ended { cause: Cause::GivenUp(Signal::INT), ..ended(Outcome::Unknown, None, None) };
        assert_eq!((of(&given_up), given_up.status(Statuses::Own)), (255, 130));
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
