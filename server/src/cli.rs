//! The command line of `rcmd-server`.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, Subcommand, ValueEnum};

/// Runs commands on this machine for those who may ask.
#[derive(Debug, Parser)]
#[command(
    name = "rcmd-server",
    version,
    about = "Runs commands on this machine for those who may ask",
    after_help = "Examples:\n  rcmd-server --dir demo\n  rcmd-server --listen 0.0.0.0:7263 --log-format json",
    after_long_help = "Examples:\n  rcmd-server --dir demo\n  rcmd-server --listen 0.0.0.0:7263 --log-format json\n\n\
        SIGTERM stops it: nothing new is started, what runs has 10 s to end, then it is ended.\n\
        A second SIGTERM skips the wait. SIGHUP reads certificates and keys again.",
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// What else it can do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What to run with.
    #[command(flatten)]
    pub options: Options,
}

/// Flags of a running server.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Identity and server.toml [default: $RCMD_DIR, /etc/rcmd]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Listen here, also repeated [default: 127.0.0.1:7263]
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Vec<SocketAddr>,
    /// Check configuration and certificates, and end
    #[arg(long)]
    pub check_config: bool,
    /// Log as text or json
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text, hide_possible_values = true)]
    pub log_format: LogFormat,
    /// Log more; twice for everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Log warnings and errors alone
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// What else it can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man {
        /// Write rcmd-server.1 and one page for each command into this folder
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_short_help_fits_a_screen() {
        let help = Cli::command().term_width(80).render_help().to_string();
        assert!(help.lines().count() <= 25, "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
    }
}
