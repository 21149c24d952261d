//! The inputs that fuzzing has saved, passed to the functions that the fuzz targets call.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "tests may wait")]
// A panic is how a test fails; clippy exempts test functions, not those beside them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[path = "../../fuzz/src/lib.rs"]
#[allow(dead_code, unreachable_pub)] // It is a library of its own, under fuzz/.
mod fuzzing;
#[path = "../../fuzz/src/replay.rs"]
#[allow(dead_code, unreachable_pub)] // Inputs near the saved ones are not tried here.
mod replay;

use replay::replay;

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
