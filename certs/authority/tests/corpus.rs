//! The inputs for the authority's wire and for members' files that fuzzing has saved, passed to the functions
//! that the fuzz targets call.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "tests may wait")]
// A panic is how a test fails; clippy exempts test functions, not those beside them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[path = "../../../fuzz/src/authority.rs"]
#[allow(unreachable_pub)] // It is the fuzz target's own module, under fuzz/.
mod authority;
#[path = "../../../fuzz/src/member_settings.rs"]
#[allow(unreachable_pub)]
mod member_settings;
#[path = "../../../fuzz/src/pem.rs"]
#[allow(unreachable_pub)]
mod pem;
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

#[test]
fn keys_certificates_and_lists_in_files_of_any_bytes() {
    replay("pem", pem::pem);
}

#[test]
fn keys_certificates_and_lists_a_few_bytes_away_from_those() {
    near("pem", 1, b"\0\n\r -=A9+/:", pem::pem);
}

#[test]
fn settings_of_the_authority_and_of_identities() {
    replay("member_settings", member_settings::member_settings);
}

#[test]
fn settings_a_few_bytes_away_from_those() {
    near("member_settings", 1, b"\0\n=[]\"'#*.9", member_settings::member_settings);
}
