//! Standard output and standard error.

use std::io::{self, Write as _};

use encoding_rs::Encoding;
use rcmd_client::{ErrorKind, WireError};

use crate::status;

pub(crate) mod encoding;
pub(crate) mod json;
pub(crate) mod piece;
pub(crate) mod render;
pub(crate) mod safe_json;
pub(crate) mod sink;
pub(crate) mod stamp;
pub(crate) mod writer;

/// The form of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Text: unchanged, converted, or with times before its lines.
    Text { encoding: Option<&'static Encoding>, timestamps: bool },
    /// Events in JSON, one on each line.
    Json { timestamps: bool },
}

impl Form {
    /// Returns this form with times, or without.
    pub(crate) fn with_timestamps(self, timestamps: bool) -> Self {
        match self {
            Self::Text { encoding, .. } => Self::Text { encoding, timestamps },
            Self::Json { .. } => Self::Json { timestamps },
        }
    }

    pub(crate) fn timestamps(self) -> bool {
        match self {
            Self::Text { timestamps, .. } | Self::Json { timestamps } => timestamps,
        }
    }
}

/// Writes an answer to standard output and returns the exit status.
///
/// # Errors
/// If the answer can't be written; a reader that has gone is not an error.
pub(crate) fn print(answer: &[u8]) -> Result<u8, WireError> {
    let mut out = io::stdout().lock();
    match out.write_all(answer).and_then(|()| out.flush()) {
        Ok(()) => Ok(0),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(status::READER_GONE),
        Err(error) => Err(WireError::new(
            ErrorKind::LocalIo,
            format!("cannot write standard output: {error}"),
        )),
    }
}
