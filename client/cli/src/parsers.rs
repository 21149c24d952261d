//! The readers of this program's own files, for who gives them any bytes: the fuzz targets.

use std::{path::Path, time::Duration};

use crate::{commands, fleet::runs, settings};

/// Reads a `client.toml`, and returns the time that it gives a connection.
///
/// # Errors
/// The message that the program prints of it.
pub fn settings(file: &Path) -> Result<Option<Duration>, String> {
    settings::connect_timeout_in(file).map_err(|failure| failure.message)
}

/// Reads a file of `run --commands`, and returns how many commands it has.
///
/// # Errors
/// The message that the program prints of it.
pub fn commands(file: &Path) -> Result<u64, String> {
    commands::count_in(file).map_err(|failure| failure.message)
}

/// Reads the record of a run, whoever has it, and returns what `runs show` prints of it.
///
/// # Errors
/// The message that the program prints of it.
pub fn record(file: &Path) -> Result<String, String> {
    runs::shown_of(file).map_err(|failure| failure.message)
}
