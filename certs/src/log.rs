//! A program's log on standard error. A thread of its own writes it, so that a reader that stops reading delays
//! nothing else, and lines of one kind are summed up when there are many.

mod queue;
mod sums;

use std::{io, sync::Arc};

pub use self::{
    queue::{LogGuard, Queue},
    sums::SumsLayer,
};

/// Starts the thread that writes to standard error. Returns the queue, which takes lines without waiting; the
/// layer that sums lines up; and the guard, which on its end waits at most a second until all lines are written.
///
/// # Errors
/// Fails when the thread can't be started.
pub fn to_stderr() -> io::Result<(Queue, SumsLayer, LogGuard)> {
    let sums = Arc::default();
    let (queue, guard) = Queue::start(io::stderr(), Arc::clone(&sums))?;
    Ok((queue, SumsLayer::of(sums), guard))
}
