//! Inputs that fuzzing the policy and the audit has saved, run through the functions that the fuzz
//! targets call.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "tests may wait")]
// A test fails by panicking; clippy exempts test functions, but not the functions beside them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[path = "../../fuzz/src/audit.rs"]
#[allow(unreachable_pub)] // The module belongs to the fuzz target, under fuzz/.
mod audit;
#[path = "../../fuzz/src/policy.rs"]
#[allow(unreachable_pub)]
mod policy;
#[path = "../../fuzz/src/replay.rs"]
#[allow(unreachable_pub)]
mod replay;
#[path = "../../fuzz/src/rules.rs"]
#[allow(unreachable_pub)]
mod rules;
#[path = "../../fuzz/src/server_files.rs"]
#[allow(unreachable_pub)]
mod server_files;

use replay::{near, replay};

#[test]
fn requests_under_a_policy() {
    replay("policy", policy::policy);
}

#[test]
fn requests_a_few_bytes_away_from_those() {
    near("policy", 4, b"\0 /nw\xff=*", policy::policy);
}

#[test]
fn logs_of_any_bytes_and_changes_of_whole_ones() {
    replay("audit", audit::audit);
}

#[test]
fn logs_a_few_bytes_away_from_those() {
    near("audit", 1, b"\0\n{}[]\"\\", audit::audit);
}

#[test]
fn policies_of_any_text() {
    replay("rules", rules::rules);
}

#[test]
fn policies_a_few_bytes_away_from_those() {
    near("rules", 1, b"\0\n(){}[]\"@?&|!=;:,", rules::rules);
}

#[test]
fn settings_and_keys_of_any_bytes() {
    replay("server_files", server_files::server_files);
}

#[test]
fn settings_and_keys_a_few_bytes_away_from_those() {
    near("server_files", 1, b"\0\n{}[]\":,=0", server_files::server_files);
}
