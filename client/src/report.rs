//! The end of a command.

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use rcmd_protocol::{
    ids::AuditHead,
    outcome::{ErrorKind, Outcome, WireError},
    signal::Signal,
};

/// The end of a command. Its serialized form is the result object of `--json` and `--result`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    /// The host, as the caller named it.
    pub host: String,
    /// The name of the job on the host, if it got one.
    pub job: Option<String>,
    /// The outcome.
    pub outcome: Outcome,
    /// The exit status of the command.
    pub code: Option<u8>,
    /// The signal that ended the command.
    pub signal: Option<Signal>,
    /// The error of rcmd, if there was one. A command that fails by itself is not such an error.
    pub error: Option<WireError>,
    /// True if the same command can be sent again without the risk that it runs twice.
    pub retry_safe: bool,
    /// The number of bytes of standard output: all after a verified end, else those that arrived.
    pub stdout_bytes: u64,
    /// The number of bytes of standard error, counted likewise.
    pub stderr_bytes: u64,
    /// The digest of all of standard output, as `blake3:…` or `sha256:…`, if it ended.
    pub stdout_digest: Option<String>,
    /// The digest of all of standard error, as `blake3:…` or `sha256:…`, if it ended.
    pub stderr_digest: Option<String>,
    /// True if a process still held stdout or stderr open when the command had ended.
    pub output_open: bool,
    /// True if there was output that this client did not get.
    pub truncated: bool,
    /// The time at which the process started, in milliseconds since 1970 by the host's clock; RFC 3339 when
    /// serialized.
    #[serde(serialize_with = "rfc3339")]
    pub started_at: Option<u64>,
    /// The time at which the process ended, in the same form.
    #[serde(serialize_with = "rfc3339")]
    pub ended_at: Option<u64>,
    /// The time that the process ran, in milliseconds, by a monotonic clock.
    pub duration_ms: Option<u64>,
    /// The record of the end in the host's audit, as `SEQ:HASH` for `rcmd-server audit verify --head`.
    pub audit: Option<Box<AuditHead>>,
}

impl Report {
    /// Returns the report of a command of which only a failure is known. `outcome` is `not_started` or `unknown`.
    pub fn without_job(host: &str, outcome: Outcome, failure: WireError) -> Self {
        Self { error: Some(failure), ..Self::bare(host, outcome) }
    }

    /// Returns the report of a command that was killed, and whose host did not confirm its end within
    /// [`Child::LAST_WORD`](crate::Child::LAST_WORD): its end is unknown. `job` is its name on the
    /// host, if it had one.
    pub fn unconfirmed(host: &str, job: Option<String>) -> Self {
        let message = format!("{host} did not confirm that the command was ended");
        let failure = WireError::new(ErrorKind::Lost, message)
            .hint("Look on the host for what became of the command.");
        Self { job, ..Self::without_job(host, Outcome::Unknown, failure) }
    }

    /// Returns the report of a dry run whose command would be permitted: not started, without an error.
    pub(crate) fn permitted(host: &str) -> Self {
        Self::bare(host, Outcome::NotStarted)
    }

    fn bare(host: &str, outcome: Outcome) -> Self {
        Self {
            host: host.to_owned(),
            job: None,
            outcome,
            code: None,
            signal: None,
            error: None,
            retry_safe: outcome == Outcome::NotStarted,
            stdout_bytes: 0,
            stderr_bytes: 0,
            stdout_digest: None,
            stderr_digest: None,
            output_open: false,
            truncated: false,
            started_at: None,
            ended_at: None,
            duration_ms: None,
            audit: None,
        }
    }

    /// Returns whether the command ran and exited with status 0.
    pub fn has_succeeded(&self) -> bool {
        self.outcome == Outcome::Exited && self.code == Some(0)
    }

    /// Returns the exit status of a client that ran this command: its own status; 128 + N for signal N; 124 for a
    /// time limit; 125, 126 or 127 if nothing ran; 255 if the end is unknown.
    pub fn exit_status(&self) -> u8 {
        match (self.outcome, self.code, self.signal, &self.error) {
            (Outcome::Exited, Some(code), ..) => code,
            (Outcome::Signaled, _, Some(signal), _) => signal.exit_status(),
            (Outcome::TimedOut, ..) => 124,
            (Outcome::NotStarted, .., Some(error)) => error.kind.not_started_status(),
            (Outcome::NotStarted, ..) => 125,
            _ => 255,
        }
    }
}

fn rfc3339<S: Serializer>(ms: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    // No clock of a host shows a time after the year 9999.
    let time = ms.and_then(|ms| Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok());
    match time {
        Some(time) => serializer.collect_str(&format_args!("{time:.3}")),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcome: Outcome) -> Report {
        Report {
            host: "web1".into(),
            job: Some("0123456789abcdef".into()),
            outcome,
            code: None,
            signal: None,
            error: None,
            retry_safe: false,
            stdout_bytes: 3,
            stderr_bytes: 0,
            stdout_digest: None,
            stderr_digest: None,
            output_open: false,
            truncated: false,
            started_at: Some(1_700_000_000_007),
            ended_at: None,
            duration_ms: Some(12),
            audit: AuditHead::parse(&format!("7:{}", "ab".repeat(32))).map(Box::new),
        }
    }

    #[test]
    fn exit_statuses_follow_the_table() {
        let failed = |outcome, kind| {
            Report { error: Some(WireError::new(kind, "")), ..report(outcome) }.exit_status()
        };
        assert_eq!(Report { code: Some(7), ..report(Outcome::Exited) }.exit_status(), 7);
        let killed = Report { signal: Some(Signal::KILL), ..report(Outcome::Signaled) };
        assert_eq!(killed.exit_status(), 137);
        assert_eq!(Report { code: Some(0), ..report(Outcome::TimedOut) }.exit_status(), 124);
        assert_eq!(failed(Outcome::NotStarted, ErrorKind::Unreachable), 125);
        assert_eq!(failed(Outcome::NotStarted, ErrorKind::NotExecutable), 126);
        assert_eq!(failed(Outcome::NotStarted, ErrorKind::NotFound), 127);
        assert_eq!(failed(Outcome::Unknown, ErrorKind::NotFound), 255);
        assert_eq!(report(Outcome::Exited).exit_status(), 255, "an end without a code is no zero");
    }

    #[test]
    fn it_serializes_as_the_result_object() {
        let error = WireError::new(ErrorKind::Lost, "gone").hint("Try again.");
        let report =
            Report { signal: Some(Signal::KILL), error: Some(error), ..report(Outcome::Unknown) };
        let expected = serde_json::json!({
            "host": "web1", "job": "0123456789abcdef", "outcome": "unknown", "code": null,
            "signal": "SIGKILL",
            "error": {"kind": "lost", "message": "gone", "hint": "Try again."},
            "retry_safe": false, "stdout_bytes": 3, "stderr_bytes": 0, "stdout_digest": null,
            "stderr_digest": null, "output_open": false, "truncated": false,
            "started_at": "2023-11-14T22:13:20.007Z", "ended_at": null, "duration_ms": 12,
            "audit": format!("7:{}", "ab".repeat(32)),
        });
        assert_eq!(serde_json::to_value(report).unwrap(), expected);
    }
}
