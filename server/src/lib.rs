//! Runs commands on this machine for those who may ask.
//!
//! `docs/architecture.md` is the map. Arrows point one way:
//!
//! ```text
//! daemon -> net -> connection -> handler -> policy -> job -> process
//! ```

#![deny(unsafe_code)]

pub mod admission;
pub mod audit;
pub mod cli;
mod clock;
pub mod config;
pub mod connection;
pub mod daemon;
pub mod handler;
pub mod job;
pub mod judging;
pub mod net;
pub mod policy;
pub mod process;
pub mod state;
pub mod trust;
pub mod units;
