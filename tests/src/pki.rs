//! Certificates of every kind that must be refused, and good ones of another authority's making.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

/// An authority that signs certificates.
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes a new authority, which nobody trusts yet.
    ///
    /// # Panics
    ///
    /// When rcgen fails.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Reads the authority of a [`crate::World`], from `authority/` in its folder.
    ///
    /// # Panics
    ///
    /// When it can't be read.
    #[must_use]
    pub fn of(dir: &Path) -> Self {
        let read = |name: &str| {
            let file = dir.join("authority").join(name);
            fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
        };
        let pem = read("cert.pem");
        let key = KeyPair::from_pem(&read("key.pem")).expect("the authority's key");
        let issuer = Issuer::from_ca_cert_pem(&pem, key).expect("the authority's certificate");
        Self { pem, issuer }
    }

    /// Returns the authority's certificate in PEM, for `ca.pem`.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Signs a leaf with a new key.
    ///
    /// # Panics
    ///
    /// When rcgen fails.
    #[must_use]
    pub fn issue(&self, leaf: &Leaf) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let cert = leaf.0.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Identity { cert, key: key.serialize_pem() }
    }
}

/// The contents of a certificate that is to be signed.
#[derive(Debug, Clone)]
#[must_use]
pub struct Leaf(CertificateParams);

impl Leaf {
    /// Describes a certificate for a client: `rcmd://user/NAME` in the group `admin`, client usage,
    /// valid now.
    ///
    /// # Panics
    ///
    /// When the name can't stand in a certificate.
    pub fn client(name: &str) -> Self {
        Self::client_uris(&[&format!("rcmd://user/{name}"), "rcmd://group/admin"])
    }

    /// Describes a certificate for a client, with these URIs and no other name.
    ///
    /// # Panics
    ///
    /// When one can't stand in a certificate.
    pub fn client_uris(uris: &[&str]) -> Self {
        let mut params = Self::any();
        for uri in uris {
            let uri = (*uri).try_into().expect("an ASCII name");
            params.subject_alt_names.push(SanType::URI(uri));
        }
        Self(params).usages(&[ExtendedKeyUsagePurpose::ClientAuth])
    }

    /// Describes a certificate for a server, with these DNS names or addresses, server usage, valid
    /// now.
    ///
    /// # Panics
    ///
    /// When one can't stand in a certificate.
    pub fn server(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = Self::any();
        params.subject_alt_names =
            CertificateParams::new(names).expect("names or addresses").subject_alt_names;
        Self(params).usages(&[ExtendedKeyUsagePurpose::ServerAuth])
    }

    fn any() -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = named("test leaf");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2999, 1, 1);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        params
    }

    /// Moves the end of the validity into the past.
    pub fn expired(mut self) -> Self {
        self.0.not_after = date_time_ymd(2021, 1, 1);
        self
    }

    /// Moves the beginning of the validity into the future.
    pub fn not_yet_valid(mut self) -> Self {
        self.0.not_before = date_time_ymd(2998, 1, 1);
        self
    }

    /// Sets the validity from five minutes ago to half an hour from now: a clock that is an hour
    /// off, either way, is outside.
    pub fn for_half_an_hour(mut self) -> Self {
        let now = SystemTime::now();
        self.0.not_before = (now - Duration::from_secs(5 * 60)).into();
        self.0.not_after = (now + Duration::from_secs(30 * 60)).into();
        self
    }

    /// Sets exactly these extended usages.
    pub fn usages(mut self, usages: &[ExtendedKeyUsagePurpose]) -> Self {
        self.0.extended_key_usages = usages.to_vec();
        self
    }

    /// Signs the certificate by its own key.
    ///
    /// # Panics
    ///
    /// When rcgen fails.
    #[must_use]
    pub fn self_signed(&self) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let cert = self.0.self_signed(&key).expect("a certificate").pem();
        Identity { cert, key: key.serialize_pem() }
    }
}

/// A certificate with its key.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate in PEM.
    pub cert: String,
    /// The private key in PEM, as PKCS#8.
    pub key: String,
}

impl Identity {
    /// Writes `cert.pem` and `key.pem` into `folder`, as rcmd wants them: 0600 in 0700.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub fn write(&self, folder: &Path) {
        let written = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        let written = written.and_then(|()| write_private(&folder.join("cert.pem"), &self.cert));
        let written = written.and_then(|()| write_private(&folder.join("key.pem"), &self.key));
        written.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    }
}

fn write_private(file: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(file)?.write_all(text.as_bytes())
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
