//! The style of the workspace as tests: what `rustfmt` and `clippy` cannot see.

mod blocking;
mod ci;
mod documents;
mod imports;
mod layers;
mod map;
mod packages;
mod shares;
mod structure;
mod style;
mod tasks;
mod threats;
mod tree;
mod waits;
