//! The decision which server is the host that was dialled.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    CertificateError, Error, RootCertStore,
    client::{
        WebPkiServerVerifier,
        danger::{ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor as verify_chain,
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms},
    server::ParsedCertificate,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{
    error::{TlsError, setup},
    files::ClientFiles,
    load,
    signatures::tls13_signatures,
};
use crate::{crl::CrlSet, mapping::Mapping, x509::Certificate};

/// A verifier of servers, by the names in their certificates and by the rules of `identity.toml` for these.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    by_name: Arc<WebPkiServerVerifier>,
    mapping: Mapping,
    own: Arc<RootCertStore>,
    /// The authorities that vouch for the names of single rules only, by their files.
    outside: Vec<(PathBuf, RootCertStore)>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerVerifier {
    pub(super) fn new(
        files: &ClientFiles,
        mapping: Mapping,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let own = Arc::new(load::load_roots(&files.ca, load::CLIENT_CA_REMEDY)?);
        let lists = CrlSet::load(&files.list)
            .map_err(|error| TlsError::Lists { path: files.list.clone(), error })?;
        let lists = lists.iter().flat_map(CrlSet::all).map(|list| list.der().clone());
        // A list past its date still shows who was revoked until then. A client gets the next list with its
        // certificate, and is let in by no server long after.
        let builder =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&own), Arc::clone(provider))
                .with_crls(lists)
                .only_check_end_entity_revocation()
                .allow_unknown_revocation_status();
        let by_name = builder.build().map_err(|error| setup(&files.ca, &error))?;
        let outside = external_roots(&mapping)?;
        let algorithms = provider.signature_verification_algorithms;
        Ok(Self { by_name, mapping, own, outside, algorithms })
    }

    /// Returns whether a rule maps the certificate to the host, and the authorities that the rule names vouch
    /// for it.
    fn is_mapped(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> bool {
        let (Ok(facts), Ok(parsed)) = (Certificate::parse(leaf), ParsedCertificate::try_from(leaf))
        else {
            return false;
        };
        self.mapping.vouchers_of_host(&facts, &name.to_str()).into_iter().any(|voucher| {
            let roots = match voucher {
                None => Some(self.own.as_ref()),
                Some(ca) => {
                    self.outside.iter().find(|(path, _)| path == ca).map(|(_, roots)| roots)
                }
            };
            let algorithms = self.algorithms.all;
            roots.is_some_and(|roots| verify_chain(&parsed, roots, rest, now, algorithms).is_ok())
        })
    }
}

/// Returns the authorities in the files that a mapping names.
pub(super) fn external_roots(mapping: &Mapping) -> Result<Vec<(PathBuf, RootCertStore)>, TlsError> {
    const REMEDY: &str = "identity.toml names it: put the authority's certificates there";

    let files = mapping.authorities().into_iter();
    files.map(|path| Ok((path.to_owned(), load::load_roots(path, REMEDY)?))).collect()
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.by_name.verify_server_cert(leaf, rest, name, ocsp, now).or_else(|error| {
            // The name is judged last: a revoked certificate is revoked under every name.
            let revoked = matches!(error, Error::InvalidCertificate(CertificateError::Revoked));
            match !revoked && self.is_mapped(leaf, rest, name, now) {
                true => Ok(ServerCertVerified::assertion()),
                false => Err(error),
            }
        })
    }

    tls13_signatures!();
}
