//! `client.toml`, files of `run --commands` and records of runs, of any bytes: nothing panics, an error has its
//! place, and what is accepted is within its limits.
//!
//! `client/cli/tests/corpus.rs` does the same with every saved input, without cargo-fuzz.

use std::{fs, path::Path, time::Duration};

use rcmd_client_cli::parsers;
use tempfile::TempDir;

thread_local! {
    /// A folder for each thread, since tests run beside each other; in memory, where there is a place for it.
    static FOLDER: TempDir =
        tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
}

/// The first byte of an input for the record of a run; any other is for one of two files.
const RECORD: u8 = b'r';

/// Reads the bytes after the first as the file that the first one selects.
pub fn client_files(data: &[u8]) {
    let [which, rest @ ..] = data else { return };
    let folder = FOLDER.with(|folder| folder.path().to_owned());
    let lines = rest.split(|&byte| byte == b'\n').count();
    if *which == RECORD {
        return record(rest, &folder.join("record"), lines);
    }
    if which % 2 == 0 {
        let path = folder.join("client.toml");
        fs::write(&path, rest).unwrap();
        match parsers::settings(&path) {
            Ok(timeout) => {
                let longest = Duration::from_secs(10 * 365 * 86_400);
                assert!(timeout.is_none_or(|time| time > Duration::ZERO && time <= longest));
            }
            Err(told) => {
                let place = told.split_once("client.toml:").unwrap().1;
                let mut numbers = place.split(':').map(|number| number.parse::<usize>());
                let (line, column) = (numbers.next().unwrap(), numbers.next().unwrap());
                assert!((1..=lines).contains(&line.unwrap()), "{told:?}");
                assert!((1..=rest.len() + 1).contains(&column.unwrap()), "{told:?}");
                assert!(!told.contains('\n'), "{told:?}");
            }
        }
        return;
    }
    let path = folder.join("commands");
    fs::write(&path, rest).unwrap();
    let is_asked_for = |line: &&[u8]| !line.trim_ascii().is_empty();
    let most = rest.split(|&byte| byte == b'\n').filter(is_asked_for).count();
    match parsers::commands(&path) {
        Ok(count) => assert!(count as usize <= most, "{count} commands on {most} lines"),
        Err(told) => {
            let line = told.strip_prefix("line ").and_then(|rest| rest.split(' ').next());
            assert!((1..=lines).contains(&line.unwrap().parse().unwrap()), "{told:?}");
        }
    }
}

fn record(bytes: &[u8], path: &Path, lines: usize) {
    fs::write(path, bytes).unwrap();
    match parsers::record(path) {
        Ok(text) => assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}"),
        Err(told) => {
            assert!(!told.contains(char::is_control), "{told:?}");
            // The error names the file and a line; or the file ends too early, or is of another version.
            if let Some((_, place)) = told.split_once("record:") {
                let line = place.split(':').next().unwrap().parse().unwrap();
                assert!((1..=lines).contains(&line), "{told:?}");
            }
        }
    }
}
