//! The records of the audit, version 1: one JSON object on each line.

mod transfer;

use rcmd_protocol::outcome::{ErrorKind, Outcome};
use serde::{Deserialize, Serialize};

pub use self::transfer::{SaidRecord, TransferRecord};
use super::text::Text;

/// A record, as a line without its hash.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Record<'a> {
    /// The record's number, from 1, without gaps.
    pub seq: u64,
    /// The time when it was written, in RFC 3339 and UTC.
    pub time: &'a str,
    /// The event.
    #[serde(flatten)]
    pub event: &'a Event,
}

/// The members that a line of any version has.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Stub {
    /// The record's number.
    pub seq: u64,
    /// The time when it was written.
    pub time: String,
}

impl Stub {
    /// Reads the members at the beginning of a line, the rest of which may be missing.
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

/// An event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A new file begins; this is its first line and is nowhere else.
    Open {
        /// The reason for the new file.
        reason: Opening,
        /// The end of the file before; `None` in the very first file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous: Option<Previous>,
        /// The jobs whose commands have no end yet.
        running: Vec<String>,
    },
    /// The server started or stopped.
    Server {
        /// The state that the server has reached.
        state: Lifecycle,
        /// The program's version.
        version: String,
        /// The server's process ID.
        pid: u32,
    },
    /// A peer asked for a command; a start, a denial or a refusal of the same job follows.
    Attempt(Box<Attempt>),
    /// A command is about to be started. Exactly one end of the same job follows.
    Start {
        /// The job's ID.
        job: String,
        /// The peer that asked.
        peer: String,
        /// The account that it runs as.
        user: Text,
        /// The program's file.
        program: Text,
        /// The folder it starts in.
        cwd: Text,
        /// The rules that permit it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        rules: Vec<String>,
        /// The whole request, if its attempt has only the beginning.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<Box<Asked>>,
    },
    /// A command has ended.
    End(Box<EndRecord>),
    /// A transfer has ended; the end of the same job follows.
    Transfer(Box<TransferRecord>),
    /// The policy denies the request. Nothing ran.
    Denial {
        /// The ID of the job that would have been started; `None` if the peer wanted to attach to a
        /// job.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        job: Option<String>,
        /// The peer that asked.
        peer: String,
        /// The kind of reason, as the policy names it.
        why: String,
        /// The rules that decided.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        rules: Vec<String>,
        /// The reason that the client was sent.
        reason: String,
    },
    /// A refusal for another reason: nothing ran. If the request was malformed, no attempt is
    /// recorded before.
    Refusal {
        /// The ID of the job that would have been started.
        job: String,
        /// The peer that asked.
        peer: String,
        /// The kind of error.
        kind: String,
        /// The message that the client was sent.
        message: String,
    },
    /// A peer asked whether a command would be permitted: a dry run. Nothing ran.
    Ask {
        /// The peer that asked.
        peer: String,
        /// The address that it asked from.
        address: String,
        /// The mode: `exec`, `shell` or `transfer`.
        mode: String,
        /// The beginning of the request.
        #[serde(flatten)]
        asked: Asked,
        /// The size of the whole request in bytes.
        size: u64,
        /// The request digest.
        digest: String,
        /// The kind of error, if the command would not run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kind: Option<String>,
    },
    /// Starts of a peer were refused, too many to be recorded one by one. Nothing ran.
    TurnedAway {
        /// The peer.
        peer: String,
        /// The number of refused starts since the last such record.
        count: u64,
    },
    /// Certificates or rules were read again.
    Reload {
        /// The files that were read.
        what: String,
        /// The error because of which the old ones stay in use, if they do.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<String>,
    },
    /// A peer's connection or its commands were ended, because they are no longer permitted.
    Cut {
        /// The peer.
        peer: String,
        /// The address that it connected from.
        address: String,
        /// The reason.
        reason: String,
    },
    /// An operator of the host has a command ended; its end follows.
    Kill {
        /// The job's ID.
        job: String,
        /// The peer that asked for the command.
        peer: String,
        /// The operator's user ID on the host.
        uid: u32,
    },
    /// The host's own certificate was renewed, or could not be. Its first enrollment is recorded
    /// only in the authority's journal: there was no server yet.
    #[serde(rename = "enrolment")]
    Enrollment {
        /// The action.
        what: String,
        /// The error, if it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<String>,
    },
    /// The host's key signs all lines before this one.
    Checkpoint {
        /// The public key in base64.
        key: String,
        /// The scheme of the signature, by its number in TLS.
        scheme: u16,
        /// The signature over the number and the hash of the line before, in base64.
        signature: String,
    },
    /// A file was deleted because it was older than the configured age.
    Removed {
        /// The name of the file.
        file: String,
        /// The number of its last record.
        last_seq: u64,
        /// The hash of its last record.
        last_hash: String,
    },
    /// The log could not be written for a while. Nothing was started meanwhile.
    Gap {
        /// The number of records that were not written: attempts, starts and refusals that had no
        /// effect.
        missed: u64,
        /// The error.
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
    /// The file's name.
    pub file: String,
    /// The number of its last record.
    pub seq: u64,
    /// The hash of its last record.
    pub hash: String,
    /// The bytes after that record, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub torn: Option<Torn>,
}

/// The bytes after the last whole line of a file, as a kill or a power cut leaves them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Torn {
    /// The number of bytes.
    pub bytes: u64,
    /// The SHA-256 of the bytes, in hexadecimal.
    pub sha256: String,
}

