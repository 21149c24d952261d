//! The settings of a run over a set of hosts.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use rcmd_certs::Layout;
use rcmd_client::fleet::FleetRules;
use rcmd_client::hosts::{Expression, HostTarget, is_expression};
use rcmd_protocol::outcome::{ErrorKind, WireError};

use super::file::File;
use super::{CommandInput, CommandOptions, Verbosity, form, sets};
use crate::arguments::fleet::{FleetOptions, MAX_INPUT, Summary};
use crate::arguments::sets::SetOptions;
use crate::arguments::words::CommandSpec;
use crate::arguments::{RunArguments, RunOptions};
use crate::output::Form;

/// A run over many hosts.
#[derive(Debug)]
pub(crate) struct FleetRun {
    pub(crate) layout: Layout,
    /// The value of --dir.
    pub(crate) dir: Option<PathBuf>,
    /// The time limit for look-up, TCP and TLS together, of each host.
    pub(crate) timeout: Duration,
    pub(crate) compress: bool,
    pub(crate) work: FleetWork,
    /// True if hosts are only asked whether they would permit the command.
    pub(crate) dry_run: bool,
    options: FleetOptions,
    /// The limit of standard input in bytes; `None` without `-i`.
    pub(crate) input: Option<u64>,
    pub(crate) show: ShowOptions,
    pub(crate) verbosity: Verbosity,
}

/// A new run, or an interrupted one.
#[derive(Debug)]
pub(crate) enum FleetWork {
    New(Box<NewFleetRun>),
    /// The run with this ID, or the latest.
    Resume {
        id: String,
        /// True if commands whose end stays unknown are run again.
        again: bool,
        /// The time to try again while a host is busy.
        busy_wait: Duration,
    },
}

/// A new run.
#[derive(Debug)]
pub(crate) struct NewFleetRun {
    pub(crate) targets: Vec<HostTarget>,
    pub(crate) words: CommandSpec,
    pub(crate) command: CommandOptions,
    /// True if `{host}` and the like are replaced.
    pub(crate) templates: bool,
    /// Notices about the set.
    pub(crate) notices: Vec<String>,
}

/// The settings for output and results.
#[derive(Debug)]
pub(crate) struct ShowOptions {
    pub(crate) form: Form,
    pub(crate) fold: bool,
    pub(crate) diff: bool,
    pub(crate) format: Option<String>,
    pub(crate) outdir: Option<PathBuf>,
    pub(crate) result: Option<PathBuf>,
    pub(crate) summary: Summary,
    pub(crate) progress: bool,
    pub(crate) raw: bool,
}

/// Returns whether a command line names a set of hosts.
pub(crate) fn is_meant(typed: &RunArguments) -> bool {
    let named = typed.words.first().and_then(|host| host.to_str()).is_some_and(is_expression);
    named || typed.set.are_used() || typed.fleet.are_used()
}

impl FleetRun {
    /// Combines the settings, as [`super::Run::resolve`] does.
    ///
    /// # Errors
    /// A usage failure, with its remedy.
    pub(crate) fn resolve(typed: RunArguments) -> Result<Self, WireError> {
        let RunArguments { common, options, mut many, set, fleet, words, .. } = typed;
        super::refuse_form(&common, &options)?;
        if options.dry_run {
            refuse_beside_dry_run(&fleet)?;
        }
        // For its errors: options that need --commands.
        many.take(common.json, &[])?;
        if fleet.format.as_deref() == Some("") {
            return Err(usage("--format is empty")
                .hint("Write the fields, as in --format '{host}\\t{code}'."));
        }
        let verbosity = super::verbosity(&common);
        let layout = super::layout(common.dir.as_deref())?;
        let file = File::read(&layout.client_toml())?;
        let mut form = form(&common, &options, &file)?;
        // Times from client.toml would make all outputs different.
        if fleet.fold || fleet.diff || fleet.format.is_some() {
            form = form.with_timestamps(options.timestamps);
        }
        let (timeout, compress) = (
            super::connect_timeout(&common, &file),
            options.compress || file.compress.unwrap_or(false),
        );
        let show = ShowOptions {
            form,
            fold: fleet.fold,
            diff: fleet.diff,
            format: fleet.format.clone(),
            outdir: fleet.outdir.clone(),
            result: options.result.clone(),
            summary: fleet.summary.unwrap_or_default(),
            progress: fleet.progress,
            raw: fleet.raw,
        };
        let input = fleet.input.then_some(fleet.max_input.unwrap_or(MAX_INPUT));
        let work = match &fleet.resume {
            Some(id) => resume(id, &fleet, &set, &options, &words)?,
            None => {
                let sent = CommandInput::sent_if(input.is_some());
                let command = super::command_options(options.clone(), sent)?;
                let (words, notices, targets) =
                    targets(&layout, verbosity, &set, &options, input.is_some(), words)?;
                let templates = !fleet.no_templates;
                FleetWork::New(Box::new(NewFleetRun {
                    targets,
                    words,
                    command,
                    templates,
                    notices,
                }))
            }
        };
        let dry_run = options.dry_run;
        Ok(Self {
            layout,
            dir: common.dir,
            timeout,
            compress,
            work,
            dry_run,
            options: fleet,
            input,
            show,
            verbosity,
        })
    }

