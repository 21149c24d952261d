//! The readers of the files of this program, for fuzz targets.

use std::{path::Path, time::Duration};

use crate::{commands, fleet::runs, settings};

/// Reads a `client.toml` and returns its `connect_timeout`.
///
/// # Errors
/// The message that the program prints.
pub fn settings(file: &Path) -> Result<Option<Duration>, String> {
    settings::connect_timeout_in(file).map_err(|failure| failure.message)
}

/// Reads a file for `run --commands` and returns the number of its commands.
///
/// # Errors
/// The message that the program prints.
pub fn commands(file: &Path) -> Result<u64, String> {
    commands::count_in(file).map_err(|failure| failure.message)
}

/// Reads the record of a run and returns what `runs show` prints.
///
/// # Errors
/// The message that the program prints.
pub fn record(file: &Path) -> Result<String, String> {
    runs::shown_of(file).map_err(|failure| failure.message)
}
