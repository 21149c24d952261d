//! What fuzzing the authority's wire has saved, through the function that the fuzz target calls.

// A panic is how a test fails; clippy exempts test functions, not those beside them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[path = "../../../fuzz/src/authority.rs"]
#[allow(unreachable_pub)] // It is the fuzz target's own module, under fuzz/.
mod authority;
#[path = "../../../fuzz/src/replay.rs"]
#[allow(unreachable_pub)]
mod replay;

use replay::{near, replay};

#[test]
fn messages_tokens_and_requests_of_any_bytes() {
    replay("authority", authority::authority);
}

#[test]
fn messages_tokens_and_requests_a_few_bytes_away_from_those() {
    near("authority", 1, b"\0\x30\x82\xff{}[]\",:9A=", authority::authority);
}
