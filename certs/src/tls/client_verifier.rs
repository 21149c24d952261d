//! The decision which clients a server lets in, and keeps.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    CertificateError, DistinguishedName, Error, RootCertStore,
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms},
    server::{
        VerifierBuilderError, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::signatures::tls13_signatures;
use crate::{
    clock::span,
    crl::CrlSet,
    identity::{Identity, IdentityError},
    mapping::Mapping,
    x509::Certificate,
};

/// A server's knowledge of revocations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// The server never enrolled: nobody revokes certificates for it.
    NotNeeded,
    /// The server needs a list and has none: nobody is let in, except for emergencies.
    Missing,
    /// The lists. Past their date nobody is let in, except for emergencies.
    Known(CrlSet),
}

/// A verifier of clients: in the handshake, and again while they are connected.
///
/// A client whose certificate is for an emergency ([`crate::identity::BREAK_GLASS`]) is judged without
/// lists. So is one whom another authority names by a rule of `identity.toml`: that authority must handle
/// revocations itself.
#[derive(Debug)]
pub struct ClientVerifier {
    by_chain: Arc<dyn ClientCertVerifier>,
    /// The verifier with the lists; `None` while they are missing.
    by_lists: Option<Arc<dyn ClientCertVerifier>>,
    mapping: Mapping,
    /// The authorities that vouch for the names of single rules only, by their files.
    outside: Vec<(PathBuf, Arc<dyn ClientCertVerifier>)>,
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// The reason why a client that was let in must go.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Revalidation {
    /// The client's certificate has expired. Contains the seconds since then, if they are known.
    #[error("your certificate ended{}", ago(*.0))]
    Ended(Option<u64>),
    /// The client's certificate is on a revocation list.
    #[error("your certificate has been revoked")]
    Revoked,
    /// No authority that is trusted here vouches for it any more.
    #[error("the authority that signed your certificate is no longer trusted here")]
    Untrusted,
}

fn ago(seconds: Option<u64>) -> String {
    seconds.map(|seconds| format!(" {} ago", span(seconds))).unwrap_or_default()
}

impl Revalidation {
    /// Returns what the client's user can do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Ended(_) => {
                "Renew it with `rcmd-client enroll --renew`; one that no token brought needs one of \
                 `rcmd-certs token client USER`."
            }
            Self::Revoked => {
                "Ask whoever runs the authority: a new identity takes a new token and \
                 `rcmd-client enroll`."
            }
            Self::Untrusted => "Renew it with `rcmd-client enroll --renew`.",
        }
    }
}

impl ClientVerifier {
    pub(super) fn new(
        roots: Arc<RootCertStore>,
        mapping: Mapping,
        outside: Vec<(PathBuf, RootCertStore)>,
        revocation: &Revocation,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, VerifierBuilderError> {
        let by = |roots: Arc<RootCertStore>| {
            WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider))
        };
        let builder = || by(Arc::clone(&roots));
        let by_chain = builder().build()?;
        let verifier = |(path, roots): (_, RootCertStore)| {
            by(roots.into()).build().map(|verifier| (path, verifier))
        };
        let outside = outside.into_iter().map(verifier).collect::<Result<Vec<_>, _>>()?;
        let hints = std::iter::once(&by_chain).chain(outside.iter().map(|(_, verifier)| verifier));
        let hints = hints.flat_map(|verifier| verifier.root_hint_subjects().to_vec()).collect();
        let by_lists = match revocation {
            Revocation::NotNeeded => Some(Arc::clone(&by_chain)),
            Revocation::Missing => None,
            Revocation::Known(lists) => {
                let lists = lists.all().iter().map(|list| list.der().clone());
                // Only members' certificates are revoked: no list covers intermediates.
                let listed = builder().with_crls(lists).only_check_end_entity_revocation();
                Some(listed.enforce_revocation_expiration().build()?)
            }
        };
        let algorithms = provider.signature_verification_algorithms;
        Ok(Self { by_chain, by_lists, mapping, outside, hints, algorithms })
    }

    /// Returns the identity of the holder of a verified chain.
    ///
    /// # Errors
    /// [`IdentityError`] when its first certificate names nobody, or more than one.
    pub fn identify(
        &self,
        chain: Option<&[CertificateDer<'_>]>,
    ) -> Result<Identity, IdentityError> {
        let (leaf, rest) =
            chain.and_then(<[_]>::split_first).ok_or(IdentityError::NoCertificate)?;
        let facts = Certificate::parse(leaf)?;
        let voucher = self.outsider(leaf, &facts, rest, UnixTime::now());
        self.mapping.identify(&facts, voucher.map(|(ca, _)| ca.as_path()))
    }

    /// Returns the other authority that vouches for a client to whom our own gives no name.
    fn outsider(
        &self,
        leaf: &CertificateDer<'_>,
        facts: &Certificate,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Option<&(PathBuf, Arc<dyn ClientCertVerifier>)> {
        if self.outside.is_empty() || self.mapping.identify(facts, None).is_ok() {
            return None;
        }
        self.outside.iter().find(|(ca, verifier)| {
            self.mapping.identify(facts, Some(ca)).is_ok()
                && verifier.verify_client_cert(leaf, rest, now).is_ok()
        })
    }

    /// Judges a client that was let in: its chain, leaf first, at `now`. Lists that have become too old
    /// meanwhile are no reason to send it away.
    ///
    /// # Errors
    /// Returns the reason why the client must go.
    pub fn judge(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Revalidation> {
        let Some((leaf, rest)) = chain.split_first() else { return Err(Revalidation::Untrusted) };
        match self.verify_client_cert(leaf, rest, now) {
            Ok(_) => Ok(()),
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)) => {
                match self.by_chain.verify_client_cert(leaf, rest, now) {
                    Ok(_) => Ok(()),
                    Err(error) => Err(cut(&error)),
                }
            }
            Err(error) => Err(cut(&error)),
        }
    }
}

fn cut(error: &Error) -> Revalidation {
    match error {
        Error::InvalidCertificate(CertificateError::Revoked) => Revalidation::Revoked,
        Error::InvalidCertificate(CertificateError::Expired) => Revalidation::Ended(None),
        Error::InvalidCertificate(CertificateError::ExpiredContext { time, not_after }) => {
            Revalidation::Ended(Some(time.as_secs().saturating_sub(not_after.as_secs())))
        }
        _ => Revalidation::Untrusted,
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let outsider = match self.outside.is_empty() {
            true => None,
            false => Certificate::parse(leaf)
                .ok()
                .and_then(|facts| self.outsider(leaf, &facts, rest, now)),
        };
        if let Some((_, verifier)) = outsider {
            return verifier.verify_client_cert(leaf, rest, now);
        }
        if Identity::from_der(leaf).is_ok_and(|identity| identity.is_break_glass()) {
            return self.by_chain.verify_client_cert(leaf, rest, now);
        }
        // An alert of its own (access_denied), so that the client is not told of an unknown authority.
        let no_list = || Error::from(CertificateError::ApplicationVerificationFailure);
        let by_lists = self.by_lists.as_ref().ok_or_else(no_list)?;
        by_lists.verify_client_cert(leaf, rest, now).map_err(|error| match error {
            Error::InvalidCertificate(
                CertificateError::ExpiredRevocationList
                | CertificateError::ExpiredRevocationListContext { .. }
                | CertificateError::UnknownRevocationStatus,
            ) => no_list(),
            other => other,
        })
    }

    tls13_signatures!();
}

#[cfg(test)]
mod tests;
