//! The errors of commands.

use std::{io, path::PathBuf};

use rcmd_authority::{
    backup::BackupError, ca::AuthorityError, server::ServeError, state::StateError,
};
use rcmd_certs::{
    enroll::key,
    files::{FileError, shown},
    names::NameError,
    tls::TlsError,
};

/// The reason why a command failed: what, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// `quickstart` and `init` make an authority only where none is.
    #[error(
        "there is an authority already ({}): use it, or choose another folder",
        shown(.0)
    )]
    AuthorityExists(PathBuf),
    /// A certificate would be written beside a `ca.pem` that does not trust it.
    #[error(
        "{} exists and does not hold this authority: choose another --out, \
         or add the authority to it: cat {} >> {}",
        shown(ca),
        shown(own),
        shown(ca)
    )]
    ForeignCa { ca: PathBuf, own: PathBuf },
    /// An identity exists and was not to be replaced.
    #[error("{} exists already; --force replaces it, --out DIR writes elsewhere", shown(.0))]
    IdentityExists(PathBuf),
    /// A bundle exists and was not to be replaced.
    #[error("{} exists already; --force replaces it", shown(.0))]
    BundleExists(PathBuf),
    /// The running `serve` is of another version.
    #[error("the running `rcmd-certs serve` gave an unexpected answer; is it of this version?")]
    Response,
    /// The two passphrases that should be the same differ.
    #[error("the two passphrases differ; nothing was written")]
    Passphrases,
    /// The passphrase cannot be asked for.
    #[error("cannot ask for the passphrase ({0}); give it with --passphrase-file FILE")]
    NoTerminal(io::Error),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    Key(#[from] key::KeyError),
    #[error(transparent)]
    Files(#[from] TlsError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}
