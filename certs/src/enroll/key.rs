//! A member's key, and the request to certify it (PKCS #10, RFC 2986).

use aws_lc_rs::{rand::SystemRandom, signature::Ed25519KeyPair};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::PrivatePkcs8KeyDer;

/// The reason why there is no key, or no request for one.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The operating system returned no random numbers.
    #[error("the operating system gave no random numbers")]
    Random,
    /// The library returned an error.
    #[error("the key could not be made or used: {0}")]
    Generate(#[from] rcgen::Error),
}

/// The kind of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyAlgorithm {
    /// Ed25519: the default. It signs and verifies fastest, its signatures need no random number
    /// that could be a bad one, and every TLS 1.3 library that rcmd meets has it: rustls, OpenSSL
    /// since 1.1.1, Go, Java since 15.
    #[default]
    Ed25519,
    /// ECDSA on P-256, for a key that lies in a TPM or a hardware module, and for FIPS rules that
    /// predate Ed25519.
    EcdsaP256,
}

impl KeyAlgorithm {
    /// Makes a key.
    ///
    /// # Errors
    /// [`KeyError`] when the system returns no random numbers.
    pub fn generate(self) -> Result<KeyPair, KeyError> {
        match self {
            // PKCS #8 in version 1: OpenSSL before 3.2 does not read the version 2 that
            // rcgen would write.
            Self::Ed25519 => {
                let document = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new())
                    .map_err(|_| KeyError::Random)?;
                let der = PrivatePkcs8KeyDer::from(document.as_ref());
                Ok(KeyPair::try_from(&der)?)
            }
            Self::EcdsaP256 => Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?),
        }
    }
}

/// Returns a request to certify `key`, in DER. It holds no names: an authority would not read them.
///
/// # Errors
/// [`KeyError`] when the key cannot sign.
pub fn request(key: &KeyPair) -> Result<Vec<u8>, KeyError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(key)?.der().to_vec())
}
