//! Why and at which end a file failed, and why a transfer did.

use std::{fmt, io};

use rustix::io::Errno;

/// The kind of a failure of one file, as it crosses the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// Nothing has that name, or the folder that it should be in is missing.
    NoSuchFile,
    /// The system did not permit it, or the place can only be read.
    Permission,
    /// Something of another kind stands there.
    Exists,
    /// The disk or a quota is full.
    NoSpace,
    /// The file was rewritten or became shorter while it was read, twice.
    Changed,
    /// A name that leads out of the target, or a link where a folder should be.
    UnsafePath,
    /// A device, a pipe or a socket, or a folder where only files were asked for.
    Special,
    /// More, longer or deeper than the limits allow.
    TooBig,
    /// The caller does not let this folder be entered.
    Denied,
    /// What arrived has another digest than what was sent.
    Corrupt,
    /// The file went away before it was opened. That is counted, and is no failure.
    Vanished,
    /// Any other error of the system.
    Io,
    /// There is no such user or group where the files are received.
    NoSuchUser,
}

impl FailureKind {
    /// Every kind, in the order of their numbers on the wire, of which the first is 1.
    pub(crate) const ALL: [Self; 13] = [
        Self::NoSuchFile,
        Self::Permission,
        Self::Exists,
        Self::NoSpace,
        Self::Changed,
        Self::UnsafePath,
        Self::Special,
        Self::TooBig,
        Self::Denied,
        Self::Corrupt,
        Self::Vanished,
        Self::Io,
        Self::NoSuchUser,
    ];

    /// Returns its name, as events and results have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoSuchFile => "no_such_file",
            Self::Permission => "permission",
            Self::Exists => "exists",
            Self::NoSpace => "no_space",
            Self::Changed => "changed",
            Self::UnsafePath => "unsafe_path",
            Self::Special => "special",
            Self::TooBig => "too_big",
            Self::Denied => "denied",
            Self::Corrupt => "corrupt",
            Self::Vanished => "vanished",
            Self::Io => "io",
            Self::NoSuchUser => "no_such_user",
        }
    }

    /// Returns the kind of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Returns the kind of an error of the system.
    pub(crate) fn of(errno: Errno) -> Self {
        match errno {
            Errno::NOENT => Self::NoSuchFile,
            Errno::ACCESS | Errno::PERM | Errno::ROFS => Self::Permission,
            Errno::EXIST | Errno::ISDIR | Errno::NOTDIR | Errno::NOTEMPTY => Self::Exists,
            Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Self::NoSpace,
            Errno::LOOP | Errno::XDEV => Self::UnsafePath,
            Errno::NAMETOOLONG => Self::TooBig,
            _ => Self::Io,
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Why one file failed. The message may hold text of the other end, which is not fit for a terminal as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Its kind.
    pub kind: FailureKind,
    /// What happened, without the path.
    pub message: String,
}

impl Failure {
    /// Returns a failure of this kind.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Returns the failure of an action at which the system answered with an error.
    pub(crate) fn of(errno: Errno, action: &str) -> Self {
        let error = io::Error::from(errno);
        Self::new(FailureKind::of(errno), format!("cannot {action}: {error}"))
    }

    /// Returns the failure of an action of the standard library.
    pub(crate) fn of_io(error: &io::Error, action: &str) -> Self {
        match Errno::from_io_error(error) {
            Some(errno) => Self::of(errno, action),
            None => Self::new(FailureKind::Io, format!("cannot {action}: {error}")),
        }
    }
}

/// Where what an event is about came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventOrigin {
    /// At the source, which did not send it.
    Source,
    /// At the destination, for which the source had announced it.
    Announced,
    /// At the destination, which alone has it. Its path is that in the destination.
    Destination,
}

/// Why a transfer ended before its end was agreed on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The stream ended or failed. What was written stays, and a later transfer goes on from there.
    #[error("the stream to the other end was lost: {0}")]
    Lost(io::Error),
    /// The other end said something that the protocol of transfers does not allow.
    #[error("the other end broke the protocol of transfers: {0}")]
    Protocol(&'static str),
    /// The other end gave up.
    #[error("the other end gave up: {0}")]
    Peer(Failure),
    /// This end cannot begin or go on.
    #[error("{0}")]
    Local(Failure),
    /// Both ends do not have the same account of what was transferred.
    #[error("both ends counted differently: {0}")]
    Differs(&'static str),
    /// The caller asked for an end.
    #[error("the transfer was cancelled")]
    Cancelled,
}

impl From<Failure> for TransferError {
    fn from(failure: Failure) -> Self {
        Self::Local(failure)
    }
}
