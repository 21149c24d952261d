//! Work that waits for people or for a disk, on a thread of its own.

use std::thread;

use rcmd_client::{ErrorKind, WireError};
use tokio::sync::oneshot;

/// Starts work, and returns where its outcome comes. It fails there if the thread is gone without one.
///
/// # Errors
/// The system has no thread left.
pub(super) fn aside<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<oneshot::Receiver<T>, WireError> {
    let (end, ended) = oneshot::channel();
    let run = move || {
        // Nobody waits for it after a signal.
        let _ = end.send(work());
    };
    thread::Builder::new().name(name.to_owned()).spawn(run).map_err(|error| {
        WireError::new(ErrorKind::Resources, format!("cannot start a thread: {error}"))
            .hint("Nothing was transferred; check the limits of this shell with `ulimit -a`.")
    })?;
    Ok(ended)
}
