//! How a transfer with one host ended: what the engine knows of the files, and the host of the job.

use std::io;

use rcmd_client::{ErrorKind, Outcome, Report, WireError};
use rcmd_transfer::{Failure, FailureKind, Summary, TransferError, Withheld};

use crate::session::not_started;
use crate::status;

/// How the engine ended.
#[derive(Debug)]
pub(super) struct EngineEnd {
    pub(super) transfer: Result<Summary, TransferError>,
    /// The error of standard output, where that is the destination.
    pub(super) output: Option<io::Error>,
}

/// The end of a transfer with one host.
#[derive(Debug)]
pub(super) struct HostEnd {
    /// The end of the job.
    pub(super) report: Report,
    /// What both ends agree on, if they came that far.
    pub(super) summary: Option<Summary>,
    /// Why it did not come that far, or what else went wrong.
    pub(super) failure: Option<WireError>,
    /// It failed on this machine.
    pub(super) is_here: bool,
    /// The exit status.
    pub(super) status: u8,
}

/// What to type where the source has no file.
pub(super) const MAY_BE_EMPTY: &str =
    "Is its disk mounted? If all of it is to go, --max-delete N permits N entries.";

/// What to do after an end that is not known: a transfer does nothing that may not be done again.
const AGAIN: &str = "Run it again: it goes on where it stopped.";

/// The exit status if a file failed.
pub(super) const FAILED: u8 = 1;

impl HostEnd {
    /// Returns the end of a transfer that did not reach the host.
    pub(super) fn unreached(host: &str, failure: impl Into<WireError>) -> Self {
        let failure: WireError = failure.into();
        Self {
            report: not_started(host, failure.clone()),
            summary: None,
            is_here: false,
            status: not_started_status(&failure),
            failure: Some(failure),
        }
    }

    /// Returns the end of a transfer that began. `said` is what the host's program wrote for people.
    pub(super) fn of(report: Report, engine: Option<EngineEnd>, said: &str) -> Self {
        let (transfer, output) = match engine {
            Some(EngineEnd { transfer, output }) => (Some(transfer), output),
            None => (None, None),
        };
        let mut report = report;
        if report.outcome == Outcome::Unknown
            && let Some(error) = &mut report.error
        {
            // That of a command sends people to look for what it did.
            error.hint = Some(AGAIN.to_owned());
        }
        let is_here = matches!(&transfer, Some(Err(TransferError::Local(_))));
        let (status, summary, failure) = judge(&report, transfer, said);
        let (status, failure) = match output {
            Some(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                (status::READER_GONE, failure)
            }
            Some(error) => (status::LOCAL_IO, Some(unwritten(&error))),
            None => (status, failure),
        };
        Self { report, summary, failure, is_here, status }
    }

    /// Adds to the hint the option with which it is run again if it may have made its destination: the next copy
    /// would go into that.
    pub(super) fn add_landing(&mut self) {
        if let Some(failure) = &mut self.failure
            && let Some(hint) = &mut failure.hint
            && hint.contains("Run it again")
        {
            hint.push_str(
                " If DST was not there before, add -T: it is now, and the copy would go into it.",
            );
        }
    }

    /// Records that the user ended the transfer, whatever both ends made of that. Once the host's part is known to have
    /// ended, nothing of it is unknown.
    pub(super) fn interrupt(&mut self) {
        if self.status == status::UNKNOWN && self.report.outcome != Outcome::Unknown {
            self.status = FAILED;
        }
        if self.status != 0 && self.summary.is_none() {
            let message = "the transfer was interrupted; what is complete stays";
            let failure = WireError::new(ErrorKind::Lost, message);
            self.failure = Some(failure.hint("Run it again to go on."));
        }
    }
}

