//! A line of the key log, version 1.

use rcmd_protocol::{
    digest::StreamDigest,
    frame::{Exit, StreamTotal},
    ids::{JobId, Key, RequestDigest},
    outcome::{ErrorKind, Outcome, WireError},
    signal::Signal,
};
use serde::{Deserialize, Serialize};

/// The record of a key.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) digest: RequestDigest,
    pub(super) job: JobId,
    /// The time of its use, in milliseconds since 1970.
    pub(super) at: u64,
    /// The exit of its command; if the outcome is `not_started`, nothing has run.
    pub(super) end: Option<Box<Exit>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    version: u8,
    user: String,
    key: String,
    digest: String,
    job: String,
    at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<End>,
}

/// The end of a command as the file has it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    outcome: String,
    code: Option<u8>,
    signal: Option<String>,
    kind: Option<String>,
    message: Option<String>,
    stdout_bytes: u64,
    stderr_bytes: u64,
    stdout_digest: Option<String>,
    stderr_digest: Option<String>,
    open: bool,
    started_at: Option<u64>,
    ended_at: u64,
    duration_ms: Option<u64>,
}

impl Line {
    pub(super) fn of(user: &str, key: Key, record: &Record) -> Self {
        Self {
            version: 1,
            user: user.to_owned(),
            key: key.to_string(),
            digest: record.digest.to_string(),
            job: record.job.to_string(),
            at: record.at,
            end: record.end.as_deref().map(End::of),
        }
    }

    /// Returns the line with its newline.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    pub(super) fn parse(line: &[u8]) -> Result<(String, Key, Record), String> {
        let line: Self = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        if line.version != 1 {
            return Err(format!("its version is {}", line.version));
        }
        let key = Key::from_hex(&line.key).ok_or("its key is invalid")?;
        let digest = RequestDigest::from_hex(&line.digest).ok_or("its digest is invalid")?;
        let job = JobId::parse(&line.job).ok_or("its job is invalid")?;
        let end = match line.end.map(|end| end.to_exit()) {
            None => None,
            Some(Some(exit)) => Some(Box::new(exit)),
            Some(None) => return Err("its end is invalid".to_owned()),
        };
        Ok((line.user, key, Record { digest, job, at: line.at, end }))
    }
}

impl End {
    fn of(exit: &Exit) -> Self {
        let (failure, stdout, stderr) = (exit.failure(), exit.stdout(), exit.stderr());
        Self {
            outcome: exit.outcome().to_string(),
            code: exit.code(),
            signal: exit.signal().map(|signal| signal.to_string()),
            kind: failure.map(|failure| failure.kind.to_string()),
            message: failure.map(|failure| failure.message.clone()),
            stdout_bytes: stdout.bytes,
            stderr_bytes: stderr.bytes,
            stdout_digest: stdout.digest.map(|digest| digest.to_string()),
            stderr_digest: stderr.digest.map(|digest| digest.to_string()),
            open: exit.open(),
            started_at: exit.started_at(),
            ended_at: exit.ended_at(),
            duration_ms: exit.duration_ms(),
        }
    }

    /// Returns the exit, or `None` if a value is invalid.
    fn to_exit(&self) -> Option<Exit> {
        let digest = |text: &Option<String>| match text {
            None => Some(None),
            Some(text) => StreamDigest::parse(text).map(Some),
        };
        let failure = match (&self.kind, &self.message) {
            (Some(kind), Some(message)) => {
                Some(WireError::new(ErrorKind::parse(kind)?, message.clone()))
            }
            _ => None,
        };
        let signal = match &self.signal {
            None => None,
            Some(name) => Some(Signal::parse(name)?),
        };
        let outcome = Outcome::parse(&self.outcome)?;
        let exit = Exit::new(outcome, self.code, signal, failure, self.ended_at).ok()?;
        let stdout = StreamTotal { bytes: self.stdout_bytes, digest: digest(&self.stdout_digest)? };
        let stderr = StreamTotal { bytes: self.stderr_bytes, digest: digest(&self.stderr_digest)? };
        Some(
            exit.with_output(stdout, stderr)
                .with_open(self.open)
                .with_times(self.started_at, self.duration_ms),
        )
    }
}
