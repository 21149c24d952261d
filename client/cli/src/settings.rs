//! The settings of a run: options, environment and file, combined and checked in one place.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcmd_certs::Layout;
use rcmd_certs::files::shown;
use rcmd_certs::text::sentence;
use rcmd_client::hosts::{Expression, is_expression};
use rcmd_client::inventory::{Inventory, InventoryError};
use rcmd_client::{AddressFamily, InvalidTarget, Target};
use rcmd_protocol::outcome::{ErrorKind, WireError};

use crate::arguments::commands::Commands;
use crate::arguments::sets::SetOptions;
use crate::arguments::words::CommandSpec;
use crate::arguments::{Common, DoctorArguments, RunArguments, RunOptions, elsewhere};
use crate::input;
use crate::output::{Form, encoding};
use crate::settings::file::File;
use crate::text::{self, Tone};

pub(crate) mod commands;
pub(crate) mod copy;
mod file;
pub(crate) mod fleet;
pub(crate) mod listing;
pub(crate) mod sets;
pub(crate) mod ssh;

/// The default time limit for connecting to a host.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The default time to try again while the host is busy.
pub(crate) const BUSY_WAIT: Duration = Duration::from_secs(10);

/// A run on one host.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) connect: ConnectOptions,
    pub(crate) command: CommandOptions,
    pub(crate) output: OutputOptions,
    pub(crate) work: Work,
    /// True if the host is only asked whether it would permit the command.
    pub(crate) dry_run: bool,
    pub(crate) statuses: Statuses,
}

/// The exit statuses that the caller expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Statuses {
    /// Those of rcmd-client: 125 if nothing ran.
    Own,
    /// Those of ssh: 255 for every failure but that of the command.
    Ssh,
    /// The same, where the caller does not know the program: that it is missing is a failure too.
    Subsystem,
}

/// The settings for connecting to the host.
#[derive(Debug)]
pub(crate) struct ConnectOptions {
    pub(crate) layout: Layout,
    pub(crate) target: Target,
    /// The time limit for look-up, TCP and TLS together.
    pub(crate) timeout: Duration,
    pub(crate) compress: bool,
    /// The only addresses to try; `None` for all.
    pub(crate) family: Option<AddressFamily>,
}

/// The settings of each command other than its words.
#[derive(Clone, Debug)]
pub(crate) struct CommandOptions {
    pub(crate) input: CommandInput,
    pub(crate) user: Option<OsString>,
    pub(crate) cwd: Option<OsString>,
    pub(crate) env: Vec<(OsString, OsString)>,
    /// The time after which the host ends the command.
    pub(crate) timeout: Option<Duration>,
    pub(crate) key: Option<OsString>,
    /// The time to try again while the host is busy.
    pub(crate) busy_wait: Duration,
    /// The lock that the command needs, and the time to wait for it.
    pub(crate) lock: Option<(String, Duration)>,
}

/// The settings for output and result.
#[derive(Debug)]
pub(crate) struct OutputOptions {
    pub(crate) form: Form,
    /// The file for the result.
    pub(crate) result: Option<PathBuf>,
    pub(crate) verbosity: Verbosity,
}

/// One command or many.
#[derive(Debug)]
pub(crate) enum Work {
    One(CommandSpec),
    Many(Commands),
}

/// The amount of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    /// Errors only.
    Quiet,
    /// Errors and important notices.
    Normal,
    /// All notices.
    Verbose,
}

