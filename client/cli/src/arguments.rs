//! The command line: the options, and the subcommand that they belong to.
//!
//! Options end at the first word that is not one. That word is a host, or the name of a subcommand. The words
//! after a host are the remote command and are never examined.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, ValueHint};
use clap_complete::Shell;
use rcmd_certs::secret::Confidential;
use rcmd_protocol::outcome::{ErrorKind, WireError};

use crate::arguments::commands::CommandsOptions;
use crate::arguments::copy::CopyArguments;
use crate::arguments::fleet::FleetOptions;
use crate::arguments::hosts::HostsArguments;
use crate::arguments::listing::{EditArguments, ListArguments};
use crate::arguments::runs::RunsArguments;
use crate::arguments::sets::SetOptions;
use crate::arguments::ssh::SshRequest;

pub(crate) mod commands;
pub(crate) mod completions;
pub(crate) mod copy;
pub(crate) mod duration;
pub(crate) mod elsewhere;
pub(crate) mod fleet;
pub(crate) mod hosts;
pub(crate) mod listing;
pub(crate) mod places;
pub(crate) mod rate;
pub(crate) mod runs;
pub(crate) mod sets;
pub(crate) mod ssh;
pub(crate) mod words;

/// The subcommands.
const SUBCOMMANDS: [&str; 11] =
    ["run", "cp", "ls", "edit", "ssh", "doctor", "enroll", "hosts", "runs", "completions", "man"];
/// Names of later subcommands. They are hosts only after `run`.
const RESERVED: [&str; 2] = ["shell", "job"];

const USAGE: &str = "rcmd-client [OPTIONS] HOST COMMAND...
       rcmd-client run|cp|ls|edit|ssh|doctor|enroll|hosts|runs|completions|man";

const EXAMPLES: &str = "\
Examples:
  rcmd-client web1 'df -h | sort'         one argument: a line for the shell
  rcmd-client 'web[01-20]' uptime         a set of hosts: -b folds equal outputs";

/// The end of the long help. Lines of a table fit every terminal; a paragraph is one line, which clap wraps.
const MORE: &str = "\
Examples:
  rcmd-client web1 'df -h | sort'         one argument: a line for the shell
  rcmd-client web1 ls -l 'My Documents'   several: a program and its arguments
  rcmd-client --shell web1 reboot         scripts should name one of the two
  rcmd-client -b 'web[01-20],db1' uptime  many hosts at once, equal outputs once
  tar c . | rcmd-client web1 tar x -C /srv    standard input is forwarded

Commands:
  run HOST COMMAND...        the same as without `run`; also for a host that has
                             the name of a subcommand
  run --commands FILE HOSTS  run every line of FILE on each host, over one
                             connection to each
  run --resume ID            continue an interrupted run over many hosts
  cp SRC... DST              copy files to HOST:PATH or from it
  ls HOST:PATH               list files
  edit HOST:PATH             edit a file with $VISUAL or $EDITOR
  ssh HOST COMMAND...        take the options of ssh, for what calls ssh;
                             so does the program rcmd-ssh
  doctor HOST                test every step of a connection; for the step that
                             fails, say what to do
  enroll                     get a certificate with a token; --renew renews it
  hosts EXPR                 list the hosts of an expression
  runs [show ID]             list the runs over many hosts, or show one
  completions SHELL          print completions for a shell
  man                        print the manual page

A host is NAME, NAME:PORT, ADDRESS or [V6]:PORT; the default port is 7263. Options end at the host: all \
words after it are the command, unchanged, even `--`.

`rcmd-client hosts --help` explains how to write a set of hosts. Put it in single quotes. Each line of output \
is labelled with its host, and a summary follows at the end. A command for a set may contain {host}, {index}, \
{label.NAME} and {var.NAME}. An option for sets makes a set even of one host. With --hosts-file, no host is \
written before the command.

A duration is a number with a unit, such as 30s, 5m or 1h 30m; a number without a unit means seconds.

Programs that call ssh can call rcmd-ssh instead: `rsync -e rcmd-ssh SRC HOST:DST`, `GIT_SSH=rcmd-ssh git fetch`.

