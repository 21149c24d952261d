//! Tests of lists and limits as other authorities write them, some of which `rustls-webpki` has read wrongly.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope, CustomExtension, IsCa,
    KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ED25519, RevokedCertParams, SanType, SerialNumber,
};
use rustls::RootCertStore;

use super::*;
use crate::{crl::Crl, tls::provider};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An authority that writes into each certificate the two places of its lists.
struct Outside(CertifiedIssuer<'static, KeyPair>);

impl Outside {
    fn new() -> Self {
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        Self(CertifiedIssuer::self_signed(ca, key).unwrap())
    }

    fn client(&self, serial: u64) -> CertificateDer<'static> {
        let mut leaf = CertificateParams::default();
        leaf.serial_number = Some(SerialNumber::from(serial));
        leaf.crl_distribution_points = ["first", "second"].map(place).to_vec();
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        leaf.signed_by(&key, &self.0).unwrap().der().clone()
    }

    /// Returns the list of one of the places, which revokes one certificate.
    fn list(&self, name: &str, revoked: u64) -> Vec<u8> {
        let now = SystemTime::now();
        let params = CertificateRevocationListParams {
            this_update: (now - DAY).into(),
            next_update: (now + DAY).into(),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: Some(CrlIssuingDistributionPoint {
                distribution_point: place(name),
                scope: Some(CrlScope::UserCertsOnly),
            }),
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(revoked),
                revocation_time: (now - DAY).into(),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).unwrap().der().to_vec()
    }

    fn clients(&self, list: &[u8]) -> Result<ClientVerifier, VerifierBuilderError> {
        let list = Crl::from_der(list).unwrap();
        self.judges(&Revocation::Known(CrlSet::new(vec![list]).unwrap()))
    }

    fn judges(&self, revocation: &Revocation) -> Result<ClientVerifier, VerifierBuilderError> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        ClientVerifier::new(roots.into(), Mapping::default(), Vec::new(), revocation, &provider())
    }

    /// Returns an authority below it that may vouch only for these names (RFC 5280, 4.2.1.10).
    fn held_to(&self, names: &[u8]) -> CertifiedIssuer<'static, KeyPair> {
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let mut constraints = CustomExtension::from_oid_content(&[2, 5, 29, 30], names.to_vec());
        constraints.set_criticality(true);
        ca.custom_extensions = vec![constraints];
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        CertifiedIssuer::signed_by(ca, key, &self.0).unwrap()
    }
}

fn place(name: &str) -> CrlDistributionPoint {
    CrlDistributionPoint { uris: vec![format!("http://lists.example/{name}")] }
}

#[test]
fn a_list_of_the_second_place_that_a_certificate_names_is_its_list() {
    let outside = Outside::new();
    let judged = |list: &[u8]| {
        let clients = outside.clients(list).unwrap();
        let judge = |serial| {
            let judged = clients.verify_client_cert(&outside.client(serial), &[], UnixTime::now());
            judged.map(|_| ()).map_err(|error| error.to_string())
        };
        [judge(7), judge(8)]
    };
    for name in ["first", "second"] {
        let revoked = Error::from(CertificateError::Revoked).to_string();
        assert_eq!(judged(&outside.list(name, 7)), [Err(revoked), Ok(())], "{name}");
    }
    // A client that no list covers is not let in.
    let unknown = Error::from(CertificateError::ApplicationVerificationFailure).to_string();
    assert_eq!(judged(&outside.list("third", 7)), [Err(unknown.clone()), Err(unknown)]);
}

#[test]
fn a_list_for_an_empty_set_of_reasons_is_refused_and_no_panic() {
    let outside = Outside::new();
    let mut list = outside.list("first", 7);
    assert!(outside.clients(&list).is_ok());
    // Turns `onlyContainsUserCerts` into `onlySomeReasons`, a string of no bits (RFC 5280, 5.2.5).
    let scopes: Vec<_> =
        (0..list.len()).filter(|&at| list[at..].starts_with(b"\x81\x01\xff")).collect();
    let [scope] = scopes[..] else { panic!("{scopes:?}") };
    list[scope..scope + 3].copy_from_slice(b"\x83\x01\x00");
    assert!(outside.clients(&list).is_err());
}

#[test]
fn an_authority_that_is_held_to_uris_vouches_for_nobody_beyond_them() {
    let outside = Outside::new();
    let clients = outside.judges(&Revocation::NotNeeded).unwrap();
    let judge = |names: &[u8]| {
        let below = outside.held_to(names);
        let mut leaf = CertificateParams::default();
        leaf.subject_alt_names = vec![SanType::URI("rcmd://user/alice".try_into().unwrap())];
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let leaf = leaf.signed_by(&key, &below).unwrap().der().clone();
        clients.verify_client_cert(&leaf, &[below.der().clone()], UnixTime::now()).is_ok()
    };
    // Permitted are the DNS name `host`, which does not limit URIs; then the URIs of `host`.
    assert!(judge(b"\x30\x0a\xa0\x08\x30\x06\x82\x04host"));
    assert!(!judge(b"\x30\x0a\xa0\x08\x30\x06\x86\x04host"));
}
