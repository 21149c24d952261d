//! The command line of `rcmd-server`.

pub mod audit;
pub mod check_config;
pub mod enroll;
pub mod manual;
pub mod policy;
pub mod status;

use std::{
    ffi::OsString,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::{
    CommandFactory as _, Parser, Subcommand,
    error::{ContextKind, ContextValue},
};
use rcmd_certs::{
    secret::Confidential,
    text::{self, Complaint},
};
use rcmd_protocol::limits::PORT;
use tracing::level_filters::LevelFilter;

use self::audit::AuditCommand;
use crate::daemon::log::LogFormat;

/// Runs commands on this machine for those who may ask.
#[derive(Debug, Parser)]
#[command(
    name = "rcmd-server",
    version,
    about = "Runs commands on this machine for those who may ask",
    after_help = "Example: rcmd-server --dir demo",
    after_long_help = "Examples:\n  rcmd-server --dir demo\n  rcmd-server --listen 0.0.0.0:7263 --log-format json\n\n\
        SIGTERM stops it: nothing new is started, what runs has 10 s to end, then it is ended.\n\
        A second SIGTERM skips the wait. SIGHUP reads certificates, keys, policy and limits of identities again."
)]
pub struct Cli {
    /// A subcommand; without one the server runs.
    #[command(subcommand)]
    pub command: Option<ServerCommand>,
    /// Flags of a running server.
    #[command(flatten)]
    pub options: ServerOptions,
}

impl Cli {
    /// Returns the subcommand with the folder that was named before it.
    ///
    /// # Errors
    /// When a flag before a subcommand means nothing to it.
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
            return Err(conflict(format!("{flag} is for a server that runs, and no subcommand's")));
        }
        if let Some(before) = dir {
            match command.dir() {
                Some(own @ None) => *own = Some(before.clone()),
                Some(Some(_)) => return Err(conflict("--dir was given twice".to_owned())),
                None => return Err(conflict("this subcommand takes no --dir".to_owned())),
            }
        }
        Ok(self)
    }
}

/// Words that start other servers.
const SERVES: [&str; 5] = ["daemon", "listen", "run", "serve", "start"];

/// Returns a complaint about a command line, with the right one where another server's was typed.
pub fn complaint(error: &clap::Error) -> Complaint {
    let complaint = text::complaint(&error.render().to_string());
    match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(word)) if SERVES.contains(&word.as_str()) => {
            let hint =
                "`rcmd-server` without a subcommand serves; see `rcmd-server -h`.".to_owned();
            Complaint { hint, ..complaint }
        }
        _ => complaint,
    }
}

/// Reads an address to listen on.
///
/// # Errors
/// The form to write in place of what other servers take.
fn listen_address(typed: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = typed.parse() {
        return Ok(address);
    }
    let bare = typed.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Err(format!("the port is missing, write {}", SocketAddr::new(address, PORT)));
    }
    let port = typed.trim_start_matches(['*', ':']);
    Err(match port.parse::<u16>() {
        Ok(port) => format!(
            "the address is missing, write 127.0.0.1:{port} for this machine alone or \
             0.0.0.0:{port} for all"
        ),
        Err(_) => format!("names are not looked up, write an address as in 127.0.0.1:{PORT}"),
    })
}

