//! What is said of a failed handshake.

use std::fmt;

use crate::names::Kind;

/// Why a handshake failed, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What is wrong, without a full stop. One line, no control bytes.
    pub reason: String,
    /// What to do about it, usually a command. One line, no control bytes.
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

/// Which end we are.
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
}
