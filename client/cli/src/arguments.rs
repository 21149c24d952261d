//! What was typed: the flags, and which command they belong to.
//!
//! Options stop at the first word that is none. That word is a host, or the name of a subcommand; what
//! follows a host is the remote command and is never looked at.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, ValueHint};
use clap_complete::Shell;
use rcmd_certs::secret::Confidential;
use rcmd_protocol::outcome::{ErrorKind, WireError};

use crate::arguments::commands::CommandsOptions;
use crate::arguments::fleet::FleetOptions;
use crate::arguments::hosts::HostsArguments;
use crate::arguments::runs::RunsArguments;
use crate::arguments::sets::SetOptions;

pub(crate) mod commands;
pub(crate) mod completions;
pub(crate) mod duration;
pub(crate) mod elsewhere;
pub(crate) mod fleet;
pub(crate) mod hosts;
pub(crate) mod runs;
pub(crate) mod sets;
pub(crate) mod words;

/// The subcommands.
const SUBCOMMANDS: [&str; 7] = ["run", "doctor", "enroll", "hosts", "runs", "completions", "man"];
/// Names of later subcommands, which are no hosts unless `run` stands before them.
const RESERVED: [&str; 6] = ["cp", "ls", "edit", "ssh", "shell", "job"];

const USAGE: &str = "rcmd-client [OPTIONS] HOST COMMAND...
       rcmd-client run|doctor|enroll|hosts|runs|completions|man ...";

const EXAMPLES: &str = "\
Examples:
  rcmd-client web1 'df -h | sort'         one argument: a line for the shell
  rcmd-client 'web[01-20]' uptime         a set of hosts: -b folds equal outputs";

/// Lines of a table fit any terminal; a paragraph is one line, which clap wraps to the terminal.
const MORE: &str = "\
Examples:
  rcmd-client web1 'df -h | sort'         one argument: a line for the shell
  rcmd-client web1 ls -l 'My Documents'   several: a program and its arguments
  rcmd-client --shell web1 reboot         scripts say which of the two they mean
  rcmd-client -b 'web[01-20],db1' uptime  many hosts at once, equal outputs once
  tar c . | rcmd-client web1 tar x -C /srv    standard input goes there

Commands:
  run HOST COMMAND...        the same as without `run`; also for a host that is
                             named like a command
  run --commands FILE HOSTS  every line of FILE on each host, over one connection
                             for each
  doctor HOST                try every step to a host, and say what to do about
                             the one that fails
  enroll                     get a certificate with a token; --renew renews it
  run --resume ID            take up a run over many hosts that was broken off
  hosts EXPR                 show which hosts an expression means
  runs [show ID]             show the runs over many hosts
  completions SHELL          print completions for a shell
  man                        print the manual page

A host is NAME, NAME:PORT, ADDRESS or [V6]:PORT; the port is 7263 when none is given. Options stop at \
the host: what follows is the command, untouched, a `--` too.

A set of hosts is written as `rcmd-client hosts --help` says, in single quotes. Each of its hosts has its \
output labelled and its end accounted for; a command for a set may hold {host}, {index}, {label.NAME} and \
{var.NAME}. Each option that speaks of many hosts makes a set of a single one too. With --hosts-file no \
host stands before the command.

Durations are a number with a unit, such as 30s, 5m or 1h 30m; a plain number counts seconds.

Other programs that call ssh take this one: `rsync -e rcmd-client SRC HOST:DST`, and \
`GIT_SSH_COMMAND=rcmd-client git fetch`.

At a terminal, a client in the background leaves its terminal alone, and goes on.

Exit status:
  0 to 255   the command's own
  128 + N    signal N ended it (141: the reader of its output went away)
  124        --timeout ended it
  125        nothing ran: unreachable, TLS, denied, busy, bad usage; safe to try
             again
  126, 127   nothing ran: the program could not be executed; was not found
  255        something was lost after the start; the whole truth is not known

Of a set: 255 if any is unknown, else 125 if any never started, else 124, else 1 if any failed, else 0.

`--json` and `--result` tell these from a command that itself exits 125 or 255.

