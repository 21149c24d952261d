//! The command line of `rcmd-server`.

pub mod audit;
pub mod check_config;
pub mod enroll;
pub mod manual;
pub mod policy;
pub mod status;

use std::path::PathBuf;

use clap::{
    CommandFactory as _, Parser, Subcommand,
    error::{ContextKind, ContextValue},
};
use jiff::{Timestamp, civil, tz::TimeZone};
use rcmd_certs::{
    secret::Confidential,
    text::{self, Complaint},
};
use tracing::level_filters::LevelFilter;

use self::{audit::AuditCommand, policy::PolicyCommand};
use crate::{config::listen::ListenAddress, daemon::log::LogFormat};

/// The examples of both helps.
const EXAMPLES: &str = "\
Examples:
  rcmd-server --dir demo
  rcmd-server --listen 0.0.0.0:7263 --log-format json";

/// The end of the long help.
const MORE: &str = "\
SIGTERM stops the server: no new command starts, and running commands have 10 s before they are ended. A \
second SIGTERM skips the wait. SIGHUP makes the server read certificates, keys, the policy and the limits of \
identities again.";

/// Runs commands on this machine for permitted clients
#[derive(Debug, Parser)]
#[command(name = "rcmd-server", version, after_help = EXAMPLES)]
#[command(after_long_help = format!("{EXAMPLES}\n\n{MORE}"))]
#[command(max_term_width = 100, disable_help_subcommand = true)]
pub struct Cli {
    /// The subcommand; without one the server runs.
    #[command(subcommand)]
    pub command: Option<ServerCommand>,
    /// The options of the server itself.
    #[command(flatten)]
    pub options: ServerOptions,
}

impl Cli {
    /// Returns the subcommand with the folder that was named before it.
    ///
    /// # Errors
    /// If an option of the server itself stands before a subcommand, or `--dir` on both sides of it.
    pub fn settled(mut self) -> Result<Self, clap::Error> {
        let Some(command) = &mut self.command else { return Ok(self) };
        let ServerOptions { dir, listen, check_config, log_format, verbose, quiet } = &self.options;
        let of_server = [
            ("--listen", !listen.is_empty()),
            ("--check-config", *check_config),
            ("--log-format", *log_format != LogFormat::Text),
            ("--verbose", *verbose > 0),
            ("--quiet", *quiet),
        ];
        let conflict = |message: String| {
            Self::command().error(clap::error::ErrorKind::ArgumentConflict, message)
        };
        if let Some((flag, _)) = of_server.into_iter().find(|(_, given)| *given) {
            return Err(conflict(format!(
                "{flag} is an option of the server itself, not of a subcommand"
            )));
        }
        if let Some(before) = dir {
            match command.dir() {
                Some(own @ None) => *own = Some(before.clone()),
                Some(Some(_)) => return Err(conflict("--dir was given twice".to_owned())),
                None => return Err(conflict("this subcommand has no --dir".to_owned())),
            }
        }
        Ok(self)
    }
}

/// Subcommands that start other servers.
const SERVES: [&str; 5] = ["daemon", "listen", "run", "serve", "start"];

/// Returns a complaint about a command line. A subcommand that starts other servers is answered with what
/// starts this one.
pub fn complaint(error: &clap::Error) -> Complaint {
    let complaint = text::complaint("rcmd-server", &error.render().to_string());
    match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(word)) if SERVES.contains(&word.as_str()) => {
            let hint =
                "`rcmd-server` without a subcommand serves; see `rcmd-server -h`.".to_owned();
            Complaint { hint, ..complaint }
        }
        _ => complaint,
    }
}

/// The options of the server itself.
#[derive(Debug, clap::Args)]
pub struct ServerOptions {
    /// Server's folder [default: $RCMD_DIR, /etc/rcmd]
    ///
    /// Contains ca.pem, server/cert.pem, server/key.pem, policy.cedar and, optionally, server.toml.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Listen here; repeatable [default: 127.0.0.1:7263]
    ///
    /// ADDR:PORT, where port 0 takes one that is free; unix:PATH, a Unix socket; or fd, the sockets that the service
    /// manager passes to the server.
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Vec<ListenAddress>,
    /// Check configuration and certificates, then exit
    #[arg(long)]
    pub check_config: bool,
    /// Form of the log: text or json
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text, hide_possible_values = true)]
    pub log_format: LogFormat,
    /// Log more; -vv logs everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Log only warnings and errors
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
}