impl Run {
    /// Combines the settings: options override the environment, which overrides the file and the defaults.
    ///
    /// # Errors
    /// A usage error, with advice.
    pub(crate) fn resolve(typed: RunArguments) -> Result<Self, WireError> {
        let RunArguments { common, options, mut many, words, .. } = typed;
        let (host, words) = match words.split_first() {
            Some((host, words)) => (host, words),
            None => {
                return Err(WireError::new(ErrorKind::Usage, "the host is missing").hint(
                    "Write `rcmd-client HOST COMMAND...`; `rcmd-client -h` shows examples.",
                ));
            }
        };
        if words.is_empty() && host == "help" {
            return Err(WireError::new(ErrorKind::Usage, "the command is missing after the host")
                .hint("For help: `rcmd-client --help`."));
        }
        refuse_form(&common, &options)?;
        if common.json && options.dry_run {
            return Err(WireError::new(
                ErrorKind::Usage,
                "--json cannot be combined with --dry-run for one host",
            )
            .hint("Use the exit status: 0 if the command would be permitted, else 125."));
        }
        refuse_nothing(&options, words)?;
        let host = host_of(host)?;
        let work = match many.take(common.json, words)? {
            Some(commands) => Work::Many(commands),
            None => Work::One(CommandSpec::read(words, options.shell, options.exec)?),
        };
        let layout = layout(common.dir.as_deref())?;
        let file = File::read(&layout.client_toml())?;
        let Reached { target, user } = Reached::find(host, &layout, verbosity(&common))?;
        if let Some(warning) = fleet::globbed_behind(host, words)
            && verbosity(&common) > Verbosity::Quiet
        {
            text::say(&text::line(Tone::Notice, &warning));
        }

        let input = !options.no_input && matches!(work, Work::One(_)) && !input::is_nothing();
        let form = form(&common, &options, &file)?;
        let result = options.result.clone();
        let (dry_run, compress) = (options.dry_run, options.compress);
        let mut command = command_options(options, CommandInput::sent_if(input))?;
        command.user = command.user.or(user);
        Ok(Self {
            dry_run,
            connect: ConnectOptions {
                timeout: connect_timeout(&common, &file),
                compress: compress || file.compress.unwrap_or(false),
                family: None,
                target,
                layout,
            },
            command,
            output: OutputOptions { form, result, verbosity: verbosity(&common) },
            work,
            statuses: Statuses::Own,
        })
    }
}

/// Refuses forms of output that cannot be combined.
fn refuse_form(common: &Common, options: &RunOptions) -> Result<(), WireError> {
    if common.json && options.encoding.is_some() {
        return Err(WireError::new(ErrorKind::Usage, "--json cannot be combined with --encoding")
            .hint("Leave out --encoding: events have every byte unchanged."));
    }
    Ok(())
}

/// Returns the form of output.
///
/// # Errors
/// A usage error if the encoding is unknown.
fn form(common: &Common, options: &RunOptions, file: &File) -> Result<Form, WireError> {
    let typed = options.encoding.as_deref().map(encoding::named).transpose()?;
    let timestamps = options.timestamps || file.timestamps.unwrap_or(false);
    Ok(match common.json {
        true => Form::Json { timestamps },
        false => Form::Text { encoding: typed.or(file.encoding), timestamps },
    })
}

/// The standard input of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommandInput {
    /// The command gets bytes of this process.
    Sent,
    /// The command gets an empty standard input.
    Empty,
}

impl CommandInput {
    /// Returns `Sent` if `condition` holds, else `Empty`.
    fn sent_if(condition: bool) -> Self {
        if condition { Self::Sent } else { Self::Empty }
    }
}

/// Returns the settings of a command.
///
/// # Errors
/// A usage error if a value of `--env` is invalid.
fn command_options(options: RunOptions, input: CommandInput) -> Result<CommandOptions, WireError> {
    let env = options.env.iter().map(|setting| setting_of(setting)).collect::<Result<_, _>>()?;
    Ok(CommandOptions {
        input,
        user: options.user,
        cwd: options.cwd,
        env,
        timeout: options.timeout,
        key: options.key,
        busy_wait: options.busy_wait.unwrap_or(BUSY_WAIT),
        lock: options.lock.map(|name| (name, options.lock_wait.unwrap_or_default())),
    })
}

/// A host to examine.
#[derive(Debug)]
pub(crate) struct Doctor {
    pub(crate) layout: Layout,
    pub(crate) target: Target,
    pub(crate) connect_timeout: Duration,
    pub(crate) json: bool,
}

impl Doctor {
    /// Combines the settings, as [`Run::resolve`] does.
    ///
    /// # Errors
    /// A usage error, with advice.
    pub(crate) fn resolve(typed: DoctorArguments) -> Result<Self, WireError> {
        let host = host_of(&typed.host)?;
        let layout = layout(typed.common.dir.as_deref())?;
        let file = File::read(&layout.client_toml())?;
        let Reached { target, .. } = Reached::find(host, &layout, verbosity(&typed.common))?;
        let connect_timeout = connect_timeout(&typed.common, &file);
        Ok(Self { layout, target, connect_timeout, json: typed.common.json })
    }
}

/// The address of a host, and its user in hosts.toml.
struct Reached {
    target: Target,
    user: Option<OsString>,
}

impl Reached {
    /// Looks up a host in `hosts.toml`. A name that is not in it is itself the address.
    fn find(host: &str, layout: &Layout, verbosity: Verbosity) -> Result<Self, WireError> {
        let (inventory, passed_over) = inventory(layout)?;
        if verbosity == Verbosity::Verbose {
            passed_over.iter().for_each(|line| text::say(&text::line(Tone::Notice, line)));
        }
        let target = inventory.target(host).map_err(|error| no_target(&error))?;
        let user = inventory.entry(host).and_then(|entry| entry.user.clone());
        Ok(Self { target, user: user.map(OsString::from) })
    }
}

