//! Runs commands on this machine for those who may ask.
//!
//! `docs/architecture.md` is the map. Arrows point one way:
//!
//! ```text
//! daemon -> net -> request -> policy -> job -> process
//! ```

#![deny(unsafe_code)]

pub mod admission;
pub mod audit;
pub mod cli;
mod clock;
pub mod config;
pub mod daemon;
pub mod job;
pub mod net;
pub mod policy;
pub mod process;
pub mod request;
pub mod state;
pub mod trust;
pub mod units;
