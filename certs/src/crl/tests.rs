//! Lists that are read, and those that are none.

use super::*;
use crate::ca::{Algorithm, Authority, Revoked};

fn list(number: u64, serials: &[&[u8]]) -> Vec<u8> {
    let authority = Authority::create(Algorithm::Ed25519).unwrap();
    let revoked: Vec<_> = serials
        .iter()
        .map(|serial| Revoked { serial: serial.to_vec(), at: 1_000, reason: None })
        .collect();
    authority.sign_list(number, (2_000, 3_000), &revoked).unwrap().to_vec()
}

#[test]
fn a_list_says_its_facts() {
    let list = RevocationList::from_der(&list(7, &[&[0x0b, 0xad], &[0xff; 16]])).unwrap();
    assert_eq!((list.number, list.this_update, list.next_update), (7, 2_000, 3_000));
    assert_eq!(list.revoked, ["0bad".to_owned(), "ff".repeat(16)]);
    assert!(list.issuer.contains("rcmd authority"), "{}", list.issuer);
}

#[test]
fn a_list_may_be_empty() {
    assert!(RevocationList::from_der(&list(1, &[])).unwrap().revoked.is_empty());
}

#[test]
fn several_lists_are_as_good_as_the_weakest() {
    let all = [list(7, &[&[1]]), list(6, &[&[2]])];
    let all = all.iter().map(|der| RevocationList::from_der(der).unwrap()).collect();
    let lists = Lists::new(all).unwrap();
    assert_eq!(lists.number(), 6);
    assert!(lists.contains("01") && lists.contains("02") && !lists.contains("03"));
    assert_eq!(Lists::from_pem(lists.pem().as_bytes()).unwrap(), lists);
}

#[test]
fn what_is_no_list_is_refused() {
    let pem = RevocationList::from_der(&list(1, &[])).unwrap().pem();
    assert!(matches!(Lists::from_pem(b""), Err(ListError::Empty)));
    assert!(matches!(Lists::from_pem(b"garbage"), Err(ListError::Empty)));
    assert!(Lists::from_pem(pem.replacen("\nM", "\nA", 1).as_bytes()).is_err());
    assert!(matches!(Lists::from_pem(pem.repeat(17).as_bytes()), Err(ListError::TooMany)));
    assert!(Lists::load(Path::new("/nonexistent/list.pem")).unwrap().is_none());
}

#[test]
fn every_cut_of_a_list_is_an_error_and_no_panic() {
    let der = list(1, &[&[0x0b, 0xad]]);
    for length in 0..der.len() {
        assert!(RevocationList::from_der(&der[..length]).is_err(), "{length}");
    }
    let longer = [der.as_slice(), b"\0"].concat();
    assert!(RevocationList::from_der(&longer).is_err());
}

proptest::proptest! {
    #[test]
    fn a_damaged_list_never_panics(at in 0_usize..300, value: u8) {
        let mut der = list(1, &[&[0x0b, 0xad]]);
        if let Some(byte) = der.get_mut(at) {
            *byte = value;
        }
        let _ = RevocationList::from_der(&der);
    }
}