/// Returns the inventory, and a notice for each file that this user has no permission to read.
///
/// # Errors
/// A usage error if a file is invalid, or other users could change it.
fn inventory(layout: &Layout) -> Result<(Inventory, Vec<String>), WireError> {
    let (inventory, passed_over) =
        Inventory::read(layout.dir()).map_err(|error| no_inventory(&error))?;
    let line = |path: PathBuf| {
        format!(
            "{} is ignored, because you have no permission to read it; if you need its hosts, ask its \
             owner",
            shown(&path)
        )
    };
    Ok((inventory, passed_over.into_iter().map(line).collect()))
}

/// Returns the inventory, in which `--inventory` overrides the other files, and a notice for each file that this
/// user has no permission to read.
///
/// # Errors
/// A usage error if a file is invalid, or other users could change it.
pub(crate) fn inventory_with(
    layout: &Layout,
    set: &SetOptions,
) -> Result<(Inventory, Vec<String>), WireError> {
    let (mut inventory, passed_over) = inventory(layout)?;
    if let Some(path) = &set.inventory {
        inventory.read_ansible(path).map_err(|error| no_inventory(&error))?;
    }
    Ok((inventory, passed_over))
}

/// Returns the error of a file of hosts.
fn no_inventory(error: &InventoryError) -> WireError {
    let failure = WireError::new(ErrorKind::Usage, error.to_string());
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => {
            failure.hint("Check path, owner and mode of the file, which names hosts and groups.")
        }
    }
}

/// Returns the error of an invalid host.
pub(crate) fn no_target(error: &InvalidTarget) -> WireError {
    let hint = elsewhere::no_host(error.text());
    WireError::new(ErrorKind::Usage, error.to_string()).hint(hint)
}

/// Returns the host on the command line.
///
/// # Errors
/// A usage error if it is a set of hosts or not text.
fn host_of(typed: &OsStr) -> Result<&str, WireError> {
    let Some(host) = typed.to_str() else {
        let message = format!("`{}` is not a valid host name", typed.to_string_lossy());
        return Err(WireError::new(ErrorKind::Usage, message)
            .hint("Write a host as NAME, NAME:PORT, ADDRESS or [V6]:PORT."));
    };
    if is_expression(host) {
        if let Err(error) = Expression::parse(host) {
            return Err(
                WireError::new(ErrorKind::Usage, error.to_string()).hint(error.fault.hint())
            );
        }
        return Err(WireError::new(
            ErrorKind::Usage,
            format!("`{host}` is a set of hosts, but one host is needed"),
        )
        .hint(elsewhere::ONE_HOST));
    }
    Ok(host)
}

/// Refuses empty values that are never intended, as of a shell variable that is not set.
fn refuse_nothing(options: &RunOptions, words: &[OsString]) -> Result<(), WireError> {
    let lock = options.lock.as_deref().map(OsStr::new);
    let line = match words {
        [line] if !options.exec => Some(line.as_os_str()),
        [program, ..] => Some(program.as_os_str()),
        [] => None,
    };
    let all = [
        (
            "--user",
            options.user.as_deref(),
            "name a user, or leave the option out for the server's own",
        ),
        (
            "--cwd",
            options.cwd.as_deref(),
            "name a folder on the host, or leave the option out for the home",
        ),
        (
            "--key",
            options.key.as_deref(),
            "write a name, as in --key deploy-7, or leave the option out",
        ),
        ("--lock", lock, "write a name, as in --lock deploy, or leave the option out"),
        ("the command", line, "write a command; to do nothing: `rcmd-client HOST true`"),
    ];
    match all.into_iter().find(|(_, value, _)| value.is_some_and(OsStr::is_empty)) {
        None => Ok(()),
        Some((name, _, remedy)) => {
            Err(WireError::new(ErrorKind::Usage, format!("{name} is empty")).hint(sentence(remedy)))
        }
    }
}

/// Returns the folder of certificates.
///
/// # Errors
/// A usage error if nothing names the folder.
pub(crate) fn layout(dir: Option<&Path>) -> Result<Layout, WireError> {
    Layout::for_user(dir).map_err(|error| WireError::new(ErrorKind::Usage, error.to_string()))
}

