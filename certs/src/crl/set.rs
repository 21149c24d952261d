//! Revocation lists and sets of them, as they are read.

use std::path::Path;

use rustls_pki_types::{CertificateRevocationListDer, pem::PemObject};
use x509_parser::{prelude::FromDer, revocation_list::CertificateRevocationList};

use crate::{
    files::{self, FileError},
    fingerprint::Fingerprint,
    pem::{PemFault, pem},
    x509::serial_text,
};

/// The most lists in one file: an authority and its predecessors.
const MAX_LISTS: usize = 16;
/// The most bytes in a file of lists: the lists of an authority's largest answer (`MAX_RESPONSE` of
/// `enroll::message`), in PEM.
pub const MAX_LIST_FILE: u64 = 5 * 1024 * 1024;

/// The list of the revoked certificates of one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crl {
    pub(super) der: CertificateRevocationListDer<'static>,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// The list's number, which rises with each new list (RFC 5280 section 5.2.3).
    pub number: u64,
    /// The time at which it was issued, in Unix time.
    pub this_update: i64,
    /// The time by which the next list is due, in Unix time. Past it, this list is not accepted.
    pub next_update: i64,
    /// The serial numbers, in lower-case hexadecimal.
    pub revoked: Vec<String>,
}

/// A list that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CrlError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not PEM.
    #[error("the revocation list is not readable as PEM: {0}")]
    Pem(PemFault),
    /// The file holds no list.
    #[error("there is no revocation list (a `-----BEGIN X509 CRL-----` section)")]
    Empty,
    /// The file holds too many lists.
    #[error(
        "there are more than {MAX_LISTS} revocation lists; keep only the newest list of each authority"
    )]
    TooMany,
    /// A list is not a CRL in DER, or is broken.
    #[error("not a readable revocation list ({0})")]
    Encoding(String),
    /// A list that RFC 5280 allows lacks something that rcmd needs.
    #[error("the revocation list has no {0}")]
    Incomplete(&'static str),
}

impl Crl {
    /// Reads one list.
    ///
    /// # Errors
    /// [`CrlError`] when it is broken, or lacks a number or a date.
    pub fn from_der(der: &[u8]) -> Result<Self, CrlError> {
        let (rest, list) = CertificateRevocationList::from_der(der)
            .map_err(|error| CrlError::Encoding(error.to_string()))?;
        if !rest.is_empty() {
            return Err(CrlError::Encoding(format!("{} bytes follow it", rest.len())));
        }
        let number = list.crl_number().ok_or(CrlError::Incomplete("number"))?;
        let next = list.next_update().ok_or(CrlError::Incomplete("date of the next one"))?;
        Ok(Self {
            issuer: list.issuer().to_string(),
            number: number.try_into().map_err(|_| CrlError::Incomplete("number below 2^64"))?,
            this_update: list.last_update().timestamp(),
            next_update: next.timestamp(),
            revoked: list
                .iter_revoked_certificates()
                .map(|entry| serial_text(entry.raw_serial()))
                .collect(),
            der: der.to_vec().into(),
        })
    }

    /// Returns the list in DER, as rustls takes it.
    pub fn der(&self) -> &CertificateRevocationListDer<'static> {
        &self.der
    }

    /// Returns the list in PEM.
    pub fn pem(&self) -> String {
        pem("X509 CRL", &self.der)
    }
}

/// The lists of one number: one for each key that the authority signs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrlSet {
    pub(super) all: Vec<Crl>,
    pub(super) roots: Vec<Fingerprint>,
}

impl CrlSet {
    /// Returns a set of these lists.
    ///
    /// # Errors
    /// [`CrlError`] when there is none, or there are too many.
    pub fn new(all: Vec<Crl>) -> Result<Self, CrlError> {
        match all.len() {
            0 => Err(CrlError::Empty),
            1..=MAX_LISTS => Ok(Self { all, roots: Vec::new() }),
            _ => Err(CrlError::TooMany),
        }
    }

    /// Returns this set with the roots that came with it.
    pub(crate) fn with_roots(self, roots: Vec<Fingerprint>) -> Self {
        Self { roots, ..self }
    }

    /// Returns the roots that members are to trust, by their keys, the one that signs first; none
    /// if the lists came from a file.
    pub fn roots(&self) -> &[Fingerprint] {
        &self.roots
    }

    /// Reads the lists in PEM.
    ///
    /// # Errors
    /// [`CrlError`] when there is none, or one is broken.
    pub fn from_pem(pem: &[u8]) -> Result<Self, CrlError> {
        let mut all = Vec::new();
        for der in CertificateRevocationListDer::pem_slice_iter(pem).take(MAX_LISTS + 1) {
            let der = der.map_err(|error| CrlError::Pem(error.into()))?;
            all.push(Crl::from_der(&der)?);
        }
        Self::new(all)
    }

    /// Reads a file of lists. `None` if there is no such file.
    ///
    /// # Errors
    /// [`CrlError`] when it cannot be used.
    pub fn load(path: &Path) -> Result<Option<Self>, CrlError> {
        match files::read_public_up_to(path, MAX_LIST_FILE) {
            Ok(pem) => Self::from_pem(&pem).map(Some),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the lists.
    pub fn all(&self) -> &[Crl] {
        &self.all
    }

    /// Returns their number; the lowest, should they differ.
    pub fn number(&self) -> u64 {
        self.all.iter().map(|list| list.number).min().unwrap_or_default()
    }

    /// Returns the time at which the oldest was issued, in Unix time.
    pub fn this_update(&self) -> i64 {
        self.all.iter().map(|list| list.this_update).min().unwrap_or_default()
    }

    /// Returns the time until which all of them are valid, in Unix time.
    pub fn next_update(&self) -> i64 {
        self.all.iter().map(|list| list.next_update).min().unwrap_or_default()
    }

    /// Returns whether a certificate with this serial number, in lower-case hexadecimal, is on one
    /// of them.
    pub fn contains(&self, serial: &str) -> bool {
        self.all.iter().flat_map(|list| &list.revoked).any(|revoked| revoked == serial)
    }

    /// Returns all of them in PEM, one after the other.
    pub fn pem(&self) -> String {
        self.all.iter().map(Crl::pem).collect()
    }
}
