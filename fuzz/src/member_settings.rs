//! `authority.toml` and `identity.toml` of any bytes: nothing panics, what is accepted is within its limits, and
//! errors have one line.
//!
//! `certs/authority/tests/corpus.rs` does the same with every saved input, without cargo-fuzz.

use std::{fs, time::Duration};

use rcmd_authority::state::AuthoritySettings;
use rcmd_certs::{enroll::token::is_address, mapping::Mapping};
use tempfile::TempDir;

thread_local! {
    /// A folder for each thread, since tests run beside each other; in memory, where there is a place for it.
    static FOLDER: TempDir =
        tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
}

/// Reads the bytes after the first as the file that the first one selects.
pub fn member_settings(data: &[u8]) {
    let [which, rest @ ..] = data else { return };
    let path = FOLDER.with(|folder| folder.path().join("file.toml"));
    fs::write(&path, rest).unwrap();
    if which % 2 == 0 {
        match AuthoritySettings::load(&path) {
            Ok(settings) => {
                let lives = [settings.client_life, settings.server_life, settings.token_life];
                let sound = Duration::from_secs(1)..=Duration::from_secs(3653 * 86_400);
                assert!(lives.iter().all(|life| sound.contains(life)));
                assert!(settings.list_life > settings.list_every);
                assert!(settings.addresses.iter().all(|address| is_address(address)));
            }
            Err(error) => one_line(&error.to_string()),
        }
    } else {
        match Mapping::load(&path) {
            Ok(mapping) => assert!(mapping.authorities().iter().all(|ca| ca.is_absolute())),
            // The reader of TOML quotes the line, which is escaped when it is printed.
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

fn one_line(told: &str) {
    assert!(!told.is_empty() && !told.chars().any(char::is_control), "{told:?}");
    assert!(told.len() < 4096, "{} bytes", told.len());
}
