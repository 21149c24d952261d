//! The readers of this server's own files, for callers with arbitrary bytes: the fuzz targets.

use std::path::Path;

use rcmd_certs::Layout;

use crate::{config::ServerSettings, job::idempotency::IdempotencyLog};

/// Reads `server.toml` in a folder.
///
/// # Errors
/// The server's message about it.
pub fn settings(folder: &Path) -> Result<(), String> {
    let read = ServerSettings::load(&Layout::new(folder), Vec::new());
    read.map(drop).map_err(|error| error.to_string())
}

/// Reads a file of keys, and rewrites it.
///
/// # Errors
/// The server's message about it.
pub fn keys(file: &Path) -> Result<(), String> {
    IdempotencyLog::open(file).map(drop).map_err(|error| error.to_string())
}
