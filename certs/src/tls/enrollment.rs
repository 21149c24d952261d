//! TLS between a member and its authority.
//!
//! The member knows the authority by the public key of its root, which the token carried. Names do not
//! matter, so that an authority may move. The URI [`LISTENER`] in the peer's certificate, which no member's
//! has, shows that the peer is the authority itself, and not one of the servers that it certified.
//!
//! The authority accepts any client certificate, even an expired one: the handshake proves the key, and the
//! authority's store has the holder of the key. Nothing in such a certificate is trusted.

use std::sync::Arc;

use rustls::{
    CertificateError, ClientConfig, DistinguishedName, Error, RootCertStore, ServerConfig,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms},
    server::{
        NoServerSessionStorage, ParsedCertificate,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::{config::provider, error::TlsError, load, remedy, signatures::tls13_signatures};
use crate::{fingerprint::Fingerprint, names::Kind, paths::Layout, x509::Certificate};

/// The name in TLS (RFC 7301) of the protocol between a member and its authority. Its number rises
/// with changes that older peers cannot follow.
pub const AUTHORITY_ALPN: &[u8] = b"rcmd-authority/1";

/// The URI that marks the certificate of an authority's listener.
pub const LISTENER: &str = "rcmd://authority";

/// The name in that certificate. It is the same for every authority (RFC 6761 section 6.4), since the key
/// decides and not the name.
pub const LISTENER_NAME: &str = "rcmd-authority.invalid";

/// Returns the configuration of an authority's listener: its chain, the root last, and its key in
/// PKCS #8.
///
/// # Errors
/// [`rustls::Error`] when chain and key do not match, or cannot be used.
pub fn listener_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, Error> {
    let provider = provider();
    let pair = SingleCertAndKey::from(CertifiedKey::from_der(chain, key, &provider)?);
    let verifier = KeyProofVerifier { algorithms: provider.signature_verification_algorithms };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(pair));
    config.alpn_protocols = vec![AUTHORITY_ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Returns a member's configuration. `authorities` are the roots that it knows; `member` is the identity that
/// it proves, if it has one.
///
/// # Errors
/// [`TlsError`] when the identity's files cannot be used.
pub fn contact_config(
    authorities: &[Fingerprint],
    member: Option<(&Layout, Kind)>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = provider();
    let verifier = PinnedRootVerifier {
        authorities: authorities.to_vec(),
        algorithms: provider.signature_verification_algorithms,
        provider: Arc::clone(&provider),
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| TlsError::Setup { path: "TLS 1.3".into(), reason: error.to_string() })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match member {
        None => builder.with_no_client_auth(),
        Some((layout, kind)) => {
            let (cert, key) = (layout.member_cert(kind), layout.member_key(kind));
            let pair = load::pair(&cert, &key, remedy::enroll(kind), &provider)?;
            builder.with_client_cert_resolver(Arc::new(pair))
        }
    };
    config.alpn_protocols = vec![AUTHORITY_ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Returns the name that a member asks for, whatever address it dials.
///
/// # Errors
/// Never fails: the name is a constant.
pub fn listener_name() -> Result<ServerName<'static>, Error> {
    ServerName::try_from(LISTENER_NAME).map_err(|error| Error::General(error.to_string()))
}

/// A verifier that accepts a listener that an authority with a known root key certified as its own.
#[derive(Debug)]
struct PinnedRootVerifier {
    authorities: Vec<Fingerprint>,
    algorithms: WebPkiSupportedAlgorithms,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedRootVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut roots = RootCertStore::empty();
        for der in chain {
            let known = |facts: &Certificate| self.authorities.contains(&facts.key);
            if Certificate::parse(der).is_ok_and(|facts| known(&facts)) {
                roots.add(der.clone().into_owned())?;
            }
        }
        if roots.is_empty() {
            return Err(CertificateError::UnknownIssuer.into());
        }
        let provider = Arc::clone(&self.provider);
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| Error::General(error.to_string()))?
            .verify_server_cert(leaf, chain, name, ocsp, now)?;
        let facts = Certificate::parse(leaf).map_err(|_| CertificateError::BadEncoding)?;
        if facts.names.uris.iter().any(|uri| uri == LISTENER) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::InvalidPurpose.into())
        }
    }

    tls13_signatures!();
}

/// A verifier that accepts any peer that proves the key of the certificate it presents, and peers without one.
#[derive(Debug)]
struct KeyProofVerifier {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for KeyProofVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // A readable certificate is enough: the store decides by the key.
        ParsedCertificate::try_from(leaf).map(|_| ClientCertVerified::assertion())
    }

    tls13_signatures!();
}