    /// Returns the rules of a run over `total` hosts.
    pub(crate) fn rules(&self, total: usize) -> FleetRules {
        let typed = &self.options;
        let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        FleetRules {
            fanout: typed.fanout.map_or(FleetRules::FANOUT, count),
            batch: typed.batch.map(|batch| batch.of(total).max(1)),
            pause: typed.pause.unwrap_or_default(),
            canary: typed.canary.map_or(0, count),
            max_failures: typed.max_failures.map(|most| most.of(total)),
            deadline: typed.deadline,
            retries: typed.retry.unwrap_or_default(),
            ..FleetRules::default()
        }
    }
}

/// Refuses options for output or input, since nothing runs.
fn refuse_beside_dry_run(fleet: &FleetOptions) -> Result<(), WireError> {
    let refused = [
        ("--fold", fleet.fold),
        ("--diff", fleet.diff),
        ("--format", fleet.format.is_some()),
        ("--outdir", fleet.outdir.is_some()),
        ("-i", fleet.input),
        ("--resume", fleet.resume.is_some()),
    ];
    match refused.into_iter().find(|(_, typed)| *typed) {
        None => Ok(()),
        Some((option, _)) => Err(usage(&format!("{option} cannot be combined with --dry-run")).hint(
            "Nothing runs: leave the option out. The answer of each host is printed, with --json as events.",
        )),
    }
}

/// Returns a usage error.
pub(super) fn usage(message: &str) -> WireError {
    WireError::new(ErrorKind::Usage, message)
}

fn resume(
    id: &str,
    fleet: &FleetOptions,
    set: &SetOptions,
    options: &RunOptions,
    words: &[OsString],
) -> Result<FleetWork, WireError> {
    let refused = |message: &str| {
        Err(usage(message).hint(
            "Write `rcmd-client run --resume ID`; hosts, command and options come from the record.",
        ))
    };
    if id.is_empty() {
        return refused("the ID for --resume is empty");
    }
    if !words.is_empty() || set.are_used() {
        return refused("--resume cannot be combined with hosts or a command");
    }
    if fleet.input {
        return refused("--resume cannot be combined with -i");
    }
    let RunOptions { user, cwd, env, timeout, key, lock, lock_wait, shell, exec, .. } = options;
    let recorded = [
        ("--user", user.is_some()),
        ("--cwd", cwd.is_some()),
        ("--env", !env.is_empty()),
        ("--timeout", timeout.is_some()),
        ("--key", key.is_some()),
        ("--lock", lock.is_some() || lock_wait.is_some()),
        ("--shell", *shell),
        ("--exec", *exec),
        ("--no-templates", fleet.no_templates),
    ];
    if let Some((option, _)) = recorded.into_iter().find(|(_, typed)| *typed) {
        return refused(&format!("--resume cannot be combined with {option}"));
    }
    let busy_wait = options.busy_wait.unwrap_or(super::BUSY_WAIT);
    Ok(FleetWork::Resume { id: id.to_owned(), again: fleet.again, busy_wait })
}

