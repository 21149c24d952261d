//! What fuzzing has saved, through the functions that the fuzz targets call.

// A panic is how a test fails; clippy exempts test functions, not those beside them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::{fs, path::Path};

#[path = "../../fuzz/src/lib.rs"]
#[allow(dead_code, unreachable_pub)] // It is a library of its own, under fuzz/.
mod fuzzing;

fn replay(target: &str, function: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let input = fs::read(&path).unwrap();
        eprintln!("{}", path.display());
        function(&input);
        count += 1;
    }
    assert!(count > 0, "{} is empty", folder.display());
}

#[test]
fn frames_in_any_pieces() {
    replay("frame", fuzzing::frame);
}

#[test]
fn headers_under_a_second_reader() {
    replay("header", fuzzing::header);
}

#[test]
fn requests_of_any_payload() {
    replay("request", fuzzing::request);
}

#[test]
fn streams_and_connections_of_any_course() {
    replay("connection", fuzzing::connection);
}
