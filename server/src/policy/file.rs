//! `policy.cedar` on disk: who may write to it, and how it is read.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use rcmd_certs::files::{self, FileError};

use super::{diagnostic::Diagnostic, rules::Rules, vocabulary::Host};

/// Maximum size of a policy, in bytes: some ten thousand rules.
const LIMIT: u64 = 4 << 20;

/// The reason why a policy can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file can't be read, or others could change it.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is no text.
    #[error("{}: not UTF-8 from byte {at}", files::shown(path))]
    Text {
        /// The file.
        path: PathBuf,
        /// Where, from 0.
        at: usize,
    },
    /// It is wrong.
    #[error("{}", Diagnostics(path, diagnostics))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where, and how.
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

/// Reads the policy of a host; without one everything is denied.
///
/// # Errors
/// When it can't be read, others could change it, or it is wrong.
pub fn load(path: &Path, host: &Host) -> Result<Rules, PolicyError> {
    match files::read_public_up_to(path, LIMIT) {
        Err(error) if error.is_missing() => Ok(Rules::missing(host.clone())),
        read => parse(path, read?, host),
    }
}

/// Returns why the server would not take a policy from where it lies, if it would not.
pub fn refused(path: &Path) -> Option<FileError> {
    files::read_public_up_to(path, LIMIT).err()
}

/// Reads a policy from anywhere, to check it; who could change it does not matter.
///
/// # Errors
/// When it can't be read, or it is wrong.
pub fn check(path: &Path, host: &Host) -> Result<Rules, PolicyError> {
    parse(path, files::read_shown(path, LIMIT)?, host)
}

fn parse(path: &Path, bytes: Vec<u8>, host: &Host) -> Result<Rules, PolicyError> {
    let text = String::from_utf8(bytes).map_err(|error| PolicyError::Text {
        path: path.to_owned(),
        at: error.utf8_error().valid_up_to(),
    })?;
    Rules::parse(&text, host.clone())
        .map_err(|diagnostics| PolicyError::Invalid { path: path.to_owned(), diagnostics })
}