type Chosen = (CommandSpec, Vec<String>, Vec<HostTarget>);

/// Returns the command, notices, and the hosts.
fn targets(
    layout: &Layout,
    verbosity: Verbosity,
    set: &SetOptions,
    options: &RunOptions,
    input: bool,
    words: Vec<OsString>,
) -> Result<Chosen, WireError> {
    let mut words = words.as_slice();
    let mut expression = None;
    if set.hosts_file.is_empty() {
        let (first, rest) = words.split_first().ok_or_else(|| {
            usage("the hosts are missing").hint("Write `rcmd-client HOSTS COMMAND...`.")
        })?;
        expression = Some(text(first)?);
        words = rest;
    } else {
        refuse_hosts(words)?;
        if input && set.hosts_file.iter().any(|file| file.as_os_str() == "-") {
            return Err(usage("standard input cannot be used for both --hosts-file and -i")
                .hint("Write the hosts to a file."));
        }
    }
    super::refuse_nothing(options, words)?;
    if words.is_empty() {
        return Err(usage("the command is missing after the hosts")
            .hint("Write a command; `rcmd-client hosts EXPR` lists the hosts of an expression."));
    }
    let spec = CommandSpec::read(words, options.shell, options.exec)?;
    let (inventory, passed_over) = super::inventory_with(layout, set)?;
    let (targets, mut notices) = sets::targets(expression, set, &inventory)?;
    notices.extend(passed_over.into_iter().filter(|_| verbosity == Verbosity::Verbose));
    notices.extend(spec.misplaced_behind("HOSTS", "HOSTS"));
    notices.extend(globbed(words));
    Ok((spec, notices, targets))
}

/// Returns the set of hosts on the command line.
///
/// # Errors
/// A usage error if it is not UTF-8.
pub(super) fn text(typed: &OsStr) -> Result<&str, WireError> {
    typed.to_str().ok_or_else(|| {
        let message = format!("`{}` is not a valid set of hosts", typed.to_string_lossy());
        usage(&message).hint("Names of hosts must be UTF-8.")
    })
}

/// Refuses a set of hosts after `--hosts-file`, which would be run as the program.
///
/// # Errors
/// A usage error, with advice.
pub(super) fn refuse_hosts(words: &[OsString]) -> Result<(), WireError> {
    let first = words.first().and_then(|word| word.to_str()).unwrap_or_default();
    let looks = first.starts_with('@') || first.contains('[') && Expression::parse(first).is_ok();
    match looks {
        false => Ok(()),
        true => Err(usage(&format!("`{first}` looks like hosts, but is where the command begins"))
            .hint("With --hosts-file leave out HOSTS, or write them into the file.")),
    }
}

/// Returns a warning if the first word of the command may come from brackets that the local shell expanded: in a
/// folder with files of such names, `web[1-2]` becomes several words, of which the second would be the program.
fn globbed(words: &[OsString]) -> Option<String> {
    let [program, ..] = words else { return None };
    let name = program.to_str().filter(|name| !name.contains('/'))?;
    let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    let is_numbered = !digits.is_empty() && digits.len() < name.len();
    (is_numbered && is_here(name)).then(|| {
        format!(
            "`{name}` is used as the program, and a file of this name is in this folder: did the shell \
             expand brackets? Write a set of hosts in single quotes"
        )
    })
}

/// Returns the same warning where one host is named. Then the first of these words is the host, and differs from
/// the second only in its numbers.
pub(super) fn globbed_behind(host: &str, words: &[OsString]) -> Option<String> {
    let program = words.first()?.to_str()?;
    let is_alike = host.len() == program.len()
        && host != program
        && host
            .bytes()
            .zip(program.bytes())
            .all(|(one, other)| one == other || one.is_ascii_digit() && other.is_ascii_digit());
    if is_alike && is_here(host) { globbed(words) } else { None }
}

#[expect(clippy::disallowed_methods, reason = "programs that serve nobody")]
fn is_here(name: &str) -> bool {
    std::path::Path::new(name).symlink_metadata().is_ok()
}
