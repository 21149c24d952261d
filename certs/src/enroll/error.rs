//! Why a member got nothing from its authority.

use std::path::PathBuf;

use super::{clock_off::ClockOff, message::RefusalReason};
use crate::{
    crl::CrlError,
    enroll::{key::KeyError, token::LoadError},
    files::{FileError, shown},
    names::Kind,
    text::printable,
    tls::TlsError,
};

/// Why nothing was fetched. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// No token could be read.
    #[error(transparent)]
    Token(#[from] LoadError),
    /// A token for the other kind of member.
    #[error("this token is for a {is}, not for a {wanted}: use `rcmd-{is} enroll`")]
    WrongKind {
        /// What the token is for.
        is: Kind,
        /// What it was to be used for.
        wanted: Kind,
    },
    /// The token leaves a choice of names and none was made, or none and one was.
    #[error("{0}")]
    Name(String),
    /// There is an identity already.
    #[error("{} exists already; to enroll anew, move its folder away first", shown(.0))]
    Exists(PathBuf),
    /// No identity that came by a token.
    #[error(
        "{} does not exist: this {kind} was not enrolled by a token, so there is nobody to ask; \
         `rcmd-{kind} enroll` does it, with a token of `rcmd-certs token {kind}`",
        shown(path)
    )]
    NotEnrolled {
        /// The file that enrollment writes.
        path: PathBuf,
        /// What was to be renewed.
        kind: Kind,
    },
    /// Our clock or the authority's is days off, so that not even its certificate can be judged.
    #[error(
        "by this machine's clock the authority's certificate {0}; one of the two clocks is wrong: \
         compare `date -u` on both machines"
    )]
    Dates(&'static str),
    /// No address answered.
    #[error("the authority cannot be reached: {0}; is `rcmd-certs serve` running there?")]
    Unreachable(String),
    /// Somebody else answered, or in another language.
    #[error("{address} is not the authority that was asked for: {reason}")]
    Impostor {
        /// Where.
        address: String,
        /// What was wrong.
        reason: String,
    },
    /// The connection broke or the answer makes no sense.
    #[error(
        "the authority's answer was lost or not understood: {0}; the same command may be tried again"
    )]
    Lost(String),
    /// The clocks disagree too much for a certificate.
    #[error("{0}")]
    Clock(ClockOff),
    /// The authority refused.
    #[error("the authority refused: {message}")]
    Refused {
        /// Why, for programs.
        reason: RefusalReason,
        /// Why, in its words; printable.
        message: String,
    },
    /// A list that cannot be read.
    #[error(transparent)]
    List(#[from] CrlError),
    /// The key could not be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Files of the identity cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Files cannot be read or written.
    #[error(transparent)]
    Files(#[from] FileError),
    /// `authority.toml` makes no sense.
    #[error("{} cannot be used: {}", shown(path), printable(reason))]
    Contact {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl EnrollError {
    /// Returns whether the same may succeed later without anyone acting.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Lost(_) => true,
            Self::Refused { reason, .. } => reason.is_temporary(),
            _ => false,
        }
    }
}
