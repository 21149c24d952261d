//! `policy.cedar` on disk: who may write to it, and how it is read.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use rcmd_certs::files::{self, FileError};

use super::{
    diagnostic::Diagnostic,
    rules::Rules,
    vocabulary::{Host, Vocabulary},
};

/// The maximum size of a policy in bytes, enough for some ten thousand rules.
const LIMIT: u64 = 4 << 20;

/// The reason why a policy can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file can't be read, or others could change it.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not UTF-8.
    #[error("{}: not UTF-8 from byte {at}", files::shown(path))]
    Text {
        /// The file.
        path: PathBuf,
        /// The offset of the first invalid byte, from 0.
        at: usize,
    },
    /// The policy has errors.
    #[error("{}", Diagnostics(path, diagnostics))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The errors and their places.
        diagnostics: Vec<Diagnostic>,
    },
}

/// The diagnostics of a file, as compilers print them: `FILE:LINE:COLUMN: message`.
#[derive(Debug)]
pub struct Diagnostics<'a>(pub &'a Path, pub &'a [Diagnostic]);

impl fmt::Display for Diagnostics<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, diagnostic) in self.1.iter().enumerate() {
            let newline = if n > 0 { "\n" } else { "" };
            write!(f, "{newline}{}:{diagnostic}", self.0.display())?;
        }
        Ok(())
    }
}

/// Reads the policy of a host. If there is no file, everything is denied.
///
/// # Errors
/// If the file can't be read, others could change it, or the policy has errors.
pub fn load(path: &Path, host: &Host, vocabulary: Vocabulary) -> Result<Rules, PolicyError> {
    match files::read_public_up_to(path, LIMIT) {
        Err(error) if error.is_missing() => Ok(Rules::missing(host.clone(), vocabulary)),
        read => parse(path, read?, host, vocabulary),
    }
}

/// Returns the reason why the server would refuse to read a policy from this path, if it would.
pub fn refused(path: &Path) -> Option<FileError> {
    files::read_public_up_to(path, LIMIT).err()
}

/// Reads a policy from any path to check it; who could change the file does not matter.
///
/// # Errors
/// If the file can't be read, or the policy has errors.
pub fn check(path: &Path, host: &Host, vocabulary: Vocabulary) -> Result<Rules, PolicyError> {
    parse(path, files::read_shown(path, LIMIT)?, host, vocabulary)
}

fn parse(
    path: &Path,
    bytes: Vec<u8>,
    host: &Host,
    vocabulary: Vocabulary,
) -> Result<Rules, PolicyError> {
    let text = String::from_utf8(bytes).map_err(|error| PolicyError::Text {
        path: path.to_owned(),
        at: error.utf8_error().valid_up_to(),
    })?;
    Rules::parse(&text, host.clone(), vocabulary)
        .map_err(|diagnostics| PolicyError::Invalid { path: path.to_owned(), diagnostics })
}