fn judge(
    report: &Report,
    transfer: Option<Result<Summary, TransferError>>,
    said: &str,
) -> (u8, Option<Summary>, Option<WireError>) {
    match (report.outcome, transfer) {
        // This end could not begin, whatever the host made of that.
        (_, Some(Err(TransferError::Local(failure)))) => {
            (unmade_status(&failure), None, Some(wire(&failure)))
        }
        (Outcome::NotStarted, _) => {
            let failure = report
                .error
                .clone()
                .unwrap_or_else(|| WireError::new(ErrorKind::Lost, "the host says no reason"));
            (not_started_status(&failure), None, Some(failure))
        }
        (Outcome::TimedOut, transfer) => {
            let failure = WireError::new(
                ErrorKind::Lost,
                "the transfer was ended at the time limit of --timeout",
            )
            .hint("What was transferred stays. Run it again to go on, with a longer --timeout.");
            (status::TIMED_OUT, transfer.and_then(Result::ok), Some(failure))
        }
        (Outcome::Exited, Some(Ok(summary))) if matches!(report.code, Some(0 | 1)) => {
            let (status, failure) = of_summary(&summary);
            (status, Some(summary), failure)
        }
        (Outcome::Exited, Some(Err(TransferError::Peer(failure)))) => {
            (unmade_status(&failure), None, Some(explained(of_the_host(&failure), said)))
        }
        (Outcome::Exited, transfer) => {
            let (summary, failure) = match transfer {
                Some(Ok(summary)) => {
                    let code = report.code.unwrap_or_default();
                    let message =
                        format!("the host's part of the transfer ended with status {code}");
                    (Some(summary), WireError::new(ErrorKind::Protocol, message))
                }
                Some(Err(error)) => (None, broken(&error)),
                None => (None, WireError::new(ErrorKind::LocalIo, "the transfer ended early here")),
            };
            (status::UNKNOWN, summary, Some(explained(failure, said)))
        }
        (_, transfer) => {
            let failure = report.error.clone().unwrap_or_else(|| {
                let message = match report.signal {
                    Some(signal) => {
                        format!("the host's part of the transfer was ended by {signal}")
                    }
                    None => "the end of the transfer is not known".to_owned(),
                };
                WireError::new(ErrorKind::Lost, message)
            });
            let failure = failure.hint(AGAIN);
            (status::UNKNOWN, transfer.and_then(Result::ok), Some(explained(failure, said)))
        }
    }
}

/// Returns how a transfer ended of which both ends gave the same account.
fn of_summary(summary: &Summary) -> (u8, Option<WireError>) {
    let counts = &summary.counts;
    let did_nothing = counts.sent == 0 && counts.made == 0 && counts.adjusted == 0;
    match summary.withheld {
        // Another failure than this one would have withheld it before.
        Some(Withheld::EmptySource) if did_nothing => {
            let message = "the source has no file, so that nothing was deleted";
            let failure = WireError::new(ErrorKind::Usage, message);
            (status::NOT_STARTED, Some(failure.hint(MAY_BE_EMPTY)))
        }
        _ if summary.is_complete() => (0, None),
        _ => (FAILED, None),
    }
}

/// Returns the exit status of a transfer that the host did not begin: 1 if what was named is at fault, else 125.
pub(super) fn not_started_status(failure: &WireError) -> u8 {
    if is_of_a_file(failure) { FAILED } else { status::NOT_STARTED }
}

/// Returns the exit status of a transfer that an end could not begin or go on with: 125 if no file was looked at, as when
/// the owner of everything is not known there.
fn unmade_status(failure: &Failure) -> u8 {
    if failure.kind == FailureKind::NoSuchUser { status::NOT_STARTED } else { FAILED }
}

/// Returns whether a failure is that of a path, and not of a host or a request.
pub(super) fn is_of_a_file(failure: &WireError) -> bool {
    matches!(
        failure.kind,
        ErrorKind::NoSuchFile
            | ErrorKind::Permission
            | ErrorKind::Exists
            | ErrorKind::NoSpace
            | ErrorKind::Changed
            | ErrorKind::UnsafePath
    )
}

/// Returns the failure of a whole transfer on this machine as an error of a command.
pub(super) fn wire(failure: &Failure) -> WireError {
    WireError::new(kind_of(failure.kind, ErrorKind::LocalIo), failure.message.clone())
}

/// Returns the failure for which the host gave a whole transfer up as an error of a command.
fn of_the_host(failure: &Failure) -> WireError {
    WireError::new(kind_of(failure.kind, ErrorKind::Resources), failure.message.clone())
}

