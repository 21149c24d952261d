//! The reasons why the audit can't be kept.

use std::{io, path::PathBuf};

use rcmd_protocol::outcome::{ErrorKind, WireError};

/// The reason why the log can't be used.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A file or folder can't be read or written.
    #[error("the audit cannot be written: {}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// Another server uses the folder.
    #[error("another server writes its audit to {}; give this one a folder of its own with --dir", .0.display())]
    Locked(PathBuf),
    /// The last file has lost its beginning, so nothing can be added to it.
    #[error("the audit is damaged: {} does not begin with a valid record; examine it with `rcmd-server audit verify`, then move the folder away to begin a new log", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

/// Returns the failure for a client when the log can't be written.
pub(super) fn unwritable(reason: &str) -> WireError {
    WireError::new(ErrorKind::Resources, format!("the host's audit can't be written: {reason}"))
        .hint(
            "Nothing runs until the audit can be written; free space for server/audit on the host.",
        )
}
