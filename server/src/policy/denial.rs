//! Denials: the kind of reason, the rules that decided, and words for the client and the log.

use rcmd_protocol::outcome::{ErrorKind, WireError};

/// The rule that nobody writes: what was judged must be what runs.
pub const PROGRAM_WRITABLE: &str = "program_writable";

/// The reason why something may not be done.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Denial {
    /// The kind of reason.
    pub kind: DenialKind,
    /// The rules that decided, by name: forbids, rules that could not be evaluated, permits that do
    /// not reach far enough, or [`PROGRAM_WRITABLE`].
    pub rules: Vec<String>,
    /// For the client and the log.
    pub reason: String,
    /// What to do about it.
    pub hint: String,
}

/// The kind of reason that a denial has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DenialKind {
    /// The host has no policy.
    NoPolicy,
    /// No rule permits it.
    NoRule,
    /// A rule forbids it.
    Forbidden,
    /// A rule could not be evaluated.
    Error,
    /// A variable that no permitting rule lets it set.
    Environment,
    /// Others could change the program.
    Writable,
}

impl DenialKind {
    /// Returns the kind's name, for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoPolicy => "no_policy",
            Self::NoRule => "no_rule",
            Self::Forbidden => "forbidden",
            Self::Error => "error",
            Self::Environment => "environment",
            Self::Writable => PROGRAM_WRITABLE,
        }
    }
}

impl From<Denial> for WireError {
    fn from(denial: Denial) -> Self {
        Self::new(ErrorKind::Denied, denial.reason).hint(denial.hint)
    }
}