/// Flags of a running server.
#[derive(Debug, clap::Args)]
pub struct ServerOptions {
    /// Identity and server.toml [default: $RCMD_DIR, /etc/rcmd]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Listen here, also repeated [default: 127.0.0.1:7263]
    #[arg(long, value_name = "ADDR:PORT", value_parser = listen_address)]
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
    /// Check, explain or begin the policy
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Get this host's certificate with a token
    Enroll(EnrollOptions),
    /// Say how certificate, revocation list and authority are
    Status(StatusOptions),
    /// Read the audit: who ran what, and whether it is whole
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Print completions for a shell
    #[command(hide = true)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(hide = true)]
    Man {
        /// Write rcmd-server.1 and one page for each command into this folder
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

impl ServerCommand {
    /// Returns where its folder stands, if it has one.
    fn dir(&mut self) -> Option<&mut Option<PathBuf>> {
        match self {
            Self::Policy(PolicyCommand::Check(options)) => Some(&mut options.dir),
            Self::Policy(PolicyCommand::Explain(options)) => Some(&mut options.dir),
            Self::Policy(PolicyCommand::Init { dir }) => Some(dir),
            Self::Enroll(options) => Some(&mut options.dir),
            Self::Status(options) => Some(&mut options.dir),
            Self::Audit(command) => Some(command.dir()),
            Self::Completions { .. } | Self::Man { .. } => None,
        }
    }
}

/// Flags of `rcmd-server enroll`.
#[derive(Debug, clap::Args)]
#[command(after_help = "The key is made here and never leaves this machine.\n\n\
    The token is read from standard input.\n\n\
    Examples:\n  rcmd-server enroll <token\n  rcmd-server enroll --token-file /root/token")]
pub struct EnrollOptions {
    /// Where the identity goes [default: $RCMD_DIR, /etc/rcmd]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Which of a fleet token's names [default: the host's own]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Read the token from this file, as `rcmd-certs bundle` writes it
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub token_file: Option<PathBuf>,
    /// What `rcmd-certs token server NAME` printed; better is standard input (or -), where nobody
    /// else on this machine can read it
    pub token: Option<Confidential<String>>,
}

/// Flags of `rcmd-server status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Ends with 0 if all is well and a server runs, else with 1.")]
pub struct StatusOptions {
    /// Identity and server.toml [default: $RCMD_DIR, /etc/rcmd]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// The subcommands of `rcmd-server policy`.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Say what is wrong with a policy, with line and column
    Check(CheckOptions),
    /// Say which rule decides a request, and what would permit it
    Explain(Box<ExplainOptions>),
    /// Write a policy that permits the group admin everything
    Init {
        /// Where server.toml lies [default: $RCMD_DIR, /etc/rcmd]
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// Flags of `rcmd-server policy check`.
#[derive(Debug, clap::Args)]
pub struct CheckOptions {
    /// Where server.toml lies [default: $RCMD_DIR, /etc/rcmd]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// The policy [default: policy.cedar there]
    pub file: Option<PathBuf>,
}

/// Flags of `rcmd-server policy explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Ends with 0 if it is permitted, with 1 if it is denied.\n\n\
    Example:\n  rcmd-server policy explain --as alice --group oncall -- systemctl restart nginx")]
pub struct ExplainOptions {
    /// Where server.toml lies [default: $RCMD_DIR, /etc/rcmd]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Another policy than policy.cedar there
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Who asks
    #[arg(long = "as", value_name = "NAME")]
    pub user: String,
    /// A group that the certificate names, also repeated
    #[arg(long, value_name = "NAME")]
    pub group: Vec<String>,
    /// Whom it would run as [default: whom the server would run as if started by you]
    #[arg(long = "user", short = 'l', value_name = "USER")]
    pub account: Option<String>,
    /// A line for the shell instead of a program
    #[arg(long)]
    pub shell: bool,
    /// The folder that it would start in [default: the home]
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<OsString>,
    /// A variable that it would set, also repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub env: Vec<OsString>,
    /// The lock that it would ask for
    #[arg(long, value_name = "NAME")]
    pub lock: Option<String>,
    /// Where the request would come from [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    pub from: Option<IpAddr>,
    /// When, as 2026-01-31T20:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    pub time: Option<String>,
    /// The program and its arguments, or the line
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
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
        assert!(refused("rcmd-server --listen 0.0.0.0:1 status").contains("--listen is for"));
        assert!(refused("rcmd-server -q status").contains("--quiet is for"));
        assert!(refused("rcmd-server --dir x status --dir y").contains("given twice"));
        assert!(refused("rcmd-server --dir x man").contains("takes no --dir"));
    }

    #[test]
    fn what_starts_other_servers_is_answered_with_what_starts_this_one() {
        let error = Cli::try_parse_from(["rcmd-server", "start"]).unwrap_err();
        assert!(complaint(&error).hint.contains("without a subcommand serves"));
        let error = Cli::try_parse_from(["rcmd-server", "statsu"]).unwrap_err();
        assert!(complaint(&error).hint.contains("status"));
    }

    #[test]
    fn an_address_to_listen_on_is_whole_or_says_what_to_write() {
        assert_eq!(listen_address("[::1]:7").unwrap().port(), 7);
        for (typed, write) in [
            ("7263", "0.0.0.0:7263 for all"),
            (":7263", "127.0.0.1:7263 for this machine"),
            ("*:80", "0.0.0.0:80 for all"),
            ("10.0.0.1", "write 10.0.0.1:7263"),
            ("::1", "write [::1]:7263"),
            ("[::1]", "write [::1]:7263"),
            ("localhost:7263", "an address as in 127.0.0.1:7263"),
            ("", "an address as in 127.0.0.1:7263"),
        ] {
            let said = listen_address(typed).unwrap_err();
            assert!(said.contains(write), "{typed}: {said}");
        }
    }

    #[test]
    fn the_short_help_fits_a_screen() {
        let help = Cli::command().term_width(80).render_help().to_string();
        assert!(help.lines().count() <= 25, "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
    }
}