In the background a client does not use its terminal, and continues.

Exit status:
  0 to 255   the status of the command
  128 + N    signal N ended it (141: the reader of its output went away)
  124        --timeout ended the command
  125        nothing ran: host unreachable, TLS failed, denied, busy, or wrong
             usage; safe to try again
  126, 127   nothing ran: the program could not be executed, or was not found
  255        the connection was lost after the start, and the end is not known

For a set: 255 if the end of any command is unknown, else 125 if any did not start, else 124 if any timed out, \
else 1 if any failed, else 0.

The results of `--json` and `--result` distinguish these from a command that itself exits with 125 or 255.

Files: DIR/ca.pem, DIR/client/cert.pem, DIR/client/key.pem and, optionally, DIR/client.toml, which can set \
compress, connect_timeout, encoding and timestamps. An option overrides the environment (RCMD_DIR, NO_COLOR), \
which overrides the file.";

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
    #[arg(short = 'V', long, action = clap::ArgAction::Version, hide_short_help = true)]
    version: Option<bool>,
    /// Host and command
    #[arg(trailing_var_arg = true, value_name = "HOST COMMAND", hide = true)]
    #[arg(value_hint = ValueHint::CommandWithArguments)]
    pub(crate) words: Vec<OsString>,
}

/// The options of every subcommand that connects to a host.
#[derive(Args, Debug)]
pub(crate) struct Common {
    /// Certificates [default: $RCMD_DIR, ~/.config/rcmd]
    ///
    /// Contains ca.pem, client/cert.pem, client/key.pem and, optionally, client.toml. The default is
    /// $RCMD_DIR, else $XDG_CONFIG_HOME/rcmd, else ~/.config/rcmd.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
    /// Time limit for connecting to the host [default: 10s]
    ///
    /// Includes the look-up of its name and the TLS handshake. After this time nothing has run, and the
    /// exit status is 125.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, hide_short_help = true)]
    pub(crate) connect_timeout: Option<Duration>,
    /// Print JSON events instead of raw output
    ///
    /// Each line is one object. Its `event` is start, stdout, stderr, note or end; `end` has the result. Output that
    /// is not UTF-8 is in base64, as its `encoding` says. With --commands, each line is the result of one
    /// command, also at a terminal.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print errors but no notices
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Print more notices
    ///
    /// Such as the name of the job and the size of its output.
    #[arg(short, long, action = clap::ArgAction::Count, conflicts_with = "quiet", hide_short_help = true)]
    pub(crate) verbose: u8,
}

