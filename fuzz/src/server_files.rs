//! `server.toml` and `keys.jsonl` of any bytes: nothing panics, errors have their place, and what was accepted
//! is written so that it is accepted again.
//!
//! `server/tests/corpus.rs` does the same with every saved input, without cargo-fuzz.

use std::fs;

use rcmd_server::parsers;
use tempfile::TempDir;

thread_local! {
    /// A folder for each thread, since tests run beside each other; in memory, where there is a place for it.
    static FOLDER: TempDir =
        tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
}

/// Reads the bytes after the first as the file that the first one selects.
pub fn server_files(data: &[u8]) {
    let [which, rest @ ..] = data else { return };
    let folder = FOLDER.with(|folder| folder.path().to_owned());
    if which % 2 == 0 {
        fs::write(folder.join("server.toml"), rest).unwrap();
        if let Err(told) = parsers::settings(&folder) {
            assert!(told.contains("server.toml"), "{told:?}");
        }
        return;
    }
    let keys = folder.join("keys.jsonl");
    fs::write(&keys, rest).unwrap();
    match parsers::keys(&keys) {
        Ok(()) => {
            // Lines that are not kept (too old, or a torn last one) are gone for good.
            let lines = |text: &[u8]| {
                let mut lines: Vec<_> =
                    text.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
                lines.sort();
                lines
            };
            let written = fs::read(&keys).unwrap();
            parsers::keys(&keys).unwrap();
            assert_eq!(lines(&fs::read(&keys).unwrap()), lines(&written));
        }
        Err(told) => {
            assert!(told.contains("keys.jsonl:"), "{told:?}");
            assert_eq!(
                fs::read(&keys).unwrap(),
                rest,
                "a file that is not understood is left alone"
            );
        }
    }
}
