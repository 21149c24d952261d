//! Both ends of a transfer over a pair of sockets, or one of them and a script.
//!
//! Tests that measure their process, or start others, are programs of their own: a process that has begun and not yet
//! become its program holds the locks of all files that are open here.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "tests may wait")]
#![allow(clippy::print_stdout, reason = "a test that is skipped says so")]
// A panic is how a test fails; clippy exempts test functions, not those beside them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod accounts;
mod answers;
mod asked;
mod attributes;
mod cuts;
mod deletions;
mod delta;
mod dry_runs;
mod ends;
mod liars;
mod metadata;
mod new_folders;
mod offers;
mod others;
mod owners;
mod packed;
mod places;
mod races;
mod replacing;
mod round_trips;
mod script;
mod spared;
mod tree;
mod wire;
