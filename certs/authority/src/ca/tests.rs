use std::{
    fs,
    time::{Duration, UNIX_EPOCH},
};

use rcmd_certs::{
    clock,
    enroll::key::KeyAlgorithm,
    files::{Existing, NewFile, create_private_dir, write_all},
    names::HostName,
    paths::Layout,
    x509::{Certificate, UsageSet},
};

use super::params::random_serial;
use super::*;

fn alice() -> LeafSpec {
    LeafSpec::client("alice", &["ops".to_owned(), "ops".to_owned()]).unwrap()
}

fn facts(issued: &Issued) -> Certificate {
    Certificate::parse(&issued.cert_der()).unwrap()
}

/// Writes an authority as `init` does.
fn install(layout: &Layout, cert: &str, key: &str) {
    create_private_dir(&layout.authority_dir()).unwrap();
    let (cert_path, key_path) = (layout.authority_cert(), layout.authority_key());
    let files = [
        NewFile { path: &cert_path, bytes: cert.as_bytes(), private: false },
        NewFile { path: &key_path, bytes: key.as_bytes(), private: true },
    ];
    write_all(&files, Existing::Replace).unwrap();
}

#[test]
fn an_authority_signs_leaves_and_no_further_authority() {
    use x509_parser::prelude::{FromDer, X509Certificate};

    let authority = Authority::create(KeyAlgorithm::Ed25519).unwrap();
    let (_, parsed) = X509Certificate::from_der(authority.root_der()).unwrap();
    let constraints = parsed.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    assert_eq!(constraints.value.path_len_constraint, Some(0));
    let usage = parsed.key_usage().unwrap().unwrap().value;
    assert!(usage.key_cert_sign() && usage.crl_sign() && !usage.digital_signature());
}

#[test]
fn a_leaf_is_for_one_use_and_carries_its_issuers_key_identifier() {
    use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate};

    let authority = Authority::create(KeyAlgorithm::EcdsaP256).unwrap();
    let issued = authority.issue(&alice(), KeyAlgorithm::EcdsaP256).unwrap();
    assert_eq!(facts(&issued).usage, UsageSet::Only { server: false, client: true });
    assert_eq!(facts(&issued).names.uris, ["rcmd://user/alice", "rcmd://group/ops"]);

    let key_identifier = |der: &[u8], authority: bool| {
        let (_, parsed) = X509Certificate::from_der(der).unwrap();
        parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(found) if authority => {
                found.key_identifier.as_ref().map(|id| id.0.to_vec())
            }
            ParsedExtension::SubjectKeyIdentifier(id) if !authority => Some(id.0.to_vec()),
            _ => None,
        })
    };
    let signer = key_identifier(authority.root_der(), false);
    assert!(signer.is_some());
    assert_eq!(key_identifier(&issued.cert_der(), true), signer);
    assert!(key_identifier(&issued.cert_der(), false).is_some());
}

#[test]
fn serial_numbers_are_128_random_bits() {
    let mut seen: Vec<Vec<u8>> = (0..100).map(|_| random_serial().unwrap()).collect();
    assert!(seen.iter().all(|serial| serial.len() == 16 && serial[0] != 0));
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 100);
}

#[test]
fn a_leaf_starts_a_little_early_and_ends_with_its_authority() {
    let authority = Authority::create(KeyAlgorithm::Ed25519).unwrap();
    let now = clock::now_unix();
    let leaf = facts(&authority.issue(&alice(), KeyAlgorithm::Ed25519).unwrap());
    assert!((now - leaf.not_before - 300).abs() < 60);
    assert!((leaf.not_after - now - 365 * 86_400).abs() < 60);
    let forever = alice().for_days(10 * AUTHORITY_DAYS);
    let leaf = facts(&authority.issue(&forever, KeyAlgorithm::Ed25519).unwrap());
    assert_eq!(leaf.not_after, authority.certificate().not_after);
}

#[test]
fn dates_beyond_the_calendar_are_moved_into_it() {
    let authority = Authority::create(KeyAlgorithm::Ed25519).unwrap();
    let mut spec = alice();
    spec.not_before = UNIX_EPOCH - Duration::from_secs(1);
    spec.not_after = UNIX_EPOCH + Duration::from_secs(u64::from(u32::MAX) * 1000);
    assert_eq!(facts(&authority.issue(&spec, KeyAlgorithm::Ed25519).unwrap()).not_before, 0);
}

#[test]
fn a_server_without_a_name_is_refused() {
    let authority = Authority::create(KeyAlgorithm::Ed25519).unwrap();
    let refused = authority.issue(&LeafSpec::server(&[]), KeyAlgorithm::Ed25519);
    assert!(matches!(refused, Err(AuthorityError::NoNames)));
}

#[test]
fn a_long_host_name_fits() {
    let label = "a".repeat(63);
    let name = HostName::parse(&format!("{label}.{label}.example")).unwrap();
    let authority = Authority::create(KeyAlgorithm::Ed25519).unwrap();
    let issued = authority.issue(&LeafSpec::server(&[name]), KeyAlgorithm::Ed25519).unwrap();
    assert_eq!(facts(&issued).names.dns[0].len(), 135);
}

#[test]
fn a_stored_authority_signs_as_before() {
    for algorithm in [KeyAlgorithm::Ed25519, KeyAlgorithm::EcdsaP256] {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        let made = Authority::create(algorithm).unwrap();
        install(&layout, &made.cert_pem(), &made.key_pem());
        let loaded = Authority::load(&layout).unwrap();
        assert_eq!(loaded.certificate(), made.certificate());
        assert_eq!(loaded.cert_pem(), made.cert_pem());
        let issued = loaded.issue(&alice(), algorithm).unwrap();
        assert_eq!(facts(&issued).issuer, made.certificate().subject);
    }
}

#[test]
fn an_authority_that_cannot_sign_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let layout = Layout::new(root.path());
    let refused = || Authority::load(&layout).err().unwrap().to_string();
    assert!(refused().contains("rcmd-certs init"), "{}", refused());

    let one = Authority::create(KeyAlgorithm::Ed25519).unwrap();
    let two = Authority::create(KeyAlgorithm::Ed25519).unwrap();
    install(&layout, &one.cert_pem(), &two.key_pem());
    assert!(refused().contains("does not belong"), "{}", refused());

    let leaf = one.issue(&alice(), KeyAlgorithm::Ed25519).unwrap();
    install(&layout, &leaf.cert_pem(), &leaf.key_pem());
    assert!(refused().contains("not an authority's"), "{}", refused());

    fs::write(layout.authority_cert(), "nonsense").unwrap();
    assert!(refused().contains("has no certificate"), "{}", refused());
}

#[test]
fn an_expired_authority_signs_nothing() {
    let mut authority = Authority::create(KeyAlgorithm::Ed25519).unwrap();
    authority.facts.not_after = clock::now_unix() - 3 * 86_400;
    let message = authority.issue(&alice(), KeyAlgorithm::Ed25519).err().unwrap().to_string();
    assert!(message.contains("expired 3 days ago"), "{message}");
}

#[test]
fn ed25519_keys_are_in_the_first_version_of_pkcs_8_which_every_openssl_reads() {
    let key = KeyAlgorithm::Ed25519.generate().unwrap();
    // SEQUENCE (46 bytes), INTEGER 0: RFC 8410 section 7 without the public key.
    assert_eq!(key.serialized_der()[..5], [0x30, 0x2e, 0x02, 0x01, 0x00]);
}
