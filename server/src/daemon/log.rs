//! The log on standard error: written by a thread of its own, so that a reader that stands still holds
//! up nothing else, and with lines of one kind summed up when there are many.

mod queue;
mod sums;

use std::{io, sync::Arc};

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

pub use self::queue::LogGuard;
use self::{queue::Queue, sums::Sums};

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// Sends what is at least of this level to standard error. Colours follow <https://no-color.org>. What
/// was logged is written, for a second at most, before the guard is gone.
///
/// # Errors
/// When the thread can't be started.
pub fn init(level: LevelFilter, format: LogFormat) -> io::Result<LogGuard> {
    let colours = io::IsTerminal::is_terminal(&io::stderr())
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let sums = Arc::new(Sums::default());
    let (queue, guard) = Queue::start(io::stderr(), Arc::clone(&sums))?;
    let log = fmt().with_writer(queue).with_max_level(level).with_target(false);
    match format {
        LogFormat::Text => log.with_ansi(colours).finish().with(sums::Layer(sums)).init(),
        LogFormat::Json => {
            log.json().flatten_event(true).finish().with(sums::Layer(sums)).init();
        }
    }
    Ok(guard)
}
