//! Processes: found, made, watched, signalled, and gone to the last of their tree.
//!
//! This is the only place in the workspace with unsafe code.

mod account;
mod leaders;
pub mod plan;
mod prepare;
mod resolve;
mod spawn;
mod tree;

pub use account::Account;
pub use prepare::{descriptor_limit, prepare_self};
pub use resolve::{Resolved, resolve};
pub use spawn::{Ended, Process, Processes, SpawnError};
pub use tree::{Tree, TreeKill};
