//! The inputs that fuzzing has saved, and inputs near them, passed to the functions that the fuzz targets call.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "tests may wait")]
// A panic is how a test fails; clippy exempts test functions, not those beside them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[path = "../../../fuzz/src/transfer.rs"]
#[allow(dead_code, unreachable_pub)] // It is a part of another package, under fuzz/.
mod fuzzing;
#[path = "../../../fuzz/src/replay.rs"]
#[allow(dead_code, unreachable_pub)] // It is a part of another package, under fuzz/.
mod replay;

use replay::{near, replay};

/// Bytes that make other messages, names and numbers.
const WORDS: &[u8] = b"\0\x01\x02\x03\x04\x05\x06\x07\x08\x0a\x0b\x0c\x0d\x0e\x20\x21\x22./\xff";

#[test]
fn senders_that_say_anything() {
    replay("transfer_receiver", fuzzing::transfer_receiver);
    near("transfer_receiver", 1, WORDS, fuzzing::transfer_receiver);
}

#[test]
fn receivers_that_say_anything() {
    replay("transfer_sender", fuzzing::transfer_sender);
    near("transfer_sender", 1, WORDS, fuzzing::transfer_sender);
}
