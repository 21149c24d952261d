//! The errors of setting up TLS.

use std::{
    error::Error,
    path::{Path, PathBuf},
};

use crate::{
    crl::CrlError,
    files::{FileError, shown},
    mapping::MappingError,
    pem::PemFault,
};

/// The reason why no configuration could be made. Each message names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that must exist does not.
    #[error("{} does not exist; {remedy}", shown(path))]
    Missing {
        /// The file.
        path: PathBuf,
        /// The command that makes it.
        remedy: &'static str,
    },
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The revocation lists cannot be used.
    #[error("{}: {error}; `rcmd-client enroll --renew` fetches them again", shown(path))]
    Lists {
        /// The file.
        path: PathBuf,
        /// The reason.
        error: CrlError,
    },
    /// `identity.toml` cannot be used.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// A file is not PEM, or a section of it is broken.
    #[error(
        "{} is not readable as PEM: {fault}; restore it from a backup, or enroll anew with a token",
        shown(path)
    )]
    Pem {
        /// The file.
        path: PathBuf,
        /// The fault.
        fault: PemFault,
    },
    /// A file without any certificate.
    #[error("{} has no certificate; it needs a `-----BEGIN CERTIFICATE-----` section", shown(.0))]
    NoCertificate(PathBuf),
    /// A certificate that cannot be read.
    #[error("certificate {number} in {} cannot be used: {reason}", shown(path))]
    Certificate {
        /// The file.
        path: PathBuf,
        /// The place of the certificate in the file, from 1.
        number: usize,
        /// The reason.
        reason: String,
    },
    /// A file without any private key.
    #[error("{} has no private key; it needs a `-----BEGIN PRIVATE KEY-----` section", shown(.0))]
    NoKey(PathBuf),
    /// A private key under a passphrase.
    #[error(
        "the private key in {} is encrypted, and cannot be used without its passphrase; \
         decrypt it with `openssl pkey -in {} -out NEW.pem`",
        shown(.0),
        shown(.0)
    )]
    EncryptedKey(PathBuf),
    /// A private key that aws-lc-rs does not accept. Its message about the key is not repeated.
    #[error(
        "the private key in {} is damaged, or of a kind that is not known here; restore it from a \
         backup, or enroll anew with a token",
        shown(.0)
    )]
    Key(PathBuf),
    /// The private key belongs to another certificate.
    #[error(
        "the private key in {} does not belong to the first certificate in {}; \
         restore the file that fits, or enroll anew with a token",
        shown(key),
        shown(cert)
    )]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// rustls refused the configuration as a whole.
    #[error("TLS cannot be set up from {}: {reason}", shown(path))]
    Setup {
        /// The file that it depends on.
        path: PathBuf,
        /// rustls's reason.
        reason: String,
    },
}

/// Returns the error for what rustls refused, with the file that it depends on.
pub(super) fn setup(path: &Path, error: &dyn Error) -> TlsError {
    TlsError::Setup { path: path.to_owned(), reason: error.to_string() }
}