/// Returns the kind of a failure in errors of commands. `other` is for what the system there or here said else.
fn kind_of(kind: FailureKind, other: ErrorKind) -> ErrorKind {
    match kind {
        FailureKind::NoSuchFile => ErrorKind::NoSuchFile,
        FailureKind::Permission => ErrorKind::Permission,
        FailureKind::Exists | FailureKind::Special => ErrorKind::Exists,
        FailureKind::NoSpace => ErrorKind::NoSpace,
        FailureKind::Changed | FailureKind::Vanished => ErrorKind::Changed,
        FailureKind::UnsafePath => ErrorKind::UnsafePath,
        FailureKind::TooBig => ErrorKind::TooBig,
        FailureKind::Denied => ErrorKind::Denied,
        FailureKind::Corrupt => ErrorKind::Corrupt,
        FailureKind::NoSuchUser => ErrorKind::NoSuchUser,
        _ => other,
    }
}

fn broken(error: &TransferError) -> WireError {
    let kind = match error {
        TransferError::Lost(_) => ErrorKind::Lost,
        TransferError::Differs(_) => ErrorKind::Corrupt,
        // The host ended before this end could.
        TransferError::Cancelled => ErrorKind::Lost,
        _ => ErrorKind::Protocol,
    };
    WireError::new(kind, error.to_string()).hint(AGAIN)
}

/// Adds what the host's program has said.
pub(super) fn explained(failure: WireError, said: &str) -> WireError {
    let said = said.trim();
    if said.is_empty() {
        return failure;
    }
    let lines = said.lines().map(|line| line.strip_prefix("rcmd: ").unwrap_or(line));
    let lines = lines.filter(|line| !failure.message.contains(line)).collect::<Vec<_>>().join("; ");
    if lines.is_empty() {
        return failure;
    }
    WireError {
        message: WireError::new(failure.kind, format!("{}: {lines}", failure.message)).message,
        ..failure
    }
}

