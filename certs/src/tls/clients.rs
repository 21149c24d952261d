//! Who may come in to a server, and stay.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::span;
use crate::identity::Identity;
use crate::revocation::Lists;

/// What a server knows of revocations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// It never enrolled: nobody revokes anything for it.
    NotNeeded,
    /// It needs a list and has none: nobody comes in, emergencies apart.
    Missing,
    /// The lists; past their date nobody comes in, emergencies apart.
    Known(Lists),
}

/// Judges clients: in the handshake, and again while they are connected.
///
/// One whose certificate is for an emergency ([`crate::identity::BREAK_GLASS`]) is judged without
/// lists.
#[derive(Debug)]
pub struct Clients {
    by_chain: Arc<dyn ClientCertVerifier>,
    /// `None` while the lists are missing.
    by_lists: Option<Arc<dyn ClientCertVerifier>>,
}

/// Why a client that was let in has to go.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cut {
    /// Its certificate's time is over.
    #[error("your certificate ended{}", ago(*.0))]
    Ended(Option<u64>),
    /// Its certificate stands on a list.
    #[error("your certificate has been revoked")]
    Revoked,
    /// Nobody trusted here stands behind it any more.
    #[error("the authority that signed your certificate is no longer trusted here")]
    Untrusted,
}

fn ago(seconds: Option<u64>) -> String {
    seconds.map(|seconds| format!(" {} ago", span(seconds))).unwrap_or_default()
}

impl Cut {
    /// What the client's user can do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Ended(_) => {
                "Renew it with `rcmd-client enroll --renew`; one that was issued by hand: \
                 `rcmd-certs issue client NAME --force`."
            }
            Self::Revoked => {
                "Ask whoever runs the authority; a new identity needs a new token: \
                 `rcmd-client enroll TOKEN`."
            }
            Self::Untrusted => "Renew it with `rcmd-client enroll --renew`.",
        }
    }
}

impl Clients {
    pub(super) fn new(
        roots: Arc<RootCertStore>,
        revocation: &Revocation,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, VerifierBuilderError> {
        let builder = || {
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider))
        };
        let by_chain = builder().build()?;
        let by_lists = match revocation {
            Revocation::NotNeeded => Some(Arc::clone(&by_chain)),
            Revocation::Missing => None,
            Revocation::Known(lists) => {
                let lists = lists.all().iter().map(|list| list.der().clone());
                // Members alone are revoked; no list speaks of intermediates.
                let listed = builder().with_crls(lists).only_check_end_entity_revocation();
                Some(listed.enforce_revocation_expiration().build()?)
            }
        };
        Ok(Self { by_chain, by_lists })
    }

    /// Judges one who was let in: its chain, leaf first, at `now`. That the lists have become too old
    /// meanwhile is no reason to send anybody away.
    ///
    /// # Errors
    ///
    /// [`Cut`].
    pub fn judge(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Cut> {
        let Some((leaf, rest)) = chain.split_first() else { return Err(Cut::Untrusted) };
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

fn cut(error: &Error) -> Cut {
    match error {
        Error::InvalidCertificate(CertificateError::Revoked) => Cut::Revoked,
        Error::InvalidCertificate(CertificateError::Expired) => Cut::Ended(None),
        Error::InvalidCertificate(CertificateError::ExpiredContext { time, not_after }) => {
            Cut::Ended(Some(time.as_secs().saturating_sub(not_after.as_secs())))
        }
        _ => Cut::Untrusted,
    }
}

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.by_chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if Identity::from_der(leaf).is_ok_and(|identity| identity.is_break_glass()) {
            return self.by_chain.verify_client_cert(leaf, rest, now);
        }
        // Its own alert (access_denied), so that the client is not told of an unknown authority.
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

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_chain.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_chain.supported_verify_schemes()
    }
}
