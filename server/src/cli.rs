//! The command line of `rcmd-server`.

pub mod audit;
pub mod check_config;
pub mod config;
pub mod enroll;
pub mod manual;
pub mod policy;
pub mod ps;
pub mod status;

use std::{net::SocketAddr, path::PathBuf};

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

use self::{
    audit::AuditCommand,
    config::ConfigCommand,
    policy::PolicyCommand,
    ps::{KillOptions, PsOptions},
};
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
        let ServerOptions { dir, listen, metrics, check_config, log_format, verbose, quiet } =
            &self.options;
        let of_server = [
            ("--listen", !listen.is_empty()),
            ("--metrics", metrics.is_some()),
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

/// Reads an address to serve metrics at. A port alone is one of this machine's loopback interface.
///
/// # Errors
/// The fault of the address, and what to write.
fn metrics_address(typed: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = typed.strip_prefix(':').unwrap_or(typed).parse::<u16>() {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    match typed.parse()? {
        ListenAddress::Tcp(address) => Ok(address),
        ListenAddress::Unix(_) | ListenAddress::FromManager => {
            Err("metrics are served at an address; write ADDR:PORT, as in 127.0.0.1:9463"
                .to_owned())
        }
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
    /// Serve metrics for Prometheus here; a port alone means 127.0.0.1 [default: nowhere]
    ///
    /// GET /metrics and GET /healthz. Whoever reaches the address can read them.
    #[arg(long, value_name = "[ADDR:]PORT", value_parser = metrics_address, hide_short_help = true)]
    pub metrics: Option<SocketAddr>,
    /// Check configuration and certificates, then exit
    #[arg(long)]
    pub check_config: bool,
    /// Form of the log: text or json
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text, hide_possible_values = true, hide_short_help = true)]
    pub log_format: LogFormat,
    /// Log more; -vv logs everything
    #[arg(short, long, action = clap::ArgAction::Count, hide_short_help = true)]
    pub verbose: u8,
    /// Log only warnings and errors
    #[arg(short, long, conflicts_with = "verbose", hide_short_help = true)]
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
    /// List the commands that run or wait
    Ps(PsOptions),
    /// End a command
    Kill(KillOptions),
    /// Print the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
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
            Self::Ps(options) => Some(&mut options.dir),
            Self::Kill(options) => Some(&mut options.dir),
            Self::Config(command) => Some(command.dir()),
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
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
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
        for words in [
            "status",
            "ps",
            "kill x",
            "config dump",
            "policy check",
            "policy init",
            "audit show",
            "audit verify",
        ] {
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
    fn metrics_are_for_this_machine_unless_an_address_is_given() {
        let at = |typed| metrics_address(typed).unwrap().to_string();
        assert_eq!([at("9463"), at(":9463")], ["127.0.0.1:9463"; 2]);
        assert_eq!(at("0.0.0.0:9463"), "0.0.0.0:9463");
        for typed in ["", "x", "localhost:1", "99999", "10.0.0.1", "fd", "unix:/run/x"] {
            assert!(metrics_address(typed).is_err(), "{typed}");
        }
    }

    #[test]
    fn the_short_help_fits_a_screen() {
        let help = Cli::command().term_width(80).render_help().to_string();
        assert!(help.lines().count() <= 25, "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
    }
}
