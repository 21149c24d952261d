//! Results as lines have them: what `--json` and `--result` write, read back.

use jiff::Timestamp;
use rcmd_client::{ErrorKind, Outcome, Report, Signal, WireError};
use rcmd_protocol::ids::AuditHead;
use serde::Deserialize;

/// A result that was read back.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Saved")]
pub(super) struct ReadBack(pub(super) Report);

/// The members of a result. A member that a later version adds is ignored.
#[derive(Debug, Deserialize)]
struct Saved {
    host: String,
    job: Option<String>,
    outcome: String,
    code: Option<u8>,
    signal: Option<String>,
    error: Option<SavedError>,
    #[serde(default)]
    retry_safe: bool,
    #[serde(default)]
    stdout_bytes: u64,
    #[serde(default)]
    stderr_bytes: u64,
    stdout_digest: Option<String>,
    stderr_digest: Option<String>,
    #[serde(default)]
    output_open: bool,
    #[serde(default)]
    truncated: bool,
    started_at: Option<String>,
    ended_at: Option<String>,
    duration_ms: Option<u64>,
    audit: Option<String>,
}

#[derive(Debug, Deserialize)]
struct SavedError {
    kind: String,
    message: String,
    hint: Option<String>,
    retry_after_ms: Option<u64>,
}

impl TryFrom<Saved> for ReadBack {
    type Error = &'static str;

    fn try_from(saved: Saved) -> Result<Self, &'static str> {
        let signal = saved.signal.map(|name| Signal::parse(&name).ok_or("signal is no signal"));
        let error = saved.error.map(|error| {
            let kind = ErrorKind::parse(&error.kind).ok_or("kind is no kind of error")?;
            let mut failure = WireError::new(kind, error.message);
            if let Some(hint) = error.hint {
                failure = failure.hint(hint);
            }
            failure.retry_after_ms = error.retry_after_ms;
            Ok::<_, &'static str>(failure)
        });
        let audit = saved.audit.map(|head| AuditHead::parse(&head).ok_or("audit is no head"));
        Ok(Self(Report {
            host: saved.host,
            job: saved.job,
            outcome: Outcome::parse(&saved.outcome).ok_or("outcome is no outcome")?,
            code: saved.code,
            signal: signal.transpose()?,
            error: error.transpose()?,
            retry_safe: saved.retry_safe,
            stdout_bytes: saved.stdout_bytes,
            stderr_bytes: saved.stderr_bytes,
            stdout_digest: saved.stdout_digest,
            stderr_digest: saved.stderr_digest,
            output_open: saved.output_open,
            truncated: saved.truncated,
            started_at: saved.started_at.map(|at| milliseconds(&at)).transpose()?,
            ended_at: saved.ended_at.map(|at| milliseconds(&at)).transpose()?,
            duration_ms: saved.duration_ms,
            audit: audit.transpose()?.map(Box::new),
        }))
    }
}

/// Returns the milliseconds since 1970 at a time of RFC 3339.
fn milliseconds(time: &str) -> Result<u64, &'static str> {
    let time = time.parse::<Timestamp>().ok();
    let ms = time.and_then(|time| u64::try_from(time.as_millisecond()).ok());
    ms.ok_or("started_at or ended_at is no time since 1970")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a result and reads it back.
    fn through(report: &Report) -> Result<Report, String> {
        let text = serde_json::to_string(report).unwrap();
        serde_json::from_str(&text).map(|ReadBack(report)| report).map_err(|e| e.to_string())
    }

    #[test]
    fn every_result_reads_back_as_itself() {
        for &outcome in Outcome::ALL {
            for &kind in ErrorKind::ALL {
                let failure = WireError::new(kind, "m\u{1b}\n").hint("h").retry_after_ms(7);
                let mut report = Report::without_job("zo\u{eb}", outcome, failure);
                assert_eq!(through(&report).as_ref(), Ok(&report));
                report.error = None;
                report.job = Some("0123456789abcdef".to_owned());
                report.signal = Signal::from_number(40);
                (report.code, report.duration_ms) = (Some(255), Some(u64::MAX));
                (report.stdout_bytes, report.truncated) = (9, true);
                (report.started_at, report.ended_at) = (Some(0), Some(1_700_000_000_007));
                report.stdout_digest = Some("sha256:00".to_owned());
                let head = AuditHead::parse(&format!("7:{}", "ab".repeat(32)));
                report.audit = head.map(Box::new);
                assert_eq!(through(&report).as_ref(), Ok(&report));
            }
        }
    }

    #[test]
    fn what_is_no_result_is_refused_by_name() {
        let report = Report::without_job(
            "web1",
            Outcome::NotStarted,
            WireError::new(ErrorKind::Busy, "full"),
        );
        let text = serde_json::to_string(&report).unwrap();
        for (from, to, says) in [
            ("not_started", "sleeping", "outcome is no outcome"),
            ("\"busy\"", "\"Busy!\"", "kind is no kind"),
            ("\"signal\":null", "\"signal\":\"SIGX\"", "signal is no signal"),
            ("\"audit\":null", "\"audit\":\"7\"", "audit is no head"),
            ("\"code\":null", "\"code\":256", "256"),
            ("\"ended_at\":null", "\"ended_at\":\"noon\"", "is no time"),
        ] {
            let read = serde_json::from_str::<ReadBack>(&text.replace(from, to));
            let told = read.unwrap_err().to_string();
            assert!(told.contains(says), "{told}");
        }
        let more = text.replace("{\"host\"", "{\"later\":1,\"host\"");
        assert!(serde_json::from_str::<ReadBack>(&more).is_ok());
    }
}
