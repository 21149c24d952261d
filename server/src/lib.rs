//! Runs commands on this machine for those who may ask.
//!
//! `docs/architecture.md` is the map. Arrows point one way:
//!
//! ```text
//! run -> listener -> accept -> connection -> handler -> policy, registry, keys -> job -> process
//! ```

#![deny(unsafe_code)]

pub mod accept;
pub mod admission;
pub mod audit;
pub mod budget;
pub mod cli;
mod clock;
pub mod config;
pub mod connection;
pub mod handler;
pub mod job;
pub mod judging;
pub mod keys;
pub mod limits;
pub mod listener;
pub mod locks;
pub mod logging;
pub mod membership;
pub mod peer;
pub mod policy;
pub mod process;
pub mod registry;
pub mod run;
pub mod running;
pub mod seats;
pub mod service;
pub mod shutdown;
