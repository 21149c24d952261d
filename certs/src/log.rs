//! A program's log on standard error: written by a thread of its own, so that a reader that stands still holds
//! up nothing else, and with lines of one kind summed up when there are many.

mod queue;
mod sums;

use std::{io, sync::Arc};

pub use self::{
    queue::{LogGuard, Queue},
    sums::SumsLayer,
};

/// Starts the thread that writes to standard error. Returns what takes lines without waiting, the layer
/// that sums them up, and the guard: what was logged is written, for a second at most, before that is gone.
///
/// # Errors
/// When the thread can't be started.
pub fn to_stderr() -> io::Result<(Queue, SumsLayer, LogGuard)> {
    let sums = Arc::default();
    let (queue, guard) = Queue::start(io::stderr(), Arc::clone(&sums))?;
    Ok((queue, SumsLayer::of(sums), guard))
}
