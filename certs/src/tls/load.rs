//! Reads PEM files into the types of rustls.

use std::path::Path;

use rustls::{
    InconsistentKeys, RootCertStore,
    crypto::CryptoProvider,
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::error::TlsError;
use crate::{
    files::{self, FileError},
    names::Kind,
    paths::Layout,
    pem::PemFault,
    x509::Certificate,
};

/// The most certificates that one file may hold; a bundle of all public authorities has 150.
const MAX_CERTIFICATES: usize = 1024;

const ANY_REMEDY: &str = "name the folder with --dir DIR, or enroll with a token of \
     `rcmd-certs token` (`rcmd-server enroll`, `rcmd-client enroll`)";
pub(super) const SERVER_CA_REMEDY: &str = "it says which clients to let in: `rcmd-server enroll` \
     brings it, with a token of `rcmd-certs token server NAME`; name the folder with --dir DIR, or \
     try `rcmd-certs quickstart DIR`";
pub(super) const CLIENT_CA_REMEDY: &str = "it says which servers to trust: `rcmd-client enroll` \
     brings it, with a token of `rcmd-certs token client USER`; name the folder with --dir DIR, or \
     try `rcmd-certs quickstart DIR`";

/// Reads all certificates of a PEM file, in order, and skips other sections. `remedy` is what to do when
/// there is no such file.
///
/// # Errors
/// [`TlsError`] when the file is missing, unsafe, or has no certificate.
pub fn certificates(
    path: &Path,
    remedy: &'static str,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = files::read_public(path).map_err(|error| missing(error, remedy))?;
    sections(path, &pem)
}

fn sections(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate
            .map_err(|error| TlsError::Pem { path: path.to_owned(), fault: error.into() })?;
        found.push(certificate);
        if found.len() > MAX_CERTIFICATES {
            return Err(TlsError::Pem { path: path.to_owned(), fault: PemFault::TooMuch });
        }
    }
    if found.is_empty() { Err(TlsError::NoCertificate(path.to_owned())) } else { Ok(found) }
}

/// Returns the authorities to trust. `remedy` is what to do when there is no such file. A broken
/// certificate among good ones is an error too, since whoever put it there relies on it.
pub(super) fn load_roots(path: &Path, remedy: &'static str) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for (index, der) in certificates(path, remedy)?.into_iter().enumerate() {
        roots.add(der).map_err(|error| TlsError::Certificate {
            path: path.to_owned(),
            number: index + 1,
            reason: error.to_string(),
        })?;
    }
    Ok(roots)
}

/// Returns the facts of all certificates in a PEM file, in order.
///
/// # Errors
/// [`TlsError`] when the file is missing, unsafe, or has no certificate or an unreadable one.
pub fn load_certificates(path: &Path) -> Result<Vec<Certificate>, TlsError> {
    read_all(path, &certificates(path, ANY_REMEDY)?)
}

/// Returns the facts of all certificates in PEM that was read from `path`, in order, to be shown.
///
/// # Errors
/// [`TlsError`] when there is none, or an unreadable one.
pub fn shown_certificates(path: &Path, pem: &[u8]) -> Result<Vec<Certificate>, TlsError> {
    read_all(path, &sections(path, pem)?)
}

fn read_all(path: &Path, all: &[CertificateDer<'_>]) -> Result<Vec<Certificate>, TlsError> {
    all.iter().enumerate().map(|(index, der)| read(path, index + 1, der)).collect()
}

/// Returns the facts of the first certificate in a PEM file, the one that its private key belongs
/// to.
///
/// # Errors
/// [`TlsError`] when the file is missing, unsafe, or has no readable certificate.
pub fn load_leaf(path: &Path) -> Result<Certificate, TlsError> {
    read(path, 1, &load_first(path, ANY_REMEDY)?)
}

/// Returns the first certificate of a PEM file.
pub(crate) fn load_first(
    path: &Path,
    remedy: &'static str,
) -> Result<CertificateDer<'static>, TlsError> {
    let first = certificates(path, remedy)?.into_iter().next();
    first.ok_or_else(|| TlsError::NoCertificate(path.to_owned()))
}

/// Returns the certificates whose revocation lists a member accepts: those in its `ca.pem`, and the
/// intermediates after its own certificate.
///
/// # Errors
/// [`TlsError`] when a file is missing or unusable.
pub fn crl_issuers(layout: &Layout, kind: Kind) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let remedy = match kind {
        Kind::Server => "enroll with `rcmd-server enroll --token-file FILE`",
        Kind::Client => "enroll with `rcmd-client enroll --token-file FILE`",
    };
    let mut all = certificates(&layout.ca(), remedy)?;
    all.extend(certificates(&layout.member_cert(kind), remedy)?.into_iter().skip(1));
    Ok(all)
}

pub(super) fn read(path: &Path, number: usize, der: &[u8]) -> Result<Certificate, TlsError> {
    Certificate::parse(der).map_err(|error| TlsError::Certificate {
        path: path.to_owned(),
        number,
        reason: error.to_string(),
    })
}

/// Returns a chain and the key of its first certificate.
pub(super) fn pair(
    cert: &Path,
    key: &Path,
    remedy: &'static str,
    provider: &CryptoProvider,
) -> Result<SingleCertAndKey, TlsError> {
    let chain = certificates(cert, remedy)?;
    if let Some(leaf) = chain.first() {
        read(cert, 1, leaf)?;
    }
    let private = private_key(key, remedy)?;
    CertifiedKey::from_der(chain, private, provider).map(SingleCertAndKey::from).map_err(|error| {
        match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                TlsError::Mismatch { cert: cert.to_owned(), key: key.to_owned() }
            }
            rustls::Error::InvalidCertificate(reason) => TlsError::Certificate {
                path: cert.to_owned(),
                number: 1,
                reason: reason.to_string(),
            },
            _ => TlsError::Key(key.to_owned()),
        }
    })
}

/// Reads the first private key of a PEM file: PKCS #8, SEC1 or PKCS #1. `remedy` is what to do when
/// there is no such file.
///
/// # Errors
/// [`TlsError`] when the file is missing, unsafe, or has no key that can be read.
pub fn private_key(path: &Path, remedy: &'static str) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = files::read_private(path).map_err(|error| missing(error, remedy))?;
    let pem = pem.expose();
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match PemFault::from(error) {
        // The old form of encryption puts headers into the section, which are not base64.
        _ if is_encrypted(pem) => TlsError::EncryptedKey(path.to_owned()),
        PemFault::Nothing => TlsError::NoKey(path.to_owned()),
        fault => TlsError::Pem { path: path.to_owned(), fault },
    })
}

fn is_encrypted(pem: &[u8]) -> bool {
    let has = |mark: &[u8]| pem.windows(mark.len()).any(|window| window == mark);
    has(b"BEGIN ENCRYPTED PRIVATE KEY") || has(b"Proc-Type: 4,ENCRYPTED")
}

fn missing(error: FileError, remedy: &'static str) -> TlsError {
    match error {
        FileError::Missing(path) => TlsError::Missing { path, remedy },
        other => TlsError::File(other),
    }
}