Files: DIR/ca.pem, DIR/client/cert.pem, DIR/client/key.pem and the optional DIR/client.toml, which may \
set compress, connect_timeout, encoding and timestamps. A flag goes before the environment (RCMD_DIR, \
NO_COLOR), that before the file, that before the default.";

/// Runs a command on another machine.
#[derive(Debug, Parser)]
#[command(name = "rcmd-client", version, override_usage = USAGE, after_help = EXAMPLES)]
#[command(after_long_help = MORE, max_term_width = 100, disable_version_flag = true)]
#[command(args_override_self = true)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) options: RunOptions,
    #[command(flatten)]
    pub(crate) many: CommandsOptions,
    #[command(flatten)]
    pub(crate) set: SetOptions,
    #[command(flatten)]
    pub(crate) fleet: FleetOptions,
    /// Print version
    ///
    /// The wire has a version of its own.
    #[arg(short = 'V', long, action = clap::ArgAction::Version, hide_short_help = true)]
    version: Option<bool>,
    /// The host, then the command
    #[arg(trailing_var_arg = true, value_name = "HOST COMMAND", hide = true)]
    #[arg(value_hint = ValueHint::CommandWithArguments)]
    pub(crate) words: Vec<OsString>,
}

/// Options of every command that reaches a host.
#[derive(Args, Debug)]
pub(crate) struct Common {
    /// Certificates [default: $RCMD_DIR, ~/.config/rcmd]
    ///
    /// Without it $RCMD_DIR, else $XDG_CONFIG_HOME/rcmd, else ~/.config/rcmd. It holds ca.pem,
    /// client/cert.pem, client/key.pem and, if you like, client.toml.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
    /// Time for reaching the host and for TLS [default: 10s]
    ///
    /// Looking up its name counts too. When it is over nothing has run, and the exit status is 125.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, hide_short_help = true)]
    pub(crate) connect_timeout: Option<Duration>,
    /// Newline-delimited JSON events instead of raw output
    ///
    /// One object a line, with `event` one of start, stdout, stderr, note and end; `end` carries the
    /// result. Output that is not UTF-8 is base64, and its `encoding` says so. With --commands, a
    /// result object a line, also at a terminal.
    #[arg(long)]
    pub(crate) json: bool,
    /// No notices; errors are still printed
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Say what happens
    ///
    /// Such as the name of the job, and how much of its output there was.
    #[arg(short, long, action = clap::ArgAction::Count, conflicts_with = "quiet", hide_short_help = true)]
    pub(crate) verbose: u8,
}

/// Options of a run.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunOptions {
    /// The one argument is a line for the shell there
    #[arg(long, conflicts_with = "exec")]
    pub(crate) shell: bool,
    /// Even one argument is a program
    #[arg(long, hide_short_help = true)]
    pub(crate) exec: bool,
    /// Ask whether it would be permitted, and run nothing
    ///
    /// The host finds and judges what it would run, and says by which rule; of a set each host does. The
    /// exit status is 0 if it would be permitted, else 125.
    #[arg(long, conflicts_with_all = ["result", "key"])]
    pub(crate) dry_run: bool,
    /// Send no standard input
    #[arg(short = 'n')]
    pub(crate) no_input: bool,
    /// User to run as there [default: the server's own]
    #[arg(short = 'l', long, value_name = "USER")]
    pub(crate) user: Option<OsString>,
    /// Folder to run in there [default: the home there]
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<OsString>,
    /// Set a variable for the command; repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<OsString>,
    /// End the command after this long: 30s, 5m
    ///
    /// The server keeps this time from the start of the process: then TERM, 5 s later KILL, to the
    /// whole tree. The exit status is 124. A host that does not keep it is left 35 s later, with 255.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_limit)]
    pub(crate) timeout: Option<Duration>,
    /// Compress what goes over the network
    ///
    /// Both ways, with zstd, if the host agrees; what is counted and checked is what comes out again.
    /// It pays on a slow link and costs on a fast one. The length of what is sent then tells more of
    /// its content.
    #[arg(long, hide_short_help = true)]
    pub(crate) compress: bool,
    /// Start at most once under this name, for 7 days
    ///
    /// From the same identity on the same host, the same key with the same request never starts
    /// twice: a second call takes up the first one's output or its recorded end.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<OsString>,
    /// While the host is busy, try again for so long [default: 10s]
    ///
    /// As often as the host says it may be asked again; nothing has run by then. 0 never does.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_or_none)]
    #[arg(hide_short_help = true)]
    pub(crate) busy_wait: Option<Duration>,
    /// Run only while holding this lock of the host
    ///
    /// One command on the host holds NAME at a time, whoever starts it. It is given back however the
    /// command ends. NAME is 1 to 128 printable characters of ASCII without blanks.
    #[arg(long, value_name = "NAME")]
    pub(crate) lock: Option<String>,
    /// Wait so long for --lock [default: not at all]
    ///
    /// Who has waited longest is next. When it is over nothing has run, and the exit status is 125.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_or_none, requires = "lock")]
    #[arg(hide_short_help = true)]
    pub(crate) lock_wait: Option<Duration>,
    /// Also write the result as one line of JSON
    ///
    /// It is the object that `end` carries with --json; the output stays as it is.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, hide_short_help = true)]
    pub(crate) result: Option<PathBuf>,
    /// Begin each line with the server's time
    ///
    /// Of both streams, in UTC. With --json, the events carry it as `time` instead.
    #[arg(long, hide_short_help = true)]
    pub(crate) timestamps: bool,
    /// Convert output to UTF-8 from another encoding
    ///
    /// Such as gbk, shift_jis, euc-kr, big5 or windows-1252: any label of the WHATWG Encoding
    /// Standard. Without it bytes stay bytes.
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    pub(crate) encoding: Option<String>,
}

