//! Certification requests (PKCS #10, RFC 2986): a public key, and the proof that the requester has
//! the private one.
//!
//! A request has room for names, usages, CA:TRUE and much else. None of it is read.

use rcgen::{
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData,
    SubjectPublicKeyInfo,
};
use rcmd_certs::fingerprint::Fingerprint;
use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer as _};

/// A public key whose holder proved to have the private one.
#[derive(Clone, Debug)]
pub struct ProvenKey {
    key: SubjectPublicKeyInfo,
    fingerprint: Fingerprint,
}

/// The reason why a request proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// The request is not a PKCS #10 in DER.
    #[error("not a certification request (PKCS #10 in DER)")]
    Encoding,
    /// The signer of the request does not have the key.
    #[error("the signature of the certification request is wrong")]
    Signature,
    /// The key is weak, or of a kind that rcmd's TLS does not accept.
    #[error("this kind of key is not supported; use Ed25519, ECDSA P-256 or P-384")]
    Algorithm,
}

impl ProvenKey {
    /// Returns the key of a request after a check of the request's signature.
    ///
    /// # Errors
    /// [`CsrError`] when the request proves nothing.
    pub fn from_request(der: &[u8]) -> Result<Self, CsrError> {
        let (rest, request) =
            X509CertificationRequest::from_der(der).map_err(|_| CsrError::Encoding)?;
        if !rest.is_empty() {
            return Err(CsrError::Encoding);
        }
        let key = Self::from_spki(request.certification_request_info.subject_pki.raw)?;
        request.verify_signature().map_err(|_| CsrError::Signature)?;
        Ok(key)
    }

    /// Returns a key that was proved otherwise, as by a TLS handshake (SubjectPublicKeyInfo in DER).
    ///
    /// # Errors
    /// [`CsrError::Algorithm`] when its kind is not accepted.
    pub(crate) fn from_spki(der: &[u8]) -> Result<Self, CsrError> {
        let key = SubjectPublicKeyInfo::from_der(der).map_err(|_| CsrError::Algorithm)?;
        let taken = [&PKCS_ED25519, &PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384];
        if !taken.contains(&key.algorithm()) {
            return Err(CsrError::Algorithm);
        }
        // The fingerprint is that of the key as certificates will hold it: a request may encode it in odd ways.
        let fingerprint = Fingerprint::of_key(&key.subject_public_key_info());
        Ok(Self { key, fingerprint })
    }

    /// Returns its fingerprint, which names the member.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

impl PublicKeyData for ProvenKey {
    fn der_bytes(&self) -> &[u8] {
        self.key.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.key.algorithm()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::KeyPair;
    use rcmd_certs::enroll::key::{KeyAlgorithm, request};

    #[test]
    fn a_request_gives_its_key_and_proves_it() {
        for algorithm in [KeyAlgorithm::Ed25519, KeyAlgorithm::EcdsaP256] {
            let key = algorithm.generate().unwrap();
            let proven = ProvenKey::from_request(&request(&key).unwrap()).unwrap();
            assert_eq!(proven.fingerprint(), Fingerprint::of_key(&key.subject_public_key_info()));
        }
    }

    #[test]
    fn a_changed_or_cut_request_proves_nothing() {
        let der = request(&KeyAlgorithm::Ed25519.generate().unwrap()).unwrap();
        for length in 0..der.len() {
            assert!(ProvenKey::from_request(&der[..length]).is_err(), "{length}");
        }
        let own = ProvenKey::from_request(&der).unwrap().fingerprint();
        let mut refused = 0;
        for at in 0..der.len() {
            let mut changed = der.clone();
            changed[at] ^= 1;
            // An encoding has spare bits without meaning; an accepted request is for the same key.
            match ProvenKey::from_request(&changed) {
                Ok(taken) => assert_eq!(taken.fingerprint(), own, "{at}"),
                Err(_) => refused += 1,
            }
        }
        assert!(refused + 2 >= der.len(), "{refused} of {}", der.len());
        let longer = [der.as_slice(), b"\0"].concat();
        assert_eq!(ProvenKey::from_request(&longer).unwrap_err(), CsrError::Encoding);
    }

    #[test]
    fn a_weak_key_is_not_taken() {
        let key = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let refused = ProvenKey::from_request(&request(&key).unwrap()).unwrap_err();
        assert_eq!(refused, CsrError::Algorithm);
    }
}
