//! The only reader of certificates: DER in, owned facts out.
//!
//! Text from a certificate is kept unchanged. Code that prints it must pass it through
//! [`printable`](crate::text::printable); code that decides by it must use
//! [`Identity`](crate::Identity).

use std::net::IpAddr;

use aws_lc_rs::digest::{SHA256, digest};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

use crate::fingerprint::Fingerprint;

/// The longest serial number that is read, in bytes. RFC 5280 section 4.1.2.2 allows 20; some
/// authorities add a leading zero or a little more.
const MAX_SERIAL: usize = 32;

/// The facts of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The subject's distinguished name.
    pub subject: String,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// True if subject and issuer are the same, byte for byte.
    pub self_issued: bool,
    /// The serial number in lower-case hexadecimal.
    pub serial: String,
    /// The first second of validity, in Unix time.
    pub not_before: i64,
    /// The last second of validity, in Unix time.
    pub not_after: i64,
    /// True if it may sign other certificates (basicConstraints CA:TRUE).
    pub is_ca: bool,
    /// The uses that the extended key usage allows.
    pub usage: UsageSet,
    /// The subject alternative names.
    pub names: SubjectNames,
    /// The SHA-256 of the whole certificate in DER, in lower-case hexadecimal.
    pub fingerprint: String,
    /// The fingerprint of its public key, which renewal does not change.
    pub key: Fingerprint,
}

/// The subject alternative names of a certificate (RFC 5280 section 4.2.1.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubjectNames {
    /// The DNS names.
    pub dns: Vec<String>,
    /// The addresses of electronic mail.
    pub emails: Vec<String>,
    /// The IP addresses.
    pub addresses: Vec<IpAddr>,
    /// The URIs.
    pub uris: Vec<String>,
    /// The number of broken names: not ASCII, or of the wrong length.
    pub broken: usize,
}

/// The uses that a certificate allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageSet {
    /// All uses, since there is no extended key usage (RFC 5280 section 4.2.1.12).
    Any,
    /// These uses alone.
    Only {
        /// True if servers may use the certificate (id-kp-serverAuth).
        server: bool,
        /// True if clients may use the certificate (id-kp-clientAuth).
        client: bool,
    },
}

impl UsageSet {
    /// Returns whether a server may prove itself with it.
    pub fn allows_server(self) -> bool {
        matches!(self, Self::Any | Self::Only { server: true, .. })
    }

    /// Returns whether a client may prove itself with it.
    pub fn allows_client(self) -> bool {
        matches!(self, Self::Any | Self::Only { client: true, .. })
    }
}

/// The reason why a certificate cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum X509Error {
    /// The bytes are not a certificate in DER, or a broken one.
    #[error("not a readable X.509 certificate ({0})")]
    Encoding(String),
    /// Bytes follow the certificate.
    #[error("{0} bytes follow the certificate")]
    Trailing(usize),
    /// The serial number is longer than any that authorities make.
    #[error("the serial number has {0} bytes; at most {MAX_SERIAL} are read")]
    Serial(usize),
}

impl Certificate {
    /// Reads one certificate.
    ///
    /// # Errors
    /// [`X509Error`] when `der` is not exactly one well-formed certificate. An extension that
    /// occurs twice is an error (RFC 5280 section 4.2).
    pub fn parse(der: &[u8]) -> Result<Self, X509Error> {
        let (rest, certificate) = X509Certificate::from_der(der)
            .map_err(|error| X509Error::Encoding(error.to_string()))?;
        if !rest.is_empty() {
            return Err(X509Error::Trailing(rest.len()));
        }
        let broken = |error: x509_parser::error::X509Error| X509Error::Encoding(error.to_string());
        let raw_serial = certificate.raw_serial();
        if raw_serial.len() > MAX_SERIAL {
            return Err(X509Error::Serial(raw_serial.len()));
        }
        let constraints = certificate.basic_constraints().map_err(broken)?;
        let mut facts = Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            self_issued: certificate.subject().as_raw() == certificate.issuer().as_raw(),
            serial: serial_text(raw_serial),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            is_ca: constraints.is_some_and(|extension| extension.value.ca),
            usage: usage(&certificate).map_err(broken)?,
            names: SubjectNames::default(),
            fingerprint: hex::encode(digest(&SHA256, der)),
            key: Fingerprint::of_key(certificate.public_key().raw),
        };
        if let Some(names) = certificate.subject_alternative_name().map_err(broken)? {
            for name in &names.value.general_names {
                facts.names.add(name);
            }
        }
        Ok(facts)
    }

    /// Returns the public key of a certificate (SubjectPublicKeyInfo in DER), if it can be read.
    pub fn public_key(der: &[u8]) -> Option<Vec<u8>> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(certificate.public_key().raw.to_vec())
    }
}

