//! Seals: statements of a host, signed by the private key of its certificate.

use std::{path::Path, sync::Arc};

use rustls::{SignatureScheme, crypto::aws_lc_rs, sign::SigningKey};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::tls::{ServerFiles, TlsError, load_first, load_key, provider};

const REMEDY: &str =
    "name the folder with --dir DIR, or the certificate that the host had with --cert FILE";

/// The schemes that are allowed for seals, for all kinds of key that a certificate may have.
const SCHEMES: [SignatureScheme; 5] = [
    SignatureScheme::ED25519,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::RSA_PSS_SHA256,
];

/// A private key that seals.
#[derive(Clone, Debug)]
pub struct Signer {
    key: Arc<dyn SigningKey>,
    public: VerifyingKey,
}

/// The public key of a certificate: the bits of its subjectPublicKey (RFC 5280, 4.1.2.7).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifyingKey(Vec<u8>);

/// A signature, with its scheme.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signature {
    /// The number of the scheme in TLS (RFC 8446, 4.2.3).
    pub scheme: u16,
    /// The signature.
    pub signature: Vec<u8>,
}

/// The error of a key that can't sign.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// None of the key's schemes is known here.
    #[error("the server's key is of a kind that can't sign audit checkpoints")]
    Scheme,
    /// The library returned an error.
    #[error("the server's key can't sign: {0}")]
    Sign(rustls::Error),
}

impl Signer {
    /// Returns the key of a server.
    ///
    /// # Errors
    /// [`TlsError`] when its files can't be used.
    pub fn of(files: &ServerFiles) -> Result<Self, TlsError> {
        let public = VerifyingKey::of_certificate(&files.cert)?;
        let der = load_key(&files.key, REMEDY)?;
        let key = aws_lc_rs::sign::any_supported_type(&der)
            .map_err(|_| TlsError::Key(files.key.clone()))?;
        Ok(Self { key, public })
    }

    /// Returns the public half, as the certificate has it.
    pub fn public(&self) -> &VerifyingKey {
        &self.public
    }

    /// Signs a message.
    ///
    /// # Errors
    /// [`SignError`] when the key can't sign.
    pub fn sign(&self, message: &[u8]) -> Result<Signature, SignError> {
        let signer = self.key.choose_scheme(&SCHEMES).ok_or(SignError::Scheme)?;
        let signature = signer.sign(message).map_err(SignError::Sign)?;
        Ok(Signature { scheme: u16::from(signer.scheme()), signature })
    }
}

impl VerifyingKey {
    /// Returns the key of the first certificate in a PEM file.
    ///
    /// # Errors
    /// [`TlsError`] when there is no certificate that can be read.
    pub fn of_certificate(path: &Path) -> Result<Self, TlsError> {
        let der = load_first(path, REMEDY)?;
        let (_, certificate) = X509Certificate::from_der(&der).map_err(|error| {
            TlsError::Certificate { path: path.to_owned(), number: 1, reason: error.to_string() }
        })?;
        Ok(Self(certificate.public_key().subject_public_key.data.to_vec()))
    }

    /// Returns the key with these bits.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Returns the key's bits.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns whether this key made `signature` for this message.
    pub fn verifies(&self, signature: &Signature, message: &[u8]) -> bool {
        let scheme = SignatureScheme::from(signature.scheme);
        if !SCHEMES.contains(&scheme) {
            return false;
        }
        let known = provider().signature_verification_algorithms.mapping;
        known.iter().filter(|(offered, _)| *offered == scheme).any(|(_, algorithms)| {
            algorithms.iter().any(|algorithm| {
                algorithm.verify_signature(&self.0, message, &signature.signature).is_ok()
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(dir: &Path) -> Signer {
        let pair = rcgen::generate_simple_self_signed(vec!["host".to_owned()]).unwrap();
        let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
        std::fs::write(&cert, pair.cert.pem()).unwrap();
        std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&key, private).unwrap();
        Signer::of(&ServerFiles {
            ca: cert.clone(),
            identity: dir.join("identity.toml"),
            cert,
            key,
        })
        .unwrap()
    }

    #[test]
    fn a_seal_is_its_keys_and_its_messages_alone() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (one, other) = (signer(one.path()), signer(other.path()));
        let signature = one.sign(b"message").unwrap();
        assert!(one.public().verifies(&signature, b"message"));
        assert!(!one.public().verifies(&signature, b"another"));
        assert!(!other.public().verifies(&signature, b"message"));
        assert!(!VerifyingKey::from_bytes(vec![4; 65]).verifies(&signature, b"message"));
        assert!(!one.public().verifies(&Signature { scheme: 0, ..signature }, b"message"));
    }
}
