//! Loads an authority from its files.

use rcgen::{KeyPair, PublicKeyData as _};
use rcmd_certs::{
    files::{self, shown},
    paths::Layout,
    text::printable,
    tls::{self, TlsError},
    x509::Certificate,
};
use rustls::server::ParsedCertificate;
use rustls_pki_types::PrivateKeyDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use super::{authority::Authority, error::AuthorityError};

const NO_AUTHORITY: &str =
    "make an authority with `rcmd-certs init`, or name its folder with --dir DIR";

impl Authority {
    /// Checks that this process may use the authority's key, without reading it.
    ///
    /// # Errors
    /// [`AuthorityError`] when it is missing, open to others, or another user's.
    pub(crate) fn check_key(layout: &Layout) -> Result<(), AuthorityError> {
        let path = layout.authority_key();
        Ok(files::check_key(&path).map_err(|error| match error.is_missing() {
            true => TlsError::Missing { path, remedy: NO_AUTHORITY },
            false => error.into(),
        })?)
    }

    /// Loads an authority from `authority/cert.pem` and `authority/key.pem`, and the root of an
    /// intermediate also from `ca.pem`.
    ///
    /// # Errors
    /// [`AuthorityError`] when they are missing, unsafe, do not match, or are no authority's.
    pub fn load(layout: &Layout) -> Result<Self, AuthorityError> {
        let (cert_path, key_path) = (layout.authority_cert(), layout.authority_key());
        let mut chain = tls::load_all(&cert_path, NO_AUTHORITY)?;
        let private: PrivateKeyDer<'static> = tls::load_key(&key_path, NO_AUTHORITY)?;
        let key = KeyPair::try_from(&private).map_err(|_| TlsError::Key(key_path.clone()))?;
        let own = chain.first().ok_or_else(|| TlsError::NoCertificate(cert_path.clone()))?;
        let unusable = |error: rustls::Error| TlsError::Certificate {
            path: cert_path.clone(),
            number: 1,
            reason: error.to_string(),
        };
        let parsed = ParsedCertificate::try_from(own).map_err(unusable)?;
        if parsed.subject_public_key_info().as_ref() != key.subject_public_key_info() {
            return Err(TlsError::Mismatch { cert: cert_path, key: key_path }.into());
        }
        let own_facts = Certificate::parse(own)?;
        if !own_facts.is_ca {
            return Err(AuthorityError::NotAuthority(printable(&own_facts.subject)));
        }
        let root = match chain.iter().position(|der| signed(der, der)) {
            Some(at) => {
                let root = chain.get(at).cloned();
                chain.truncate(at.max(1));
                root
            }
            None => {
                let trusted = tls::load_all(&layout.ca(), NO_AUTHORITY)?;
                let last = chain.last();
                trusted.into_iter().find(|root| last.is_some_and(|last| signed(last, root)))
            }
        };
        let linked = chain.windows(2).all(|pair| matches!(pair, [a, b] if signed(a, b)));
        match root.filter(|root| linked && chain.last().is_some_and(|last| signed(last, root))) {
            Some(root) => Self::new(chain, root, key),
            None => Err(AuthorityError::NoRoot(printable(&own_facts.subject), shown(&cert_path))),
        }
    }
}

/// Returns whether the key of `issuer` signed `subject`; a root vouches for itself.
fn signed(subject: &[u8], issuer: &[u8]) -> bool {
    let (Ok((_, child)), Ok((_, parent))) =
        (X509Certificate::from_der(subject), X509Certificate::from_der(issuer))
    else {
        return false;
    };
    child.issuer().as_raw() == parent.subject().as_raw()
        && (subject == issuer || child.verify_signature(Some(parent.public_key())).is_ok())
}
