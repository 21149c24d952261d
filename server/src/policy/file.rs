//! `policy.cedar` on disk: who may write to it, and how it is read.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{diagnostic::Diagnostic, rules::Rules, vocabulary::Host};

/// Maximum size of a policy, in bytes: some ten thousand rules.
const LIMIT: u64 = 4 << 20;

/// The reason why a policy can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file can't be read.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// Others could change it.
    #[error("{}: {why}; type `chown root` and `chmod go-w` for it", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Who could.
        why: String,
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
    let failed = |error| PolicyError::Io { path: path.to_owned(), error };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Rules::missing(host.clone()));
        }
        file => file.map_err(failed)?,
    };
    safe(path, &file)?;
    parse(path, &read(file).map_err(failed)?, host)
}

/// Reads a policy from anywhere, to check it; who could change it does not matter.
///
/// # Errors
/// When it can't be read, or it is wrong.
pub fn check(path: &Path, host: &Host) -> Result<Rules, PolicyError> {
    let failed = |error| PolicyError::Io { path: path.to_owned(), error };
    let text = File::open(path).and_then(read).map_err(failed)?;
    parse(path, &text, host)
}

fn parse(path: &Path, text: &str, host: &Host) -> Result<Rules, PolicyError> {
    Rules::parse(text, host.clone())
        .map_err(|diagnostics| PolicyError::Invalid { path: path.to_owned(), diagnostics })
}

fn read(file: File) -> io::Result<String> {
    let mut text = String::new();
    let size = file.take(LIMIT + 1).read_to_string(&mut text)?;
    if size as u64 > LIMIT {
        return Err(io::Error::other("the file is larger than 4 MiB"));
    }
    Ok(text)
}

fn safe(path: &Path, file: &File) -> Result<(), PolicyError> {
    let found =
        file.metadata().map_err(|error| PolicyError::Io { path: path.to_owned(), error })?;
    let own = rustix::process::geteuid().as_raw();
    let why = if ![0, own].contains(&found.uid()) {
        format!("it belongs to user {}", found.uid())
    } else if found.mode() & 0o022 != 0 {
        "others than its owner may write to it".to_owned()
    } else {
        return Ok(());
    };
    Err(PolicyError::Open { path: path.to_owned(), why })
}
