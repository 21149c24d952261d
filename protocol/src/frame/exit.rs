//! The end of a command, as its last frame has it.

use super::{
    describe::fields,
    field::{Optional, OptionalPart, OrDefault, Required},
    header::Header,
};
use crate::{
    digest::StreamDigest,
    error::ProtocolError,
    ids::AuditHead,
    outcome::{Outcome, WireError},
    signal::Signal,
};

fields! {
    /// The end of a command. It always has the fields that its outcome needs, such as a code for `exited`:
    /// neither the constructors nor the reader of frames accept an end without them.
    #[derive(Clone, PartialEq, Debug)]
    pub struct Exit {
        outcome: Outcome as Required,
        code: Option<u8> as Optional,
        signal: Option<Signal> as Optional,
        // Boxed, since few ends have one, and every frame that waits or moves is as large as the largest.
        failure: Option<Box<WireError>> as OptionalPart,
        stdout_bytes: u64 as Required,
        stderr_bytes: u64 as Required,
        stdout_digest: Option<StreamDigest> as Optional,
        stderr_digest: Option<StreamDigest> as Optional,
        open: bool as OrDefault,
        started_at: Option<u64> as Optional,
        ended_at: u64 as Required,
        duration_ms: Option<u64> as Optional,
        audit: Option<Box<AuditHead>> as Optional,
    } checked by check_proof
}

/// The error of an outcome without a field that it needs, such as `exited` without a code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the end of a command lacks {0}")]
pub struct MissingField(pub &'static str);

/// The total of a stream: the number of its bytes, and their digest if the process started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StreamTotal {
    /// The number of bytes.
    pub bytes: u64,
    /// The digest of these bytes.
    pub digest: Option<StreamDigest>,
}

impl Exit {
    /// Returns an end without output. `ended_at` is in milliseconds since 1970.
    ///
    /// # Errors
    /// [`MissingField`] when the proof of `outcome` is missing: `exited` needs a code, `signaled` a signal,
    /// `timed_out` one of them, `not_started` and `unknown` a failure. A missing status can thus never be
    /// read as 0.
    pub fn new(
        outcome: Outcome,
        code: Option<u8>,
        signal: Option<Signal>,
        failure: Option<WireError>,
        ended_at: u64,
    ) -> Result<Self, MissingField> {
        let failure = failure.map(Box::new);
        let exit = Self { outcome, code, signal, failure, ..Self::empty(outcome, ended_at) };
        exit.missing().map_or(Ok(exit), Err)
    }

    /// Returns the field that the outcome needs and that is missing, if one is.
    fn missing(&self) -> Option<MissingField> {
        let (code, signal) = (self.code.is_none(), self.signal.is_none());
        let missing = match self.outcome {
            Outcome::Exited => code.then_some("code"),
            Outcome::Signaled => signal.then_some("signal"),
            Outcome::TimedOut => (code && signal).then_some("code"),
            Outcome::NotStarted | Outcome::Unknown => self.failure.is_none().then_some("kind"),
        };
        missing.map(MissingField)
    }

    /// Checks that the outcome has the field that it needs.
    fn check_proof(&self, header: &Header<'_>) -> Result<(), ProtocolError> {
        self.missing().map_or(Ok(()), |MissingField(field)| Err(header.missing(field)))
    }

    /// Returns the end of a command that did not start, so that it is safe to try again. `ended_at` is
    /// in milliseconds since 1970.
    pub fn not_started(failure: WireError, ended_at: u64) -> Self {
        let failure = Some(Box::new(failure));
        Self { failure, ..Self::empty(Outcome::NotStarted, ended_at) }
    }

    /// Returns the end of a command whose outcome is not known. `ended_at` is in milliseconds since 1970.
    pub fn unknown(failure: WireError, ended_at: u64) -> Self {
        let failure = Some(Box::new(failure));
        Self { failure, ..Self::empty(Outcome::Unknown, ended_at) }
    }

    /// Returns the end of a process that ended with this status. `ended_at` is in milliseconds since
    /// 1970.
    pub fn exited(code: u8, ended_at: u64) -> Self {
        Self { code: Some(code), ..Self::empty(Outcome::Exited, ended_at) }
    }

