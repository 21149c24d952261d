//! The inputs that fuzzing the client's own files has saved, run through the functions that the
//! fuzz targets call.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "tests may wait")]
// A panic is how a test fails; clippy exempts test functions, not those beside them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[path = "../../../fuzz/src/client_files.rs"]
#[allow(unreachable_pub)] // It is the fuzz target's own module, under fuzz/.
mod client_files;
#[path = "../../../fuzz/src/hosts.rs"]
#[allow(unreachable_pub)]
mod hosts;
#[path = "../../../fuzz/src/replay.rs"]
#[allow(unreachable_pub)]
mod replay;

use replay::{near, replay};

#[test]
fn settings_commands_and_records_of_any_bytes() {
    replay("client_files", client_files::client_files);
}

#[test]
fn settings_commands_and_records_a_few_bytes_away_from_those() {
    near("client_files", 1, b"\0\n\r=[]{}:\"'#,\\.9", client_files::client_files);
}

#[test]
fn sets_and_inventories_of_any_text() {
    replay("hosts", hosts::hosts);
}

#[test]
fn sets_and_inventories_a_few_bytes_away_from_those() {
    near("hosts", 1, b"\0\n[]{}:,!&^@*?-/0123456789 =#&<\"'", hosts::hosts);
}
