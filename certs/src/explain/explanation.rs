//! The explanation of a failed handshake.

use std::fmt;

use crate::names::Kind;

/// The reason why a handshake failed, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The reason, without a full stop. One line, no control bytes.
    pub reason: String,
    /// The remedy, usually a command. One line, no control bytes.
    pub hint: String,
}

impl Explanation {
    pub(super) fn new(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { reason: reason.into(), hint: hint.into() }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.reason, self.hint)
    }
}

/// The side that this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

impl Side {
    pub(super) fn own(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Client => Kind::Client,
            Self::Server => Kind::Server,
        }
    }

    pub(super) fn peer(self) -> &'static str {
        match self {
            Self::Client => "server",
            Self::Server => "client",
        }
    }

    /// Returns the remedy for a peer that may not be an rcmd program.
    pub(super) fn check_peer(self) -> &'static str {
        match self {
            Self::Client => "check that the address and port are those of an rcmd server",
            Self::Server => "check that the program which connects is an rcmd client",
        }
    }

    /// Returns the remedy for a peer that may not be an rcmd program, or be one of another version.
    pub(super) fn check_version(self) -> String {
        format!("{}; if so, update the older of the two", self.check_peer())
    }
}
