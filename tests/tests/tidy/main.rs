//! Style as a test: what `rustfmt` and `clippy` cannot see.

mod documents;
mod packages;
mod style;
mod tree;
mod waits;
