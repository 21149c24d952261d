//! The log on standard error.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt;

use crate::cli::{LogFormat, Options};

/// Sends the log to standard error, as the flags say. Colours follow <https://no-color.org>.
pub fn init(options: &Options) {
    let level = match (options.quiet, options.verbose) {
        (true, _) => LevelFilter::WARN,
        (false, 0) => LevelFilter::INFO,
        (false, 1) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr())
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let log = fmt().with_writer(std::io::stderr).with_max_level(level).with_target(false);
    match options.log_format {
        LogFormat::Text => log.with_ansi(colours).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}