/// Try every step to a host, and say what to do about the one that fails.
#[derive(Debug, Parser)]
#[command(
    name = "rcmd-client doctor",
    bin_name = "rcmd-client doctor",
    version,
    disable_version_flag = true,
    max_term_width = 100
)]
#[command(after_help = "Exit status: 0 when every step is well, else 125.")]
pub(crate) struct DoctorArguments {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The host: NAME, NAME:PORT, ADDRESS or [V6]:PORT
    #[arg(value_name = "HOST", value_hint = ValueHint::Hostname)]
    pub(crate) host: OsString,
}

/// Get a certificate with a token, or renew it.
#[derive(Debug, Parser)]
#[command(
    name = "rcmd-client enroll",
    bin_name = "rcmd-client enroll",
    disable_version_flag = true,
    max_term_width = 100
)]
#[command(
    after_help = "The key is made here and never leaves this machine; the token is read from standard \
    input. Without --renew too the certificate is renewed after a command, when two thirds of its life \
    are over."
)]
pub(crate) struct EnrollArguments {
    /// Certificates [default: $RCMD_DIR, ~/.config/rcmd]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
    /// Which of a fleet token's names
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Read the token from this file, as `rcmd-certs bundle` writes it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    #[arg(conflicts_with = "token")]
    pub(crate) token_file: Option<PathBuf>,
    /// Renew the certificate now, also one that has ended
    #[arg(long, conflicts_with_all = ["token", "token_file", "name"])]
    pub(crate) renew: bool,
    /// Renew the certificate if two thirds of its life are over; how a command leaves it to another
    /// process
    #[arg(long, hide = true, conflicts_with_all = ["token", "token_file", "name"])]
    pub(crate) in_own_time: bool,
    /// What `rcmd-certs token client NAME` printed; better is standard input (or -), where nobody else
    /// on this machine can read it
    pub(crate) token: Option<Confidential<String>>,
}

/// Print completions for a shell.
#[derive(Debug, Parser)]
#[command(
    name = "rcmd-client completions",
    bin_name = "rcmd-client completions",
    disable_version_flag = true
)]
pub(crate) struct CompletionsArguments {
    /// The shell
    pub(crate) shell: Shell,
}

/// Print the manual page, or write one for every command.
#[derive(Debug, Parser)]
#[command(name = "rcmd-client man", bin_name = "rcmd-client man", disable_version_flag = true)]
pub(crate) struct ManArguments {
    /// Write rcmd-client.1 and one page for each command into this folder
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) out: Option<PathBuf>,
}

