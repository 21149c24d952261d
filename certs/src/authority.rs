//! Making and signing certificates.
//!
//! An authority holds one key and signs leaves for servers and clients, never another authority
//! (pathLenConstraint 0). The rest of a leaf is always built here from a [`LeafSpec`]: a request
//! from elsewhere contributes its public key and nothing more, so that it cannot ask for CA:TRUE or
//! for somebody else's name.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SerialNumber,
};
use rustls::server::ParsedCertificate;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::names::NameError;
use crate::paths::Layout;
use crate::text::printable;
use crate::tls::{self, TlsError};
use crate::x509::{Certificate, X509Error};

mod leaf;

pub use leaf::{LeafSpec, Usage};

/// How far a certificate's start lies in the past, so that a peer whose clock is a little behind
/// takes it at once.
pub const BACKDATE: Duration = Duration::from_secs(5 * 60);

/// How long an authority lasts.
pub const AUTHORITY_DAYS: u32 = 3650;

/// How long a leaf lasts unless told otherwise.
pub const LEAF_DAYS: u32 = 365;

const DAY: u64 = 24 * 60 * 60;

/// 9999-12-31T23:59:59Z, the end of X.509's calendar (RFC 5280 section 4.1.2.5).
const END_OF_TIME: u64 = 253_402_300_799;

/// The kind of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519: the default. It signs and verifies fastest, its signatures need no random number
    /// that could be a bad one, and every TLS 1.3 library that rcmd meets has it: rustls, OpenSSL
    /// since 1.1.1, Go, Java since 15.
    #[default]
    Ed25519,
    /// ECDSA on P-256, for a key that lies in a TPM or a hardware module, and for FIPS rules that
    /// predate Ed25519.
    EcdsaP256,
}

