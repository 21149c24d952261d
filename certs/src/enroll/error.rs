//! The errors of a member that asks its authority.

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

/// The reason why nothing was fetched. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// No token could be read.
    #[error(transparent)]
    Token(#[from] LoadError),
    /// The token is for the other kind of member.
    #[error("this token is for a {is}, not for a {wanted}: use `rcmd-{is} enroll`")]
    WrongKind {
        /// The kind that the token is for.
        is: Kind,
        /// The kind that it was used for.
        wanted: Kind,
    },
    /// The token leaves a choice of names and none was made, or leaves no choice and one was made.
    #[error("{0}")]
    Name(String),
    /// An identity exists already.
    #[error("{} exists already; to enroll again, move its folder away first", shown(.0))]
    Exists(PathBuf),
    /// The identity was not enrolled with a token.
    #[error(
        "{} does not exist: this {kind} did not enroll with a token, so it has no authority to ask; \
         enroll it with `rcmd-{kind} enroll` and a token of `rcmd-certs token {kind}`",
        shown(path)
    )]
    NotEnrolled {
        /// The file that enrollment writes.
        path: PathBuf,
        /// The kind of identity that was to be renewed.
        kind: Kind,
    },
    /// This machine's clock or the authority's is days off, so that not even its certificate can be judged.
    #[error(
        "by this machine's clock the authority's certificate {0}; one of the two clocks is wrong: \
         compare `date -u` on both machines"
    )]
    Dates(&'static str),
    /// No address answered.
    #[error("the authority cannot be reached: {0}; check that `rcmd-certs serve` runs there")]
    Unreachable(String),
    /// The peer is not the authority, or does not speak its protocol.
    #[error("{address} is not the authority that was asked for: {reason}")]
    Impostor {
        /// The address of the peer.
        address: String,
        /// The reason why it was not accepted.
        reason: String,
    },
    /// The connection broke, or the answer cannot be understood.
    #[error("the authority's answer was lost or not understood: {0}; try the same command again")]
    Lost(String),
    /// The clocks disagree too much for a certificate.
    #[error("{0}")]
    Clock(ClockOff),
    /// The authority refused.
    #[error("the authority refused: {message}")]
    Refused {
        /// The reason, for programs.
        reason: RefusalReason,
        /// The reason in the authority's words; printable.
        message: String,
    },
    /// A list cannot be read.
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
    /// `authority.toml` cannot be used.
    #[error("{} cannot be used: {}", shown(path), printable(reason))]
    Contact {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
}

impl EnrollError {
    /// Returns whether the same call may succeed later by itself.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Lost(_) => true,
            Self::Refused { reason, .. } => reason.is_temporary(),
            _ => false,
        }
    }
}
