//! The reasons why the host could not be looked at.

use std::io;

use rcmd_protocol::outcome::ErrorKind;

/// The reason why the host could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// A file system does not answer.
    #[error("the host's file system did not answer in time")]
    Slow,
    /// The maximum number of helpers is in use.
    #[error("too many requests look at the host's file systems already")]
    Crowded,
    /// The look failed.
    #[error("the host's file system cannot be read: {0}")]
    Failed(io::Error),
}

impl LookError {
    pub(in crate::process) fn kind(&self) -> ErrorKind {
        match self {
            Self::Slow | Self::Crowded => ErrorKind::Busy,
            Self::Failed(_) => ErrorKind::Resources,
        }
    }

    pub(in crate::process) fn hint(&self) -> &'static str {
        match self {
            Self::Slow => {
                "Check on the host for a network or user file system that hangs (`df`, `mount`)."
            }
            Self::Crowded => "Nothing ran; try again when file systems that hang answer again.",
            Self::Failed(_) => "Nothing ran; try again later, or check what uses up the host.",
        }
    }
}