/// The options of a run.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunOptions {
    /// COMMAND is one line for the remote shell
    #[arg(long, conflicts_with = "exec")]
    pub(crate) shell: bool,
    /// COMMAND is a program, also without arguments
    #[arg(long, hide_short_help = true)]
    pub(crate) exec: bool,
    /// Ask whether it would be permitted; run nothing
    ///
    /// The host finds the program, checks its policy and names the rule that decides; each host of a set
    /// does. The exit status is 0 if the command would be permitted, else 125.
    #[arg(long, conflicts_with_all = ["result", "key"])]
    pub(crate) dry_run: bool,
    /// Send no standard input
    #[arg(short = 'n')]
    pub(crate) no_input: bool,
    /// Remote user to run as [default: that of the server]
    #[arg(short = 'l', long, value_name = "USER")]
    pub(crate) user: Option<OsString>,
    /// Remote folder to run in [default: the user's home]
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<OsString>,
    /// Set a variable for the command; repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<OsString>,
    /// End the command after this time, such as 30s or 5m
    ///
    /// The server counts the time from the start of the process. Then it sends TERM, and 5 s later KILL, to
    /// all processes of the command. The exit status is 124. If the server does not end the command, the
    /// client gives up 35 s later, with 255.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_limit)]
    pub(crate) timeout: Option<Duration>,
    /// Compress the connection
    ///
    /// Both directions, with zstd, if the host agrees; sizes and digests are those of the uncompressed
    /// data. Compression helps on a slow link and costs time on a fast one. An observer of the network can
    /// infer more about the content from the amount of data.
    #[arg(long, hide_short_help = true)]
    pub(crate) compress: bool,
    /// Start at most once under this name, for 7 days
    ///
    /// The same key with the same command, from the same identity on the same host, never starts twice: a
    /// second call gets the output of the first, or its recorded end.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<OsString>,
    /// Time to try again while the host is busy [default: 10s]
    ///
    /// The host says when to try again; nothing has run meanwhile. With 0 the client does not try again.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_or_none)]
    #[arg(hide_short_help = true)]
    pub(crate) busy_wait: Option<Duration>,
    /// Run only while holding this lock of the host
    ///
    /// Only one command on the host can hold NAME at a time, whoever starts it. The lock is released when
    /// the command ends, in whatever way. NAME is 1 to 128 printable ASCII characters without blanks.
    #[arg(long, value_name = "NAME")]
    pub(crate) lock: Option<String>,
    /// Time to wait for --lock [default: not at all]
    ///
    /// The command that has waited longest is next. After this time nothing has run, and the exit status
    /// is 125.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_or_none, requires = "lock")]
    #[arg(hide_short_help = true)]
    pub(crate) lock_wait: Option<Duration>,
    /// Also write the result to FILE, as one line of JSON
    ///
    /// The result is the object in `end` with --json. The output is not changed.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, hide_short_help = true)]
    pub(crate) result: Option<PathBuf>,
    /// Begin each line of output with its time
    ///
    /// The time of the server, in UTC, in both streams. With --json, the events have it as `time` instead.
    #[arg(long, hide_short_help = true)]
    pub(crate) timestamps: bool,
    /// Convert output from this encoding to UTF-8
    ///
    /// Such as gbk, shift_jis, euc-kr, big5 or windows-1252: any label of the WHATWG Encoding Standard.
    /// Without this option the bytes are not changed.
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    pub(crate) encoding: Option<String>,
}

/// Test every step of a connection to a host.
#[derive(Debug, Parser)]
#[command(
    name = "rcmd-client doctor",
    bin_name = "rcmd-client doctor",
    version,
    disable_version_flag = true,
    max_term_width = 100
)]
#[command(after_help = "Exit status: 0 if every step succeeds, else 125.")]
pub(crate) struct DoctorArguments {
    #[command(flatten)]
    pub(crate) common: Common,
    /// NAME, NAME:PORT, ADDRESS or [V6]:PORT
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
    after_help = "The token is read from standard input. The private key is made here and never leaves this \
    machine. A certificate is also renewed without --renew: after a command, when two thirds of its life are \
    over."
)]
pub(crate) struct EnrollArguments {
    /// Folder of certificates [default: $RCMD_DIR, ~/.config/rcmd]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
    /// Name to take from a token for many users
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Read the token from this file, as `rcmd-certs bundle` writes it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    #[arg(conflicts_with = "token")]
    pub(crate) token_file: Option<PathBuf>,
    /// Renew the certificate now, even if it has expired
    #[arg(long, conflicts_with_all = ["token", "token_file", "name"])]
    pub(crate) renew: bool,
    /// Renew the certificate if two thirds of its life are over; a command starts another process with
    /// this option
    #[arg(long, hide = true, conflicts_with_all = ["token", "token_file", "name"])]
    pub(crate) in_own_time: bool,
    /// Token, as `rcmd-certs token client NAME` prints it; on a command line other users can read it
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
    /// Shell to complete for
    pub(crate) shell: Shell,
}

/// Print the manual page, or write all pages.
#[derive(Debug, Parser)]
#[command(name = "rcmd-client man", bin_name = "rcmd-client man", disable_version_flag = true)]
pub(crate) struct ManArguments {
    /// Write rcmd-client.1 and one page for each command into this folder
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) out: Option<PathBuf>,
}

/// A command line as it was understood.
#[derive(Debug)]
pub(crate) enum Request {
    Run(Box<RunArguments>),
    Copy(Box<CopyArguments>),
    List(ListArguments),
    Edit(EditArguments),
    /// What ssh is asked for. A refusal has another exit status than elsewhere.
    Ssh(Result<SshRequest, Refused>),
    Doctor(DoctorArguments),
    Enroll(EnrollArguments),
    Hosts(HostsArguments),
    Runs(RunsArguments),
    Completions(CompletionsArguments),
    Man(ManArguments),
}