fn unwritten(error: &io::Error) -> WireError {
    WireError::new(ErrorKind::LocalIo, format!("cannot write standard output: {error}"))
        .hint("The file was fetched; make room, or name a file in place of `-`.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcome: Outcome, code: Option<u8>, error: Option<ErrorKind>) -> Report {
        let bare = Report::without_job("web1", outcome, WireError::new(ErrorKind::Lost, ""));
        Report { code, error: error.map(|kind| WireError::new(kind, "no")), ..bare }
    }

    fn failure(kind: FailureKind) -> Failure {
        Failure { kind, message: "it is so".to_owned() }
    }

    fn status(report: Report, transfer: Option<Result<Summary, TransferError>>) -> u8 {
        let engine = transfer.map(|transfer| EngineEnd { transfer, output: None });
        HostEnd::of(report, engine, "").status
    }

    fn lost() -> TransferError {
        TransferError::Lost(io::ErrorKind::UnexpectedEof.into())
    }

    #[test]
    fn a_host_that_did_not_begin_gives_125_unless_what_was_named_is_at_fault() {
        let refused = |kind| report(Outcome::NotStarted, None, Some(kind));
        for kind in [ErrorKind::Denied, ErrorKind::Busy, ErrorKind::Unreachable, ErrorKind::TooBig]
        {
            assert_eq!(status(refused(kind), Some(Err(lost()))), 125, "{kind}");
        }
        for kind in [ErrorKind::NoSuchFile, ErrorKind::Permission, ErrorKind::Exists] {
            assert_eq!(status(refused(kind), Some(Err(lost()))), 1, "{kind}");
        }
        assert_eq!(HostEnd::unreached("web1", WireError::new(ErrorKind::Tls, "")).status, 125);
    }

    #[test]
    fn what_fails_here_is_told_whatever_the_host_says() {
        let missing = || TransferError::Local(failure(FailureKind::NoSuchFile));
        for outcome in [Outcome::Exited, Outcome::Unknown, Outcome::NotStarted, Outcome::Signaled] {
            let end = HostEnd::of(
                report(outcome, None, None),
                Some(EngineEnd { transfer: Err(missing()), output: None }),
                "",
            );
            assert_eq!((end.status, end.failure.unwrap().kind), (1, ErrorKind::NoSuchFile));
        }
    }

    #[test]
    fn what_broke_is_unknown_and_what_the_host_gave_up_is_failed() {
        let gave_up = TransferError::Peer(failure(FailureKind::NoSpace));
        assert_eq!(status(report(Outcome::Exited, Some(2), None), Some(Err(gave_up))), 1);
        assert_eq!(status(report(Outcome::Exited, Some(2), None), Some(Err(lost()))), 255);
        assert_eq!(status(report(Outcome::Exited, Some(0), None), Some(Err(lost()))), 255);
        assert_eq!(status(report(Outcome::Exited, Some(0), None), None), 255);
        let unknown = report(Outcome::Unknown, None, Some(ErrorKind::Lost));
        assert_eq!(status(unknown, Some(Err(lost()))), 255);
        assert_eq!(status(report(Outcome::TimedOut, None, None), Some(Err(lost()))), 124);
    }

    #[test]
    fn an_error_of_the_hosts_system_is_none_of_this_machine() {
        let kind = |error, code| {
            let end = EngineEnd { transfer: Err(error), output: None };
            HostEnd::of(report(Outcome::Exited, Some(code), None), Some(end), "")
                .failure
                .unwrap()
                .kind
        };
        let io = || failure(FailureKind::Io);
        assert_eq!(kind(TransferError::Peer(io()), 2), ErrorKind::Resources);
        assert_eq!(kind(TransferError::Local(io()), 2), ErrorKind::LocalIo);
        assert_eq!(kind(TransferError::Cancelled, 2), ErrorKind::Lost);
    }

    #[test]
    fn what_is_not_known_is_run_again_and_not_looked_for() {
        let lost_report = || {
            let mut report = report(Outcome::Unknown, None, Some(ErrorKind::Lost));
            report.error = report.error.map(|error| error.hint("Look on the host."));
            report
        };
        let end = EngineEnd { transfer: Err(lost()), output: None };
        let mut end = HostEnd::of(lost_report(), Some(end), "");
        assert_eq!(end.failure.as_ref().unwrap().hint.as_deref(), Some(AGAIN));
        assert_eq!(end.report.error.as_ref().unwrap().hint.as_deref(), Some(AGAIN));
        end.interrupt();
        assert!(end.failure.as_ref().unwrap().message.contains("was interrupted"));
        assert_eq!(end.status, status::UNKNOWN);
        end.add_landing();
        assert!(end.failure.unwrap().hint.unwrap().contains("to go on. If DST was not there"));
    }

    #[test]
    fn what_was_interrupted_and_has_ended_there_is_not_unknown() {
        for (outcome, code) in [(Outcome::Exited, Some(2)), (Outcome::Signaled, None)] {
            let end = EngineEnd { transfer: Err(TransferError::Cancelled), output: None };
            let mut end = HostEnd::of(report(outcome, code, None), Some(end), "");
            assert_eq!(end.status, status::UNKNOWN);
            end.interrupt();
            assert_eq!(end.status, FAILED);
        }
    }

    #[test]
    fn what_the_host_said_is_told_with_it() {
        let end = EngineEnd { transfer: Err(lost()), output: None };
        let end =
            HostEnd::of(report(Outcome::Exited, Some(2), None), Some(end), "no room\nat all\n");
        assert!(end.failure.unwrap().message.ends_with(": no room; at all"));
        let end = EngineEnd { transfer: Err(lost()), output: None };
        let twice = lost().to_string();
        let end = HostEnd::of(report(Outcome::Exited, Some(2), None), Some(end), &twice);
        assert_eq!(end.failure.unwrap().message, twice, "nothing is said twice");
    }

    #[test]
    fn standard_output_that_is_gone_or_full_decides() {
        let ended = |kind: io::ErrorKind| {
            let end = EngineEnd { transfer: Err(lost()), output: Some(kind.into()) };
            HostEnd::of(report(Outcome::Exited, Some(0), None), Some(end), "").status
        };
        assert_eq!(ended(io::ErrorKind::BrokenPipe), 141);
        assert_eq!(ended(io::ErrorKind::StorageFull), 255);
    }
}
