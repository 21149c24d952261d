//! The server: runs commands on this machine for peers that policy permits to.
//!
//! `docs/architecture.md` is the map. The dependencies point one way:
//!
//! ```text
//! daemon -> control, net -> request -> policy -> job -> process
//! ```
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests may wait"))]
#![deny(unsafe_code)]

mod admission;
pub mod audit;
pub mod cli;
mod config;
mod control;
pub mod daemon;
mod glob;
mod job;
mod net;
#[doc(hidden)]
pub mod parsers;
pub mod policy;
pub mod process;
mod request;
mod state;
pub mod transfer;
pub mod trust;
pub mod units;
mod workers;
