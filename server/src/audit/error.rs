//! The reasons why the audit can't be kept.

use std::{io, path::PathBuf};

/// The reason why the log can't be used.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A file or folder can't be read or written.
    #[error("the audit can't be kept: {}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// Another server has the folder.
    #[error("another server keeps its audit in {}; give this one a folder of its own with --dir", .0.display())]
    Locked(PathBuf),
    /// The last file has lost its beginning, so nothing can be added to it.
    #[error("the audit is damaged: {} does not begin as it must; look at it with `rcmd-server audit verify`, then move the folder away to begin a new log", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}
