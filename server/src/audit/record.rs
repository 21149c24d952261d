//! The records of the audit: one JSON object a line, version 1.

use serde::{Deserialize, Serialize};

use super::text::Text;

/// A record, as a line without its hash.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Record<'a> {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// When it was written, RFC 3339 in UTC.
    pub time: &'a str,
    /// The event.
    #[serde(flatten)]
    pub event: &'a Event,
}

/// The members that a line of any version has.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Stub {
    /// Its number.
    pub seq: u64,
    /// When it was written.
    pub time: String,
}

impl Stub {
    /// Reads the members at the beginning of a line, of which the rest need not be there.
    pub(super) fn at(start: &[u8]) -> Option<Self> {
        let rest = start.strip_prefix(b"{\"seq\":")?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (seq, rest) = rest.split_at_checked(digits)?;
        let rest = rest.strip_prefix(b",\"time\":\"")?;
        let (time, _) = rest.split_at_checked(rest.iter().position(|&byte| byte == b'"')?)?;
        let text = |bytes| std::str::from_utf8(bytes).ok();
        Some(Self { seq: text(seq)?.parse().ok()?, time: text(time)?.to_owned() })
    }
}

/// An event. The name `transfer` is reserved.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A file begins; always and only its first line.
    Open {
        /// Why.
        reason: Opening,
        /// The file before; `None` in the first file of all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous: Option<Previous>,
        /// Commands without an end.
        running: Vec<String>,
    },
    /// The server started or stopped.
    Server {
        /// Whether it started or stopped.
        state: Lifecycle,
        /// The program's version.
        version: String,
        /// Its pid.
        pid: u32,
    },
    /// A peer asked for a command; a start, a denial or a refusal of the same job follows.
    Attempt(Box<Attempt>),
    /// A command is about to be started. Exactly one end of the same job follows.
    Start {
        /// The job.
        job: String,
        /// Who asked.
        peer: String,
        /// Whom it runs as.
        user: Text,
        /// The program's file.
        program: Text,
        /// The folder it starts in.
        cwd: Text,
        /// The rules that permit it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        rules: Vec<String>,
        /// The whole request, if its attempt holds the beginning alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<Box<Asked>>,
    },
    /// A command has ended.
    End(Box<EndRecord>),
    /// The policy does not permit it. Nothing ran.
    Denial {
        /// The job that there would have been; none when a job was to be taken up again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        job: Option<String>,
        /// Who asked.
        peer: String,
        /// What kind of reason it is, as the policy names it.
        why: String,
        /// The rules that decided.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        rules: Vec<String>,
        /// Why, as the client was told.
        reason: String,
    },
    /// Nothing ran, for another reason. There is no attempt before it when the request was
    /// malformed.
    Refusal {
        /// The job that there would have been.
        job: String,
        /// Who asked.
        peer: String,
        /// The kind of error.
        kind: String,
        /// What the client was told.
        message: String,
    },
    /// A peer asked whether a command would be permitted. Nothing ran.
    Ask {
        /// Who asked.
        peer: String,
        /// Where from.
        address: String,
        /// `exec` or `shell`.
        mode: String,
        /// The beginning of what it asked about.
        #[serde(flatten)]
        asked: Asked,
        /// Bytes of all of it.
        size: u64,
        /// The request digest.
        digest: String,
        /// The kind of error, if it would not run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kind: Option<String>,
    },
    /// Starts of a peer were turned away, too many to be recorded one by one. Nothing ran.
    TurnedAway {
        /// Whose.
        peer: String,
        /// How many since the last such record.
        count: u64,
    },
    /// Certificates or rules were read again.
    Reload {
        /// What was read.
        what: String,
        /// Why the old ones stay in use, if they do.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<String>,
    },
    /// A connection was ended, or its commands, because its peer may not have it any more.
    Cut {
        /// Whose.
        peer: String,
        /// Where from.
        address: String,
        /// Why.
        reason: String,
    },
    /// The host's own certificate was renewed, or could not be. Its first one is in the authority's
    /// journal alone: there was no server yet.
    #[serde(rename = "enrolment")]
    Enrollment {
        /// What was done.
        what: String,
        /// Why it failed, if it did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<String>,
    },
    /// The host's key signs all lines before this one.
    Checkpoint {
        /// The public key, base64.
        key: String,
        /// The signature's scheme, as TLS numbers it.
        scheme: u16,
        /// The signature over number and hash of the line before, base64.
        signature: String,
    },
    /// A file was deleted because it was older than the configured age.
    Removed {
        /// The file.
        file: String,
        /// Its last record.
        last_seq: u64,
        /// The hash of that.
        last_hash: String,
    },
    /// The log could not be written for a while. Nothing was started meanwhile.
    Gap {
        /// Number of records that were not written: attempts, starts and refusals that had no
        /// effect.
        missed: u64,
        /// Why.
        reason: String,
    },
}