/// What is asked for.
#[derive(Debug)]
pub(crate) enum Request {
    Run(Box<RunArguments>),
    Doctor(DoctorArguments),
    Enroll(EnrollArguments),
    Hosts(HostsArguments),
    Runs(RunsArguments),
    Completions(CompletionsArguments),
    Man(ManArguments),
}

/// Why a command line is not to be carried out.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Help or a version was asked for, and this is it.
    Answer(clap::Error),
    /// It makes no sense.
    Usage(WireError),
}

impl From<clap::Error> for Refused {
    fn from(error: clap::Error) -> Self {
        match error.use_stderr() {
            false => Self::Answer(error),
            true => Self::Usage(elsewhere::usage(&error)),
        }
    }
}

impl Request {
    /// Reads a command line, its first word being the program's own name.
    ///
    /// # Errors
    /// [`Refused`] when it makes no sense, or asks for help or the version.
    pub(crate) fn parse(typed: Vec<OsString>) -> Result<Self, Refused> {
        let arguments = RunArguments::try_parse_from(&typed)?;
        // The words are the end of what was typed, so the rest is the options before them.
        let (before, words) = typed.split_at(typed.len().saturating_sub(arguments.words.len()));
        let Some((first, rest)) = words.split_first() else {
            return Ok(Self::Run(Box::new(arguments)));
        };
        // After `--` a word can only be a host.
        let name =
            if before.last().is_some_and(|last| last == "--") { None } else { first.to_str() };
        // Options may stand on either side of a subcommand.
        let again = || before.iter().chain(rest);
        Ok(match name {
            Some("run") => Self::Run(Box::new(parse_run(again())?)),
            Some("doctor") => Self::Doctor(DoctorArguments::try_parse_from(again())?),
            Some("enroll") => Self::Enroll(EnrollArguments::try_parse_from(again())?),
            Some("hosts") => Self::Hosts(parse_hosts(again())?),
            Some("runs") => Self::Runs(RunsArguments::try_parse_from(again())?),
            Some("completions") => {
                Self::Completions(CompletionsArguments::try_parse_from(again())?)
            }
            Some("man") => Self::Man(ManArguments::try_parse_from(again())?),
            Some(name) if RESERVED.contains(&name) => return Err(Refused::Usage(reserved(name))),
            _ => Self::Run(Box::new(arguments)),
        })
    }
}

/// Reads what belongs to `run`, with its own line of usage.
fn parse_run<'a>(typed: impl Iterator<Item = &'a OsString>) -> Result<RunArguments, clap::Error> {
    let matches = run_command().try_get_matches_from(typed)?;
    RunArguments::from_arg_matches(&matches)
}

fn run_command() -> clap::Command {
    RunArguments::command()
        .bin_name("rcmd-client run")
        .override_usage("rcmd-client run [OPTIONS] HOST COMMAND...")
}

/// Reads what belongs to `hosts`.
fn parse_hosts<'a>(
    typed: impl Iterator<Item = &'a OsString>,
) -> Result<HostsArguments, clap::Error> {
    HostsArguments::from_arg_matches(&hosts_command().try_get_matches_from(typed)?)
}

/// The subcommand `hosts`, whose short help has what chooses hosts.
fn hosts_command() -> clap::Command {
    HostsArguments::command().mut_args(|option| option.hide_short_help(false))
}

fn reserved(name: &str) -> WireError {
    WireError::new(
        ErrorKind::Usage,
        format!("`{name}` is a reserved word, for a subcommand that this version does not have"),
    )
    .hint(format!("For a host of that name: `rcmd-client run {name} COMMAND...`."))
}

/// The whole command line as clap's tree, for completions and manual pages.
pub(crate) fn tree() -> clap::Command {
    let under = |command: clap::Command, name: &'static str| command.name(name);
    RunArguments::command()
        .disable_help_subcommand(true)
        .subcommand(under(run_command(), "run"))
        .subcommand(under(DoctorArguments::command(), "doctor"))
        .subcommand(under(EnrollArguments::command(), "enroll"))
        .subcommand(under(hosts_command(), "hosts"))
        .subcommand(under(RunsArguments::command(), "runs"))
        .subcommand(under(CompletionsArguments::command(), "completions"))
        .subcommand(under(ManArguments::command(), "man"))
}

#[cfg(test)]
mod tests;
