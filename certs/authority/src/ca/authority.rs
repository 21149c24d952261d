//! An authority, and the certificates that it signs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519,
    PublicKeyData, SerialNumber,
};
use rcmd_certs::{
    clock::{self, BACKDATE},
    enroll::key::KeyAlgorithm,
    pem::pem,
    text::printable,
    tls,
    x509::Certificate,
};
use rustls_pki_types::CertificateDer;

use super::{
    error::AuthorityError,
    leaf::LeafSpec,
    params::{END_OF_TIME, common_name, days_after, in_calendar, random_serial},
};

/// The days that an authority is valid.
pub const AUTHORITY_DAYS: u32 = 3650;

/// A certificate authority: a certificate and its private key.
#[derive(Debug)]
pub struct Authority {
    /// The authority's certificate, then those between it and the root. The root itself is included only if
    /// the authority is the root.
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) root: CertificateDer<'static>,
    pub(super) root_facts: Certificate,
    pub(super) facts: Certificate,
    pub(super) issuer: Issuer<'static, KeyPair>,
}

/// A signed certificate with its private key.
#[derive(Debug)]
pub struct Issued {
    /// The leaf, then its intermediates.
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

impl Authority {
    /// Makes an authority that lasts [`AUTHORITY_DAYS`], with a name of its own, and is its own
    /// root.
    ///
    /// # Errors
    /// [`AuthorityError`] when the system returns no random numbers.
    pub fn create(algorithm: KeyAlgorithm) -> Result<Self, AuthorityError> {
        let (key, params) = (algorithm.generate()?, authority_params("authority", 0)?);
        let certificate = params.self_signed(&key)?.der().clone();
        Self::new(vec![certificate.clone()], certificate, key)
    }

    /// Makes a root that can be kept offline, and the intermediate that signs in its place.
    ///
    /// # Errors
    /// As [`Authority::create`].
    pub fn create_pair(algorithm: KeyAlgorithm) -> Result<(Self, Self), AuthorityError> {
        let (root_key, root_params) = (algorithm.generate()?, authority_params("root", 1)?);
        let root_der = root_params.self_signed(&root_key)?.der().clone();
        let root = Self::new(vec![root_der.clone()], root_der.clone(), root_key)?;
        let (key, params) = (algorithm.generate()?, authority_params("authority", 0)?);
        let certificate = params.signed_by(&key, &root.issuer)?.der().clone();
        let signing = Self::new(vec![certificate], root_der, key)?;
        Ok((root, signing))
    }

    pub(super) fn new(
        chain: Vec<CertificateDer<'static>>,
        root: CertificateDer<'static>,
        key: KeyPair,
    ) -> Result<Self, AuthorityError> {
        let own = chain.first().unwrap_or(&root);
        let facts = Certificate::parse(own)?;
        if !facts.is_ca {
            return Err(AuthorityError::NotAuthority(printable(&facts.subject)));
        }
        let issuer = Issuer::from_ca_cert_der(own, key)?;
        let root_facts = Certificate::parse(&root)?;
        Ok(Self { chain, root, root_facts, facts, issuer })
    }

    /// Returns the authority's certificate and those between it and the root in PEM, as
    /// `authority/cert.pem` holds them.
    pub fn cert_pem(&self) -> String {
        self.chain.iter().map(|der| pem("CERTIFICATE", der)).collect()
    }

    /// Returns the root in PEM, as `ca.pem` holds it.
    pub fn root_pem(&self) -> String {
        pem("CERTIFICATE", &self.root)
    }

    /// Returns the root in DER.
    pub fn root_der(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// Returns the facts of the root's certificate.
    pub fn root(&self) -> &Certificate {
        &self.root_facts
    }

    /// Returns the authority's private key in PEM (PKCS #8).
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Returns whether its key is of the kind [`KeyAlgorithm::Ed25519`].
    pub(crate) fn is_ed25519(&self) -> bool {
        self.issuer.key().algorithm() == &PKCS_ED25519
    }

    /// Returns whether it is its own root.
    pub(crate) fn is_root(&self) -> bool {
        self.chain.first() == Some(&self.root)
    }

    /// Returns the facts of the authority's certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.facts
    }

    /// Makes a key and signs a certificate for it.
    ///
    /// The leaf ends when the authority does, if that comes first. Otherwise the specification is followed
    /// literally: tests make certificates with it that no command would.
    ///
    /// # Errors
    /// [`AuthorityError`] when the authority has expired or a name cannot stand in a certificate.
    pub fn issue(
        &self,
        spec: &LeafSpec,
        algorithm: KeyAlgorithm,
    ) -> Result<Issued, AuthorityError> {
        let key = algorithm.generate()?;
        let leaf = self.certify(spec, &key, clock::now_unix())?;
        Ok(Issued { chain: self.chain_of(leaf), key })
    }

    /// Signs a certificate for a public key. Enrollment, which has no private key, also uses this.
    pub(crate) fn certify(
        &self,
        spec: &LeafSpec,
        public_key: &impl PublicKeyData,
        now: i64,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        for facts in [&self.facts, &self.root_facts] {
            if let Some(tls::Problem::Expired(ago)) = tls::date_problem(facts, now) {
                return Err(AuthorityError::Expired(clock::span(ago)));
            }
        }
        let last = self.facts.not_after.min(self.root_facts.not_after);
        let last = Duration::from_secs(u64::try_from(last).unwrap_or(0));
        let params = spec.params(UNIX_EPOCH + last)?;
        Ok(params.signed_by(public_key, &self.issuer)?.der().clone())
    }

    /// Returns a leaf with the intermediates that lead from it to the root.
    pub(crate) fn chain_of(&self, leaf: CertificateDer<'static>) -> Vec<CertificateDer<'static>> {
        let between = self.chain.iter().filter(|der| **der != self.root).cloned();
        std::iter::once(leaf).chain(between).collect()
    }
}

impl Issued {
    /// Signs a certificate with its own key, without any authority. Only tests need this, since nobody trusts
    /// the result.
    ///
    /// # Errors
    /// As [`Authority::issue`].
    pub fn self_signed(spec: &LeafSpec, algorithm: KeyAlgorithm) -> Result<Self, AuthorityError> {
        let key = algorithm.generate()?;
        let params = spec.params(UNIX_EPOCH + Duration::from_secs(END_OF_TIME))?;
        let certificate = params.self_signed(&key)?.der().clone();
        Ok(Self { chain: vec![certificate], key })
    }

    /// Returns the certificate in PEM, followed by its intermediates.
    pub fn cert_pem(&self) -> String {
        self.chain.iter().map(|der| pem("CERTIFICATE", der)).collect()
    }

    /// Returns the certificate in DER, without its intermediates.
    pub fn cert_der(&self) -> Vec<u8> {
        self.chain.first().map(|der| der.to_vec()).unwrap_or_default()
    }

    /// Returns the private key in PEM (PKCS #8).
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }
}

/// Returns the contents of an authority's own certificate. `below` is the number of authorities that may
/// follow it.
fn authority_params(role: &str, below: u8) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    let serial = random_serial()?;
    // A part of the serial number tells two authorities apart where only names are shown.
    let mark: String = hex::encode(&serial).chars().take(8).collect();
    params.distinguished_name = common_name(&format!("rcmd {role} {mark}"));
    params.serial_number = Some(SerialNumber::from(serial));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    let now = SystemTime::now();
    params.not_before = in_calendar(now - BACKDATE).into();
    params.not_after = in_calendar(days_after(now, AUTHORITY_DAYS)).into();
    Ok(params)
}
