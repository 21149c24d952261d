//! Tests of members with a real authority, and of what two ends tell each other of their certificates.
#![allow(clippy::disallowed_methods, reason = "tests may wait")]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends where something is not as it should be"
)]

mod enroll;
mod explain;
mod tls;
