//! What rcmd says on the wire, version 1: frames, streams, resumption, outcomes.
//!
//! `docs/protocol.md` specifies it. Everything here is sans-IO, taking bytes and times and giving
//! frames, but [`io`], which moves them over a socket with tokio.
//!
//! | module | holds |
//! | --- | --- |
//! | [`limits`] | every limit |
//! | [`ids`], [`signal`], [`outcome`], [`digest`] | names, signals, outcomes, digests of streams |
//! | [`error`] | what a peer can do wrong |
//! | [`request`] | what is asked for, parsed once |
//! | [`frame`] | the frames, and their way to bytes and back |
//! | [`stream`] | the two ends of a stream: offsets, credit, digests; memory that is used again |
//! | [`connection`] | one side of a connection: what the peer may say now, whether it lives |
//! | [`outbox`] | frames that wait for the socket |
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests may wait"))]
#![forbid(unsafe_code)]

mod compression;
pub mod connection;
pub mod digest;
pub mod error;
pub mod frame;
pub mod ids;
pub mod io;
pub mod limits;
pub mod outbox;
pub mod outcome;
pub mod request;
pub mod signal;
pub mod stream;
