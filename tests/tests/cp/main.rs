//! `rcmd-client cp`: files to hosts and from them, by the real programs.

mod changed;
mod cut;
mod deleting;
mod edited;
mod ends;
mod killed;
mod landing;
mod listing;
mod many;
mod messages;
mod metadata;
mod numbers;
mod pacing;
mod pushing;
mod quota;
mod resuming;
mod shown;
mod software;
mod streams;
mod tree;

use std::ffi::OsStr;
use std::path::Path;

use rcmd_tests::{ClientCommand, World};

/// A client that copies: `cp` with these words, in a folder of its own.
fn cp<W: AsRef<OsStr>>(world: &World, words: impl IntoIterator<Item = W>) -> ClientCommand {
    let client = world.client().without_target();
    client.option("cp").words(words).current_dir(world.scratch("")).env("TERM", "dumb")
}

/// A path of the world's server as a client writes it.
fn there(world: &World, path: impl AsRef<Path>) -> String {
    format!("{}:{}", world.target(), path.as_ref().display())
}
