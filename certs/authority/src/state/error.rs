//! The errors of requests to the authority.

use rcmd_certs::{
    enroll::message::RefusalReason, files::FileError, names::NameError, x509::X509Error,
};

use super::{journal::JournalError, store::StoreError};
use crate::ca::AuthorityError;

/// The reason why the authority did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The authority refuses, and the reason is for the peer.
    #[error("{message}")]
    Refused {
        /// The reason, for programs.
        reason: RefusalReason,
        /// The reason, for people; printable.
        message: String,
    },
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// A name was refused.
    #[error(transparent)]
    Name(#[from] NameError),
    /// `authority.toml` cannot be used.
    #[error("{path} cannot be used: {reason}")]
    Settings {
        /// The file, printable.
        path: String,
        /// The reason, printable.
        reason: String,
    },
    /// The authority's own files cannot be used.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal could not be written, so that nothing was signed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A certificate that was signed cannot be read again.
    #[error(transparent)]
    Certificate(#[from] X509Error),
    /// The running `rcmd-certs serve` did not answer.
    #[error("{0}")]
    Remote(String),
}

impl StateError {
    pub(crate) fn refused(reason: RefusalReason, message: impl Into<String>) -> Self {
        Self::Refused { reason, message: message.into() }
    }
}
