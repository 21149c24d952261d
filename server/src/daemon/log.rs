//! The format of the log.

use std::io;

use clap::ValueEnum;
use rcmd_certs::{
    log::{self, LogGuard},
    terminal,
};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// The format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// Writes messages of at least this level to standard error, in colour at a terminal that obeys, unless
/// `NO_COLOR` is set (<https://no-color.org>). Dropping the guard waits up to a second until the messages so far
/// are written.
///
/// # Errors
/// If the thread can't be started.
pub fn init(level: LevelFilter, format: LogFormat) -> io::Result<LogGuard> {
    let colours = io::IsTerminal::is_terminal(&io::stderr())
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && terminal::obeys();
    let (queue, sums, guard) = log::to_stderr()?;
    let log = fmt().with_writer(queue).with_max_level(level).with_target(false);
    match format {
        LogFormat::Text => log.with_ansi(colours).finish().with(sums).init(),
        LogFormat::Json => {
            log.json().flatten_event(true).finish().with(sums).init();
        }
    }
    Ok(guard)
}