    fn empty(outcome: Outcome, ended_at: u64) -> Self {
        Self {
            outcome,
            code: None,
            signal: None,
            failure: None,
            stdout_bytes: 0,
            stderr_bytes: 0,
            stdout_digest: None,
            stderr_digest: None,
            open: false,
            started_at: None,
            ended_at,
            duration_ms: None,
            audit: None,
        }
    }

    /// Returns this end with the totals of its output.
    #[must_use]
    pub fn with_output(mut self, stdout: StreamTotal, stderr: StreamTotal) -> Self {
        (self.stdout_bytes, self.stdout_digest) = (stdout.bytes, stdout.digest);
        (self.stderr_bytes, self.stderr_digest) = (stderr.bytes, stderr.digest);
        self
    }

    /// Returns this end with a note whether a process still held stdout or stderr open.
    #[must_use]
    pub fn with_open(mut self, open: bool) -> Self {
        self.open = open;
        self
    }

    /// Returns this end with the time at which the process started, in milliseconds since 1970, and the time
    /// for which it ran, in milliseconds of a monotonic clock.
    #[must_use]
    pub fn with_times(mut self, started_at: Option<u64>, duration_ms: Option<u64>) -> Self {
        (self.started_at, self.duration_ms) = (started_at, duration_ms);
        self
    }

    /// Returns this end with its record in the host's audit.
    #[must_use]
    pub fn with_audit(mut self, audit: Option<AuditHead>) -> Self {
        self.audit = audit.map(Box::new);
        self
    }

    /// Returns the outcome of the command.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Returns the exit status of the process, if it had one.
    pub fn code(&self) -> Option<u8> {
        self.code
    }

    /// Returns the signal that ended the process, if one did.
    pub fn signal(&self) -> Option<Signal> {
        self.signal
    }

    /// Returns the error, if anything went wrong beside the command itself.
    pub fn failure(&self) -> Option<&WireError> {
        self.failure.as_deref()
    }

    /// Returns the total of standard output.
    pub fn stdout(&self) -> StreamTotal {
        StreamTotal { bytes: self.stdout_bytes, digest: self.stdout_digest }
    }

    /// Returns the total of standard error.
    pub fn stderr(&self) -> StreamTotal {
        StreamTotal { bytes: self.stderr_bytes, digest: self.stderr_digest }
    }

    /// Returns whether a process still held stdout or stderr open.
    pub fn open(&self) -> bool {
        self.open
    }

    /// Returns the time at which the process started, in milliseconds since 1970.
    pub fn started_at(&self) -> Option<u64> {
        self.started_at
    }

    /// Returns the time at which the command ended, in milliseconds since 1970.
    pub fn ended_at(&self) -> u64 {
        self.ended_at
    }

    /// Returns the time for which the process ran, in milliseconds of a monotonic clock.
    pub fn duration_ms(&self) -> Option<u64> {
        self.duration_ms
    }

    /// Returns the record of this end in the host's audit.
    pub fn audit(&self) -> Option<AuditHead> {
        self.audit.as_deref().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::ErrorKind;

    #[test]
    fn an_end_says_how() {
        let failure = || Some(WireError::new(ErrorKind::Lost, "gone"));
        let end = |outcome, code, signal, failure| Exit::new(outcome, code, signal, failure, 1);
        for (outcome, field) in [
            (Outcome::Exited, "code"),
            (Outcome::Signaled, "signal"),
            (Outcome::TimedOut, "code"),
            (Outcome::NotStarted, "kind"),
            (Outcome::Unknown, "kind"),
        ] {
            assert_eq!(end(outcome, None, None, None), Err(MissingField(field)), "{outcome}");
        }
        assert_eq!(end(Outcome::Exited, Some(3), None, None), Ok(Exit::exited(3, 1)));
        assert!(end(Outcome::Signaled, None, Some(Signal::KILL), None).is_ok());
        assert!(end(Outcome::TimedOut, None, Some(Signal::KILL), None).is_ok());
        assert!(end(Outcome::TimedOut, Some(0), None, None).is_ok());
        assert!(end(Outcome::NotStarted, None, None, failure()).is_ok());
        assert!(end(Outcome::Unknown, None, None, failure()).is_ok());
    }
}