/// Returns `connect_timeout` of a `client.toml`, if it is set.
///
/// # Errors
/// A usage error if the file can't be read or is invalid.
pub(crate) fn connect_timeout_in(file: &Path) -> Result<Option<Duration>, WireError> {
    File::read(file).map(|file| file.connect_timeout)
}

fn connect_timeout(common: &Common, file: &File) -> Duration {
    common.connect_timeout.or(file.connect_timeout).unwrap_or(CONNECT_TIMEOUT)
}

fn verbosity(common: &Common) -> Verbosity {
    match (common.quiet, common.verbose) {
        (true, _) => Verbosity::Quiet,
        (false, 0) => Verbosity::Normal,
        (false, _) => Verbosity::Verbose,
    }
}

fn setting_of(typed: &OsStr) -> Result<(OsString, OsString), WireError> {
    let bytes = typed.as_bytes();
    let equals = bytes.iter().position(|&byte| byte == b'=').filter(|&at| at > 0);
    match equals.and_then(|at| bytes.split_at_checked(at)) {
        Some((name, [_, value @ ..])) => {
            Ok((OsStr::from_bytes(name).to_owned(), OsStr::from_bytes(value).to_owned()))
        }
        _ => Err(WireError::new(
            ErrorKind::Usage,
            format!("`{}` is not a valid value for --env", typed.to_string_lossy()),
        )
        .hint("Write --env NAME=VALUE; --env NAME=\"$NAME\" passes your own variable on.")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn run(line: &[&str]) -> Result<Run, WireError> {
        let dir = ["rcmd-client", "--dir", "/nonexistent"];
        let typed = dir.iter().chain(line);
        Run::resolve(RunArguments::try_parse_from(typed).unwrap())
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        for line in [
            &["web1"][..],
            &["help"],
            &["web1:0x", "ls"],
            &["--json", "--encoding", "gbk", "web1", "ls"],
            &["--encoding", "klingon", "web1", "ls"],
            &["--env", "A", "web1", "ls"],
            &["--env", "=A", "web1", "ls"],
            &["--shell", "web1", "ls", "-l"],
            &["--exec", "--unordered", "web1", "ls"],
            &["--parallel", "3", "web1", "ls"],
            &["--commands", "f", "web1", "ls"],
            &["--key", "", "web1", "ls"],
            &["--user", "", "web1", "ls"],
            &["--cwd", "", "web1", "ls"],
            &["--lock", "", "web1", "ls"],
            &["web1", ""],
            &["", "ls"],
            &["root@web1", "ls"],
            &["fe80::1%eth0", "ls"],
        ] {
            let failure = run(line).unwrap_err();
            assert_eq!(failure.kind, ErrorKind::Usage, "{line:?}");
            assert!(failure.hint.is_some(), "{line:?}: {failure}");
        }
    }

    #[test]
    fn a_setting_is_cut_at_its_first_equals_sign() {
        let run = run(&["--env", "A=b=c", "--env", "EMPTY=", "web1", "ls"]).unwrap();
        assert_eq!(
            run.command.env,
            [("A".into(), "b=c".into()), ("EMPTY".into(), OsString::new())]
        );
    }

    #[test]
    fn a_flag_goes_before_the_file_and_that_before_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        let resolve = |line: &[&str]| {
            let typed = ["rcmd-client", "--dir", path].into_iter().chain(line.iter().copied());
            Run::resolve(RunArguments::try_parse_from(typed).unwrap()).unwrap()
        };
        assert_eq!(resolve(&["web1", "ls"]).connect.timeout, CONNECT_TIMEOUT);
        std::fs::write(dir.path().join("client.toml"), "connect_timeout = 3\nencoding = 'gbk'")
            .unwrap();
        let from_file = resolve(&["web1", "ls"]);
        assert_eq!(from_file.connect.timeout, Duration::from_secs(3));
        let encoding = Some(encoding_rs::GBK);
        assert_eq!(from_file.output.form, Form::Text { encoding, timestamps: false });
        let flags = ["--connect-timeout", "1", "--encoding", "big5", "web1", "ls"];
        let by_flag = resolve(&flags);
        assert_eq!(by_flag.connect.timeout, Duration::from_secs(1));
        let encoding = Some(encoding_rs::BIG5);
        assert_eq!(by_flag.output.form, Form::Text { encoding, timestamps: false });
        // The file's encoding is for terminals; events keep the bytes.
        assert_eq!(
            resolve(&["--json", "web1", "ls"]).output.form,
            Form::Json { timestamps: false }
        );
    }
}