/// The state that a server has reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifecycle {
    /// The server accepts connections from now on.
    Started,
    /// No part of the server runs any longer.
    Stopped,
}

/// A peer's request for a command.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attempt {
    /// The ID of the job that it would start.
    pub job: String,
    /// The peer that asks.
    pub peer: String,
    /// The peer's groups.
    pub groups: Vec<String>,
    /// True if the peer used an emergency certificate, which no revocation list covers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub break_glass: bool,
    /// The address that it asks from.
    pub address: String,
    /// The mode: `exec`, `shell` or `transfer`.
    pub mode: String,
    /// The request: all of it, or its beginning.
    #[serde(flatten)]
    pub asked: Asked,
    /// The size of the whole request in bytes, if this is only its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The request digest, by which a reader who knows a redacted part can check it.
    pub digest: String,
}

/// The strings of a request.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// The program and its arguments, or the one shell line.
    pub args: Vec<Text>,
    /// The settings, each `NAME=VALUE`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<Text>,
    /// The folder that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<Text>,
    /// The account that was asked for, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Text>,
}

/// The end of a command.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EndRecord {
    /// The job's ID.
    pub job: String,
    /// The outcome.
    pub outcome: String,
    /// The exit status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u8>,
    /// The signal that ended the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// The kind of failure, other than the command's own status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The message of the failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The bytes of standard output.
    pub stdout_bytes: u64,
    /// The bytes of standard error.
    pub stderr_bytes: u64,
    /// The time that it ran for, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
}

impl Event {
    /// Returns the ID of the job that the event is about.
    pub fn job(&self) -> Option<&str> {
        match self {
            Self::Attempt(attempt) => Some(&attempt.job),
            Self::End(end) => Some(&end.job),
            Self::Transfer(transfer) => Some(&transfer.job),
            Self::Start { job, .. } | Self::Refusal { job, .. } | Self::Kill { job, .. } => {
                Some(job)
            }
            Self::Denial { job, .. } => job.as_deref(),
            _ => None,
        }
    }

    /// Makes the end of a command of which nothing more is known.
    pub(super) fn lost(job: String, message: &str) -> Self {
        Self::End(Box::new(EndRecord {
            job,
            outcome: Outcome::Unknown.to_string(),
            code: None,
            signal: None,
            kind: Some(ErrorKind::Lost.to_string()),
            message: Some(message.to_owned()),
            stdout_bytes: 0,
            stderr_bytes: 0,
            duration_ms: None,
        }))
    }
}