impl ServerOptions {
    /// Returns the least level that is logged.
    pub fn log_level(&self) -> LevelFilter {
        match (self.quiet, self.verbose) {
            (true, _) => LevelFilter::WARN,
            (false, 0) => LevelFilter::INFO,
            (false, 1) => LevelFilter::DEBUG,
            (false, _) => LevelFilter::TRACE,
        }
    }
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum ServerCommand {
    /// Check, explain or create the policy
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Get this host's certificate with a token
    Enroll(EnrollOptions),
    /// Report on server, audit, certificate and authority
    Status(StatusOptions),
    /// Show the audit log, or verify that it is complete
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Print completions for a shell
    Completions {
        /// Shell to complete for
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write all pages
    Man {
        /// Write rcmd-server.1 and one page for each command into this folder
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

impl ServerCommand {
    /// Returns the place of the option `--dir`, if the subcommand has it.
    fn dir(&mut self) -> Option<&mut Option<PathBuf>> {
        match self {
            Self::Policy(command) => Some(command.dir()),
            Self::Enroll(options) => Some(&mut options.dir),
            Self::Status(options) => Some(&mut options.dir),
            Self::Audit(command) => Some(command.dir()),
            Self::Completions { .. } | Self::Man { .. } => None,
        }
    }
}

/// The options of `rcmd-server enroll`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The token is read from standard input. The private key is made here and never leaves \
    this machine.\n\n\
    Examples:\n  rcmd-server enroll <token\n  rcmd-server enroll --token-file /root/token"
)]
pub struct EnrollOptions {
    /// Folder for the identity [default: $RCMD_DIR, /etc/rcmd]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Name to take from a token for many hosts [default: this host's]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Read the token from this file, as `rcmd-certs bundle` writes it
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub token_file: Option<PathBuf>,
    /// Token, as `rcmd-certs token server NAME` prints it; on a command line other users can read it
    pub token: Option<Confidential<String>>,
}

/// The options of `rcmd-server status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit status: 0 if a server runs and all is well, else 1.")]
pub struct StatusOptions {
    /// Server's folder [default: $RCMD_DIR, /etc/rcmd]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Reads a day or a time, in UTC unless the text says otherwise.
fn moment(text: &str) -> Option<Timestamp> {
    let in_utc = || text.parse::<civil::DateTime>().and_then(|time| time.to_zoned(TimeZone::UTC));
    text.parse().ok().or_else(|| Some(in_utc().ok()?.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_folder_may_stand_before_a_subcommand_and_other_flags_may_not() {
        let settled = |words: &str| Cli::try_parse_from(words.split(' ')).unwrap().settled();
        for words in ["status", "policy check", "policy init", "audit show", "audit verify"] {
            let mut cli = settled(&format!("rcmd-server --dir x {words}")).unwrap();
            assert_eq!(cli.command.as_mut().unwrap().dir(), Some(&mut Some("x".into())), "{words}");
        }
        let refused = |words: &str| settled(words).unwrap_err().to_string();
        assert!(
            refused("rcmd-server --listen 0.0.0.0:1 status")
                .contains("--listen is an option of the server")
        );
        assert!(refused("rcmd-server -q status").contains("--quiet is an option of the server"));
        assert!(refused("rcmd-server --dir x status --dir y").contains("given twice"));
        assert!(refused("rcmd-server --dir x man").contains("has no --dir"));
    }

    #[test]
    fn what_starts_other_servers_is_answered_with_what_starts_this_one() {
        let error = Cli::try_parse_from(["rcmd-server", "start"]).unwrap_err();
        assert!(complaint(&error).hint.contains("without a subcommand serves"));
        let error = Cli::try_parse_from(["rcmd-server", "statsu"]).unwrap_err();
        assert!(complaint(&error).hint.contains("status"));
    }

    #[test]
    fn the_short_help_fits_a_screen() {
        let help = Cli::command().term_width(80).render_help().to_string();
        assert!(help.lines().count() <= 25, "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
    }
}
