//! What rcmd says on the wire, version 1: frames, streams, resumption, outcomes.
//!
//! `docs/protocol.md` specifies it. Everything here is sans-IO, taking bytes and times and giving
//! frames, but [`io`], which moves them over a socket with tokio.
//!
//! | module | holds |
//! | --- | --- |
//! | [`frame`], [`codec`] | the frames, and their way to bytes and back |
//! | [`connection`] | one side of a connection: what the peer may say now, whether it lives |
//! | [`incoming`], [`outgoing`] | the two ends of a stream: offsets, credit, digests |
//! | [`outbox`] | frames that wait for the socket |
//! | [`blocks`] | memory that is used again |
//! | [`request`], [`outcome`] | what is asked for, and how it ended |
//! | [`limits`] | every limit |

#![forbid(unsafe_code)]

pub mod blocks;
mod brief;
pub mod codec;
mod compression;
pub mod connection;
pub mod digest;
pub mod fault;
pub mod frame;
mod header;
pub mod ids;
pub mod incoming;
pub mod io;
mod json;
pub mod limits;
pub mod outbox;
pub mod outcome;
pub mod outgoing;
pub mod request;
pub mod signal;