/// The reason why a file begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Opening {
    /// A server started.
    Start,
    /// The file before had reached its size or age.
    Rotation,
    /// The file before could not be synced, so a power cut may lose its end.
    SyncFailed,
    /// The file before was removed or moved while it was written.
    Lost,
}

/// The end of the file before a file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Previous {
    /// Its name.
    pub file: String,
    /// Its last record.
    pub seq: u64,
    /// The hash of that.
    pub hash: String,
    /// What follows that record, if anything does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub torn: Option<Torn>,
}

/// Bytes after the last whole line of a file, as a kill or a power cut leaves them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Torn {
    /// Their number.
    pub bytes: u64,
    /// Their SHA-256.
    pub sha256: String,
}

/// Whether the server started or stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifecycle {
    /// The server accepts connections from now on.
    Started,
    /// No part of the server runs any more.
    Stopped,
}

/// What a peer asked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attempt {
    /// The job, should it be started.
    pub job: String,
    /// Who asks.
    pub peer: String,
    /// The peer's groups.
    pub groups: Vec<String>,
    /// Whether the peer used an emergency certificate, which no revocation list covers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub break_glass: bool,
    /// Where from.
    pub address: String,
    /// `exec` or `shell`.
    pub mode: String,
    /// What it asks for: all of it, or the beginning.
    #[serde(flatten)]
    pub asked: Asked,
    /// Bytes of the whole request, if this is the beginning of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The request digest: a reader who knows a redacted part can check it against this.
    pub digest: String,
}

/// The strings of a request.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// The program and its arguments, or the one shell line.
    pub args: Vec<Text>,
    /// `NAME=VALUE`, each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<Text>,
    /// The folder that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<Text>,
    /// Whom it was to run as, if that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Text>,
}

/// How a command ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EndRecord {
    /// The job.
    pub job: String,
    /// What became of it.
    pub outcome: String,
    /// Its status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u8>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// What went wrong beside the command itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The same in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Bytes of standard output.
    pub stdout_bytes: u64,
    /// Bytes of standard error.
    pub stderr_bytes: u64,
    /// How long it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
}

impl Event {
    /// The job that it is about.
    pub fn job(&self) -> Option<&str> {
        match self {
            Self::Attempt(attempt) => Some(&attempt.job),
            Self::End(end) => Some(&end.job),
            Self::Start { job, .. } | Self::Refusal { job, .. } => Some(job),
            Self::Denial { job, .. } => job.as_deref(),
            _ => None,
        }
    }

    /// Makes the end of a command of which nothing more is known.
    pub(super) fn lost(job: String, message: &str) -> Self {
        Self::without_process(job, "unknown", "lost", message)
    }

    /// Makes the end of a command of which no process was seen to end.
    pub(super) fn without_process(job: String, outcome: &str, kind: &str, message: &str) -> Self {
        Self::End(Box::new(EndRecord {
            job,
            outcome: outcome.to_owned(),
            code: None,
            signal: None,
            kind: Some(kind.to_owned()),
            message: Some(message.to_owned()),
            stdout_bytes: 0,
            stderr_bytes: 0,
            duration_ms: None,
        }))
    }
}