impl Algorithm {
    fn generate(self) -> Result<KeyPair, AuthorityError> {
        match self {
            // PKCS #8 in version 1: OpenSSL before 3.2 does not read the version 2 that
            // rcgen would write.
            Self::Ed25519 => {
                let document = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new())
                    .map_err(|_| AuthorityError::Random)?;
                let der = PrivatePkcs8KeyDer::from(document.as_ref());
                Ok(KeyPair::try_from(&der)?)
            }
            Self::EcdsaP256 => Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?),
        }
    }
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The authority's own files cannot be used.
    #[error(transparent)]
    Files(#[from] TlsError),
    /// A name was refused.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A certificate for a server without a name to reach it by.
    #[error("a server needs at least one name or address that clients reach it by")]
    NoNames,
    /// The certificate that should be an authority's is not.
    #[error("the certificate of `{0}` cannot sign others: it is not an authority's (CA:TRUE)")]
    NotAuthority(String),
    /// The authority's time is over.
    #[error(
        "the authority expired {0} ago, so nothing that it signs would be trusted; \
         make a new one with `rcmd-certs init --dir NEW` and issue every certificate from it"
    )]
    Expired(String),
    /// The authority's certificate cannot be read.
    #[error("the authority's certificate is unusable: {0}")]
    Certificate(#[from] X509Error),
    /// rcgen refused.
    #[error("the certificate could not be made: {0}")]
    Generate(#[from] rcgen::Error),
    /// No random numbers.
    #[error("the operating system gave no random numbers")]
    Random,
}

/// A certificate authority: a certificate and its private key.
#[derive(Debug)]
pub struct Authority {
    der: CertificateDer<'static>,
    facts: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A signed certificate with its private key.
#[derive(Debug)]
pub struct Issued {
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl Authority {
    /// Makes an authority that lasts [`AUTHORITY_DAYS`], with a name of its own.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`] when the system gives no random numbers.
    pub fn create(algorithm: Algorithm) -> Result<Self, AuthorityError> {
        let key = algorithm.generate()?;
        let mut params = CertificateParams::default();
        let serial = random_serial()?;
        // A part of the serial number tells two authorities apart where only names are shown.
        let mark: String = hex::encode(&serial).chars().take(8).collect();
        params.distinguished_name = common_name(&format!("rcmd authority {mark}"));
        params.serial_number = Some(SerialNumber::from(serial));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = true;
        let now = SystemTime::now();
        params.not_before = in_calendar(now - BACKDATE).into();
        params.not_after = in_calendar(days_after(now, AUTHORITY_DAYS)).into();
        let certificate = params.self_signed(&key)?;
        Self::new(certificate.der().clone(), key)
    }

    /// Loads an authority from `authority/cert.pem` and `authority/key.pem`.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`] when they are missing, unsafe, do not match, or are no authority's.
    pub fn load(layout: &Layout) -> Result<Self, AuthorityError> {
        let (cert_path, key_path) = (layout.authority_cert(), layout.authority_key());
        let der = tls::load_first(&cert_path, NO_AUTHORITY)?;
        let private: PrivateKeyDer<'static> = tls::load_key(&key_path, NO_AUTHORITY)?;
        let key = KeyPair::try_from(&private)
            .map_err(|error| TlsError::Key { path: key_path.clone(), reason: error.to_string() })?;
        let parsed = ParsedCertificate::try_from(&der).map_err(|error| TlsError::Certificate {
            path: cert_path.clone(),
            number: 1,
            reason: error.to_string(),
        })?;
        if parsed.subject_public_key_info().as_ref() != key.subject_public_key_info() {
            return Err(TlsError::Mismatch { cert: cert_path, key: key_path }.into());
        }
        Self::new(der, key)
    }

    fn new(der: CertificateDer<'static>, key: KeyPair) -> Result<Self, AuthorityError> {
        let facts = Certificate::parse(&der)?;
        if !facts.is_ca {
            return Err(AuthorityError::NotAuthority(printable(&facts.subject)));
        }
        let issuer = Issuer::from_ca_cert_der(&der, key)?;
        Ok(Self { der, facts, issuer })
    }

    /// The authority's certificate in PEM, as `ca.pem` and `authority/cert.pem` hold it.
    pub fn cert_pem(&self) -> String {
        pem("CERTIFICATE", &self.der)
    }

    /// The authority's private key in PEM (PKCS #8).
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// The facts of the authority's certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.facts
    }

    /// Makes a key and signs a certificate for it.
    ///
    /// The leaf ends when the authority does, if that comes first. The specification is taken at
    /// its word otherwise: tests make certificates with it that no command would.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`] when the authority has expired or a name cannot stand in a certificate.
    pub fn issue(&self, spec: &LeafSpec, algorithm: Algorithm) -> Result<Issued, AuthorityError> {
        let key = algorithm.generate()?;
        let certificate = self.certify(spec, &key)?;
        Ok(Issued { certificate, key })
    }

    /// Signs a certificate for a public key; enrolment, which holds no private key, comes here too.
    fn certify(
        &self,
        spec: &LeafSpec,
        public_key: &impl PublicKeyData,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        let now = tls::now_unix();
        if let Some(tls::Problem::Expired(ago)) = tls::date_problem(&self.facts, now) {
            return Err(AuthorityError::Expired(tls::span(ago)));
        }
        let last = Duration::from_secs(u64::try_from(self.facts.not_after).unwrap_or(0));
        let params = spec.params(UNIX_EPOCH + last)?;
        Ok(params.signed_by(public_key, &self.issuer)?.der().clone())
    }
}

impl Issued {
    /// Signs a certificate with its own key, without any authority. Only tests have a use for it:
    /// nobody trusts the result.
    ///
    /// # Errors
    ///
    /// As [`Authority::issue`].
    pub fn self_signed(spec: &LeafSpec, algorithm: Algorithm) -> Result<Self, AuthorityError> {
        let key = algorithm.generate()?;
        let params = spec.params(UNIX_EPOCH + Duration::from_secs(END_OF_TIME))?;
        let certificate = params.self_signed(&key)?.der().clone();
        Ok(Self { certificate, key })
    }

    /// The certificate in PEM.
    pub fn cert_pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    /// The certificate in DER.
    pub fn cert_der(&self) -> Vec<u8> {
        self.certificate.to_vec()
    }

    /// The private key in PEM (PKCS #8).
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }
}

const NO_AUTHORITY: &str =
    "make an authority with `rcmd-certs init`, or name its folder with --dir DIR";

fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// 128 random bits (RFC 5280 section 4.1.2.2: positive, at most 20 bytes; rcgen writes it as a
/// positive number).
fn random_serial() -> Result<Vec<u8>, AuthorityError> {
    let mut bytes = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| AuthorityError::Random)?;
    // A first byte of zero would not be minimal DER, and a number of zero not positive.
    let [first, ..] = &mut bytes;
    *first = (*first).max(1);
    Ok(bytes.to_vec())
}

fn days_after(start: SystemTime, days: u32) -> SystemTime {
    start + Duration::from_secs(u64::from(days) * DAY)
}

/// The nearest moment that X.509 can write: 1970 to 9999, in whole seconds.
fn in_calendar(moment: SystemTime) -> SystemTime {
    let seconds = moment.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    UNIX_EPOCH + Duration::from_secs(seconds.min(END_OF_TIME))
}

/// PEM (RFC 7468).
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    use std::fmt::Write as _;

    // RFC 7468: 64 characters a line.
    let mut text = format!("-----BEGIN {label}-----\n");
    for chunk in der.chunks(48) {
        let _ = writeln!(text, "{}", STANDARD.encode(chunk));
    }
    let _ = writeln!(text, "-----END {label}-----");
    text
}

#[cfg(test)]
mod tests;
