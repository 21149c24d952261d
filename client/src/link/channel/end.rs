//! The report of a command, with or without an end from the server.

use rcmd_protocol::{
    error::Corrupt,
    frame::Exit,
    outcome::{ErrorKind, Outcome, WireError},
};

use super::{Channel, Next, state::StartSent};
use crate::{link::connection::Connection, report::Report};

impl Channel {
    pub(super) fn verified(&mut self, exit: &Exit) -> Next {
        let ran = !matches!(exit.outcome(), Outcome::NotStarted | Outcome::Unknown);
        let mut report = self.report(exit.outcome(), exit.failure().cloned());
        report.code = exit.code();
        report.signal = exit.signal();
        report.output_open |= exit.open();
        report.ended_at = Some(exit.ended_at());
        report.duration_ms = exit.duration_ms();
        report.audit = exit.audit().map(Box::new);
        if ran {
            let (stdout, stderr) = (exit.stdout(), exit.stderr());
            (report.stdout_bytes, report.stderr_bytes) = (stdout.bytes, stderr.bytes);
            report.stdout_digest = stdout.digest.map(|digest| digest.to_string());
            report.stderr_digest = stderr.digest.map(|digest| digest.to_string());
        }
        report.truncated = self.streams.stdout.lacks(report.stdout_bytes)
            || self.streams.stderr.lacks(report.stderr_bytes);
        self.publish(report)
    }

    pub(super) fn corrupt(&mut self, corrupt: &Corrupt, connection: &mut Connection) -> Next {
        self.abandon(connection);
        let message = format!("{corrupt} (from {})", self.host);
        let hint = "Don't use this output; run the command again.";
        self.end_without(WireError::new(ErrorKind::Corrupt, message).hint(hint))
    }

    /// Ends it without an end from the server: unknown, unless nothing of it can have left.
    pub(in crate::link) fn end_without(&mut self, failure: WireError) -> Next {
        if let Some(busy) = self.turned_away() {
            return self.conclude(Outcome::NotStarted, busy);
        }
        let outcome = match self.sent {
            StartSent::Never => Outcome::NotStarted,
            _ => Outcome::Unknown,
        };
        self.conclude(outcome, failure)
    }

    /// Ends it in this way.
    pub(in crate::link) fn conclude(&mut self, outcome: Outcome, failure: WireError) -> Next {
        let report = self.report(outcome, Some(failure));
        self.publish(report)
    }

    fn report(&self, outcome: Outcome, error: Option<WireError>) -> Report {
        let nothing = WireError::new(ErrorKind::Lost, "");
        let mut report = Report::without_job(&self.host, outcome, nothing);
        report.error = error;
        report.job = self.job.named().map(|job| job.id.to_string());
        // The caller's own key makes it safe to ask again how it went.
        report.retry_safe |= outcome == Outcome::Unknown && self.start.body().keep();
        report.stdout_bytes = self.streams.stdout.received();
        report.stderr_bytes = self.streams.stderr.received();
        report.output_open = self.streams.stdout.open || self.streams.stderr.open;
        report.started_at = self.job.started_at();
        report
    }

    fn publish(&mut self, report: Report) -> Next {
        self.streams.close();
        self.reporter.report(report);
        Next::Ended
    }
}
