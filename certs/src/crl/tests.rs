//! Tests of lists that are read, and of bytes that are no list.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ED25519, RevokedCertParams, SerialNumber,
};

use super::*;
use crate::enroll::message::MAX_RESPONSE;

fn list(number: u64, serials: &[&[u8]]) -> Vec<u8> {
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, "an authority");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let authority = CertifiedIssuer::self_signed(ca, key).unwrap();
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let revoked = |serial: &&[u8]| RevokedCertParams {
        serial_number: SerialNumber::from(serial.to_vec()),
        revocation_time: at(1_000).into(),
        reason_code: None,
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: at(2_000).into(),
        next_update: at(3_000).into(),
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(&authority).unwrap().der().to_vec()
}

#[test]
fn a_list_says_its_facts() {
    let list = Crl::from_der(&list(7, &[&[0x0b, 0xad], &[0xff; 16]])).unwrap();
    assert_eq!((list.number, list.this_update, list.next_update), (7, 2_000, 3_000));
    assert_eq!(list.revoked, ["0bad".to_owned(), "ff".repeat(16)]);
    assert!(list.issuer.contains("an authority"), "{}", list.issuer);
}

#[test]
fn a_list_may_be_empty() {
    assert!(Crl::from_der(&list(1, &[])).unwrap().revoked.is_empty());
}

#[test]
fn several_lists_are_as_good_as_the_weakest() {
    let all = [list(7, &[&[1]]), list(6, &[&[2]])];
    let all = all.iter().map(|der| Crl::from_der(der).unwrap()).collect();
    let lists = CrlSet::new(all).unwrap();
    assert_eq!(lists.number(), 6);
    assert!(lists.contains("01") && lists.contains("02") && !lists.contains("03"));
    assert_eq!(CrlSet::from_pem(lists.pem().as_bytes()).unwrap(), lists);
}

#[test]
fn what_is_no_list_is_refused() {
    let pem = Crl::from_der(&list(1, &[])).unwrap().pem();
    assert!(matches!(CrlSet::from_pem(b""), Err(CrlError::Empty)));
    assert!(matches!(CrlSet::from_pem(b"garbage"), Err(CrlError::Empty)));
    assert!(CrlSet::from_pem(pem.replacen("\nM", "\nA", 1).as_bytes()).is_err());
    assert!(matches!(CrlSet::from_pem(pem.repeat(17).as_bytes()), Err(CrlError::TooMany)));
    assert!(CrlSet::load(Path::new("/nonexistent/list.pem")).unwrap().is_none());
}

#[test]
fn every_cut_of_a_list_is_an_error_and_no_panic() {
    let der = list(1, &[&[0x0b, 0xad]]);
    for length in 0..der.len() {
        assert!(Crl::from_der(&der[..length]).is_err(), "{length}");
    }
    let longer = [der.as_slice(), b"\0"].concat();
    assert!(Crl::from_der(&longer).is_err());
}

proptest::proptest! {
    #[test]
    fn a_damaged_list_never_panics(at in 0_usize..300, value: u8) {
        let mut der = list(1, &[&[0x0b, 0xad]]);
        if let Some(byte) = der.get_mut(at) {
            *byte = value;
        }
        let _ = Crl::from_der(&der);
    }
}

#[test]
fn lists_of_the_largest_answer_are_read_again_from_their_file() {
    let in_lines = u64::from(MAX_RESPONSE) * 65 / 64 + 16 * 64;
    assert!(in_lines <= MAX_LIST_FILE, "{in_lines} bytes of PEM");

    let serials: Vec<_> =
        (0..45_000_u32).map(|n| [&n.to_be_bytes()[..], &[7; 12]].concat()).collect();
    let serials: Vec<_> = serials.iter().map(Vec::as_slice).collect();
    let lists = CrlSet::new(vec![Crl::from_der(&list(9, &serials)).unwrap()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("list.pem");
    lists.write(&path).unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() > crate::files::MAX_FILE);
    assert_eq!(CrlSet::load(&path).unwrap(), Some(lists));
}