/// The reason why a command line is not carried out.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The command line asks for help or the version, which this is.
    Answer(clap::Error),
    /// The command line is wrong.
    Usage(WireError),
}

impl From<WireError> for Refused {
    fn from(error: WireError) -> Self {
        Self::Usage(error)
    }
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
    /// Reads a command line, whose first word is the name of the program.
    ///
    /// # Errors
    /// [`Refused`] if the command line is wrong, or asks for help or the version.
    pub(crate) fn parse(typed: Vec<OsString>) -> Result<Self, Refused> {
        let arguments = RunArguments::try_parse_from(&typed)?;
        // The words are the end of the command line, so the rest are the options before them.
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
            Some("cp") => Self::Copy(Box::new(CopyArguments::read(again())?)),
            Some("ls") => Self::List(ListArguments::read(again())?),
            Some("edit") => Self::Edit(EditArguments::read(again())?),
            Some("ssh") => {
                let before = before.get(1..).unwrap_or_default();
                Self::Ssh(ssh::read("rcmd-client ssh", before, rest))
            }
            Some("doctor") => Self::Doctor(DoctorArguments::try_parse_from(again())?),
            Some("enroll") => Self::Enroll(EnrollArguments::try_parse_from(again())?),
            Some("hosts") => Self::Hosts(parse_hosts(again())?),
            Some("runs") => Self::Runs(RunsArguments::read(again())?),
            Some("completions") => {
                Self::Completions(CompletionsArguments::try_parse_from(again())?)
            }
            Some("man") => Self::Man(ManArguments::try_parse_from(again())?),
            Some(name) if RESERVED.contains(&name) => return Err(Refused::Usage(reserved(name))),
            _ => Self::Run(Box::new(arguments)),
        })
    }
}

/// Reads a command line of `run`, with the usage of `run` in complaints.
fn parse_run<'a>(typed: impl Iterator<Item = &'a OsString>) -> Result<RunArguments, clap::Error> {
    let matches = run_command().try_get_matches_from(typed)?;
    RunArguments::from_arg_matches(&matches)
}

fn run_command() -> clap::Command {
    RunArguments::command()
        .bin_name("rcmd-client run")
        .override_usage("rcmd-client run [OPTIONS] HOST COMMAND...")
}

/// Reads a command line of `hosts`.
fn parse_hosts<'a>(
    typed: impl Iterator<Item = &'a OsString>,
) -> Result<HostsArguments, clap::Error> {
    HostsArguments::from_arg_matches(&hosts_command().try_get_matches_from(typed)?)
}

/// Returns the subcommand `hosts`, whose short help also has the options that choose hosts.
fn hosts_command() -> clap::Command {
    HostsArguments::command().mut_args(|option| option.hide_short_help(false))
}

fn reserved(name: &str) -> WireError {
    WireError::new(
        ErrorKind::Usage,
        format!("`{name}` is reserved for a subcommand that this version does not have"),
    )
    .hint(format!("To reach a host of that name: `rcmd-client run {name} COMMAND...`."))
}

/// Returns all subcommands as clap's tree, for completions and manual pages.
pub(crate) fn tree() -> clap::Command {
    let under = |command: clap::Command, name: &'static str| command.name(name);
    RunArguments::command()
        .disable_help_subcommand(true)
        .subcommand(under(run_command(), "run"))
        .subcommand(under(copy::command(), "cp"))
        .subcommand(under(listing::list_command(), "ls"))
        .subcommand(under(listing::edit_command(), "edit"))
        .subcommand(under(ssh::command("rcmd-client ssh"), "ssh"))
        .subcommand(under(DoctorArguments::command(), "doctor"))
        .subcommand(under(EnrollArguments::command(), "enroll"))
        .subcommand(under(hosts_command(), "hosts"))
        .subcommand(under(RunsArguments::command(), "runs"))
        .subcommand(under(CompletionsArguments::command(), "completions"))
        .subcommand(under(ManArguments::command(), "man"))
}

#[cfg(test)]
mod tests;
