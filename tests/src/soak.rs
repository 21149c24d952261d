//! Long runs against the real programs. Ordinary tests run a small share of each; the whole is
//! `cargo run --release -p rcmd-tests --bin soak -- NAME --rounds N`.

use std::fmt;

pub mod attack;
pub mod audit;
pub mod authority;
pub mod before;
pub mod connections;
pub mod cuts;
pub mod damage;
pub mod fairness;
pub mod fleet;
pub mod kills;
pub mod locks;
pub mod output;
pub mod renewal;
pub mod revocation;
pub mod rotation;
pub mod stdin;
pub mod storms;

/// The result of a long run, which prints its figures.
pub trait Judged: fmt::Display {
    /// Returns whether all was as it must be.
    fn are_good(&self) -> bool;
}
