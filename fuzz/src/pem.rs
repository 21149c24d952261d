//! Keys, certificates and revocation lists in files of any bytes: nothing panics, and no error quotes anything
//! of the file.
//!
//! `certs/authority/tests/corpus.rs` does the same with every saved input, without cargo-fuzz.

use std::{collections::HashSet, fs, os::unix::fs::PermissionsExt, path::PathBuf};

use rcmd_certs::{crl::CrlSet, pem, tls, x509::Certificate};
use tempfile::TempDir;

/// The most bytes of a file that may stand in an error by chance, as text or as numbers.
const BY_CHANCE: usize = 6;

thread_local! {
    /// A folder for each thread, since tests run beside each other; in memory, where there is a place for it.
    static FOLDER: TempDir =
        tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
}

/// Reads a file of these bytes as each kind of file that has PEM in it.
pub fn pem(data: &[u8]) {
    let path = file(data);
    match tls::load_key(&path, "") {
        Ok(key) => {
            let again = pem::pem("PRIVATE KEY", key.secret_der());
            assert!(again.lines().all(|line| line.len() <= 64));
        }
        Err(error) => secret(data, &path, &error),
    }
    match tls::load_certificates(&path) {
        Ok(certificates) => assert!(!certificates.is_empty()),
        Err(error) => secret(data, &path, &error),
    }
    match tls::load_all(&path, "") {
        Ok(certificates) => {
            let text: String =
                certificates.iter().map(|der| pem::pem("CERTIFICATE", der)).collect();
            let again = file(text.as_bytes());
            assert_eq!(tls::load_all(&again, "").unwrap(), certificates);
            for der in &certificates {
                let _ = Certificate::parse(der);
            }
        }
        Err(error) => secret(data, &path, &error),
    }
    match CrlSet::load(&path) {
        Ok(lists) => {
            let lists = lists.unwrap();
            assert_eq!(CrlSet::from_pem(lists.pem().as_bytes()).unwrap().all(), lists.all());
        }
        Err(error) => secret(data, &path, &error),
    }
}

fn file(data: &[u8]) -> PathBuf {
    let path = FOLDER.with(|folder| folder.path().join("file"));
    fs::write(&path, data).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// Checks that an error has a place and a reason, and nothing of the file, neither as text nor as numbers.
fn secret(data: &[u8], path: &std::path::Path, error: &(impl std::error::Error + 'static)) {
    let mut told = format!("{error} {}", values(&format!("{error:?}")));
    let mut source = error.source();
    while let Some(error) = source {
        told += &format!(" {error} {}", values(&format!("{error:?}")));
        source = error.source();
    }
    let told = told.replace(path.to_str().unwrap(), "");
    let numbers =
        told.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok());
    let numbers: Vec<u8> = numbers.collect();
    let told: HashSet<_> =
        [told.as_bytes(), &numbers].iter().flat_map(|text| text.windows(BY_CHANCE)).collect();
    for piece in data.windows(BY_CHANCE).filter(|piece| piece.iter().all(u8::is_ascii_graphic)) {
        let common = || {
            std::str::from_utf8(piece)
                .is_ok_and(|piece| COMMON.iter().any(|own| own.contains(piece)))
        };
        assert!(!told.contains(piece) || common(), "{error} has {}", piece.escape_ascii());
    }
}

/// Returns an error's debugging text without the names of its types, which a file may hold as well.
fn values(text: &str) -> String {
    let mut values = String::new();
    for character in text.chars() {
        match character {
            '(' | '{' => {
                let kept =
                    values.trim_end().trim_end_matches(|c: char| c.is_alphanumeric() || c == '_');
                values.truncate(kept.len());
                values.push(' ');
            }
            other => values.push(other),
        }
    }
    values
}

/// Text that stands in errors whatever a file holds, so that a file may hold it too: the labels, and our own words.
const COMMON: [&str; 7] = [
    "-----BEGIN -----END PRIVATE KEY----- CERTIFICATE----- CERTIFICATES X509 CRL----- \
     ENCRYPTED Proc-Type: 4,ENCRYPTED",
    include_str!("../../certs/src/crl.rs"),
    include_str!("../../certs/src/crl/set.rs"),
    include_str!("../../certs/src/files.rs"),
    include_str!("../../certs/src/pem.rs"),
    include_str!("../../certs/src/tls/error.rs"),
    include_str!("../../certs/src/x509.rs"),
];
