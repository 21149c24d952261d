//! The decision whether new lists take the place of those in use.

use std::path::Path;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls_pki_types::CertificateDer;
use x509_parser::{
    certificate::X509Certificate, der_parser::Oid, prelude::FromDer,
    revocation_list::CertificateRevocationList,
};

use super::set::{Crl, CrlError, CrlSet};
use crate::{
    clock::span,
    files::{self, Existing, FileError, NewFile},
    text::printable,
};

/// The reason why lists were not accepted. The lists from before stay in use.
#[derive(Debug, thiserror::Error)]
pub enum CrlRefused {
    /// The lists cannot be read.
    #[error(transparent)]
    Unreadable(#[from] CrlError),
    /// No authority that is trusted here signed any of them.
    #[error(
        "the revocation list is foreign: it says that `{}` issued it, and no trusted authority of \
         that name signed it; fetch it from this server's own authority",
        printable(.0)
    )]
    Foreign(String),
    /// A newer list is already in use.
    #[error(
        "the revocation list is older than the one in use: its number is {new}, not above {old}"
    )]
    Older {
        /// The number of the refused list.
        new: u64,
        /// The number of the list in use.
        old: u64,
    },
    /// The lists are past their date.
    #[error(
        "the revocation list ended {} ago; is `rcmd-certs serve` running, and is the clock right?",
        span(*.0)
    )]
    Stale(u64),
}

impl CrlSet {
    /// Returns those lists of `self` with which a server that trusts `authorities` replaces `current`. A list of
    /// an authority that is not known here (yet, or any more) is left out.
    ///
    /// # Errors
    /// [`CrlRefused`] when none is signed by one of them, when they are past their date at `now`
    /// (Unix time), or when `current` has a higher number from the same issuer.
    pub fn accept(
        self,
        current: Option<&Self>,
        authorities: &[CertificateDer<'_>],
        now: i64,
    ) -> Result<Self, CrlRefused> {
        let lists = self.known(authorities)?;
        let left = lists.next_update().saturating_sub(now);
        if left < 0 {
            return Err(CrlRefused::Stale(left.unsigned_abs()));
        }
        for list in &lists.all {
            let before = current.into_iter().flat_map(Self::all);
            if let Some(old) =
                before.filter(|old| old.issuer == list.issuer).map(|old| old.number).max()
                && old > list.number
            {
                return Err(CrlRefused::Older { new: list.number, old });
            }
        }
        Ok(lists)
    }

    /// Returns the lists that one of these authorities signed.
    ///
    /// # Errors
    /// [`CrlRefused::Foreign`] when there is none.
    pub fn known(self, authorities: &[CertificateDer<'_>]) -> Result<Self, CrlRefused> {
        let issuer = self.all.first().map(|list| list.issuer.clone()).unwrap_or_default();
        let is_known =
            |list: &Crl| authorities.iter().any(|authority| is_signed_by(&list.der, authority));
        let all: Vec<_> = self.all.iter().filter(|list| is_known(list)).cloned().collect();
        if all.is_empty() { Err(CrlRefused::Foreign(issuer)) } else { Ok(Self { all, ..self }) }
    }

    /// Writes the file that [`CrlSet::load`] reads, atomically.
    ///
    /// # Errors
    /// [`FileError`] when the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        let pem = self.pem();
        let file = NewFile { path, bytes: pem.as_bytes(), private: false };
        files::write_all(&[file], Existing::Replace)
    }
}

/// Returns whether an authority of this name and key signed the list (RFC 5280 section 6.3.3, f and
/// g).
fn is_signed_by(list: &[u8], authority: &[u8]) -> bool {
    let (Ok((_, list)), Ok((_, authority))) =
        (CertificateRevocationList::from_der(list), X509Certificate::from_der(authority))
    else {
        return false;
    };
    let key = authority.public_key();
    if !authority.is_ca() || list.issuer().as_raw() != authority.subject().as_raw() {
        return false;
    }
    let (signature, message) = (&list.signature_value.data, list.tbs_cert_list.as_ref());
    default_provider().signature_verification_algorithms.all.iter().any(|algorithm| {
        names(&algorithm.signature_alg_id(), &list.signature_algorithm.algorithm)
            && names(&algorithm.public_key_alg_id(), &key.algorithm.algorithm)
            && algorithm.verify_signature(&key.subject_public_key.data, message, signature).is_ok()
    })
}

/// Returns whether an algorithm's identifier in DER begins with this object identifier.
fn names(identifier: &[u8], oid: &Oid<'_>) -> bool {
    let oid = oid.as_bytes();
    // Tag 6, and a length, which is one byte for every known algorithm.
    identifier
        .strip_prefix(&[6])
        .and_then(|rest| rest.split_first())
        .is_some_and(|(&length, rest)| usize::from(length) == oid.len() && rest.starts_with(oid))
}
