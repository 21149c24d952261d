//! The terminal that a program prints to.

use std::{env, os::fd::AsFd};

use rustix::termios::tcgetwinsize;

/// The width of a terminal that does not know its own, in columns.
const COLUMNS: usize = 80;

/// Returns whether the terminals of this process support control sequences, according to `TERM` (environ(7)).
pub fn obeys() -> bool {
    env::var_os("TERM").is_some_and(|kind| !kind.is_empty() && kind != "dumb")
}

/// Returns the number of columns of a terminal; 80 if it is unknown.
pub fn columns(fd: impl AsFd) -> usize {
    match tcgetwinsize(fd) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        _ => COLUMNS,
    }
}
