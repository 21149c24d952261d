//! The rcmd wire protocol, version 1: frames, streams, resumption, outcomes.
//!
//! `docs/protocol.md` is its specification. All modules but [`io`] are sans-IO: they take bytes and times
//! and return frames. [`io`] moves frames over a socket with tokio.
//!
//! | module | holds |
//! | --- | --- |
//! | [`limits`] | every limit |
//! | [`ids`], [`signal`], [`outcome`], [`digest`] | names, signals, outcomes, digests of streams |
//! | [`error`] | how a peer can break the protocol |
//! | [`request`] | a client's request, parsed and checked once |
//! | [`frame`] | the frames, their encoding and their decoding |
//! | [`stream`] | the two ends of a stream: offsets, credit, digests; memory that is reused |
//! | [`connection`] | one side of a connection: which frames the peer may send now, and whether it is alive |
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