impl SubjectNames {
    fn add(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(name) => self.dns.push((*name).to_owned()),
            GeneralName::RFC822Name(name) => self.emails.push((*name).to_owned()),
            GeneralName::URI(uri) => self.uris.push((*uri).to_owned()),
            GeneralName::IPAddress(octets) => match address(octets) {
                Some(address) => self.addresses.push(address),
                None => self.broken += 1,
            },
            GeneralName::Invalid(..) => self.broken += 1,
            _ => {}
        }
    }
}

fn usage(certificate: &X509Certificate<'_>) -> Result<UsageSet, x509_parser::error::X509Error> {
    Ok(match certificate.extended_key_usage()? {
        None => UsageSet::Any,
        Some(usage) => {
            UsageSet::Only { server: usage.value.server_auth, client: usage.value.client_auth }
        }
    })
}

/// Returns a serial number in lower-case hexadecimal, without the zero byte that only keeps the number
/// positive (RFC 5280 section 4.1.2.2).
pub fn serial_text(raw: &[u8]) -> String {
    match raw {
        [0, rest @ ..] if !rest.is_empty() => hex::encode(rest),
        _ => hex::encode(raw),
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(octets).ok().map(IpAddr::from)
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose,
        IsCa, KeyPair, PKCS_ED25519, SanType, SerialNumber,
    };

    use super::*;

    fn server_certificate() -> Vec<u8> {
        let names = vec!["web1.example".to_owned(), "192.0.2.7".to_owned()];
        let mut leaf = CertificateParams::new(names).unwrap();
        leaf.subject_alt_names.push(SanType::URI("rcmd://host/web1.example".try_into().unwrap()));
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.serial_number = Some(SerialNumber::from(vec![0x0b, 0xad]));
        let key = || KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut ca = CertificateParams::default();
        ca.distinguished_name.push(DnType::CommonName, "an authority");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(ca, key()).unwrap();
        leaf.signed_by(&key(), &authority).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_says_its_facts() {
        let facts = Certificate::parse(&server_certificate()).unwrap();
        assert_eq!(facts.names.dns, ["web1.example"]);
        assert_eq!(facts.names.addresses, ["192.0.2.7".parse::<IpAddr>().unwrap()]);
        assert_eq!(facts.names.uris, ["rcmd://host/web1.example"]);
        assert_eq!(facts.usage, UsageSet::Only { server: true, client: false });
        assert!(!facts.is_ca && !facts.self_issued);
        assert_eq!(facts.serial, "0bad");
    }

    #[test]
    fn every_cut_of_a_certificate_is_an_error_and_no_panic() {
        let der = server_certificate();
        for length in 0..der.len() {
            assert!(Certificate::parse(&der[..length]).is_err(), "{length}");
        }
        let mut longer = der;
        longer.push(0);
        assert_eq!(Certificate::parse(&longer), Err(X509Error::Trailing(1)));
    }

    proptest::proptest! {
        #[test]
        fn a_damaged_certificate_never_panics(at in 0_usize..400, value: u8) {
            let mut der = server_certificate();
            if let Some(byte) = der.get_mut(at) {
                *byte = value;
            }
            let _ = Certificate::parse(&der);
        }
    }
}
