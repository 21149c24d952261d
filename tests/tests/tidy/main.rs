//! Style as a test: what `rustfmt` and `clippy` cannot see.

mod documents;
mod imports;
mod layers;
mod packages;
mod structure;
mod style;
mod tree;
mod waits;
