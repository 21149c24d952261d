//! Denials: the kind of reason, the rules that decided, and a text for the client and the log.

use rcmd_protocol::outcome::{ErrorKind, WireError};

/// The name of the built-in rule that only the program that was judged may run.
pub const PROGRAM_WRITABLE: &str = "program_writable";

/// The reason why something may not be done.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Denial {
    /// The kind of reason.
    pub kind: DenialKind,
    /// The names of the rules that decided: forbids, rules that could not be evaluated, permits
    /// that do not permit a setting, or [`PROGRAM_WRITABLE`].
    pub rules: Vec<String>,
    /// The reason in words, for the client and the log.
    pub reason: String,
    /// Advice on what to do about it.
    pub hint: String,
}

/// The kind of reason for a denial.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DenialKind {
    /// The host has no policy.
    NoPolicy,
    /// No rule permits the request.
    NoRule,
    /// A rule forbids the request.
    Forbidden,
    /// A rule could not be evaluated.
    Error,
    /// No permitting rule permits one of the settings of the environment.
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
