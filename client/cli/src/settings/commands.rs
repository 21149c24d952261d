//! The settings of `--commands` on a set of hosts, or with lines that name their hosts.

use std::time::Duration;

use rcmd_certs::Layout;
use rcmd_client::fleet::FleetRules;
use rcmd_client::hosts::HostTarget;
use rcmd_client::inventory::Inventory;
use rcmd_protocol::outcome::WireError;

use super::file::File;
use super::fleet::{self, text, usage};
use super::{CommandInput, CommandOptions, Verbosity, sets};
use crate::arguments::RunArguments;
use crate::arguments::commands::Commands;
use crate::arguments::fleet::{FleetOptions, Summary};
use crate::arguments::sets::SetOptions;

/// A run of many commands on many hosts.
#[derive(Debug)]
pub(crate) struct CommandsOverHosts {
    pub(crate) layout: Layout,
    /// The time limit for look-up, TCP and TLS together, of each host.
    pub(crate) timeout: Duration,
    pub(crate) compress: bool,
    pub(crate) command: CommandOptions,
    pub(crate) commands: Commands,
    /// The hosts of the command line; none if each line names its own.
    pub(crate) hosts: Vec<HostTarget>,
    /// The inventory for the hosts that lines name.
    pub(crate) inventory: Inventory,
    /// An option that chooses among the hosts of the command line: with it, lines cannot name hosts.
    pub(crate) narrowed: Option<&'static str>,
    /// True if `{host}` and the like are replaced.
    pub(crate) templates: bool,
    /// The number of commands at a time on all hosts together, and of hosts connected to at a time.
    pub(crate) fanout: usize,
    pub(crate) summary: Summary,
    pub(crate) verbosity: Verbosity,
    /// Notices about the set.
    pub(crate) notices: Vec<String>,
}

/// Returns whether a command line runs the lines of a file on more than one named host.
pub(crate) fn is_meant(typed: &RunArguments) -> bool {
    typed.many.is_used() && (typed.words.is_empty() || fleet::is_meant(typed))
}

impl CommandsOverHosts {
    /// Combines the settings, as [`super::Run::resolve`] does.
    ///
    /// # Errors
    /// A usage error, with advice.
    pub(crate) fn resolve(typed: RunArguments) -> Result<Self, WireError> {
        let RunArguments { common, options, mut many, set, fleet, words, .. } = typed;
        super::refuse_form(&common, &options)?;
        refuse_beside(&fleet)?;
        let mut words = words.as_slice();
        let mut expression = None;
        if let Some((first, rest)) = words.split_first().filter(|_| set.hosts_file.is_empty()) {
            expression = Some(text(first)?);
            words = rest;
        }
        fleet::refuse_hosts(words)?;
        let Some(commands) = many.take(common.json, words)? else {
            return Err(usage("the file of commands is missing")
                .hint("Write `rcmd-client run --commands FILE HOSTS`."));
        };
        if commands.file.is_none() && set.hosts_file.iter().any(|file| file.as_os_str() == "-") {
            return Err(usage(
                "standard input cannot be used for both --hosts-file and --commands",
            )
            .hint("Write the hosts to a file."));
        }
        super::refuse_nothing(&options, &[])?;
        let SetOptions { exclude, having, pick, .. } = &set;
        let narrowing = [
            ("--exclude", !exclude.is_empty()),
            ("--where", !having.is_empty()),
            ("--pick", pick.is_some()),
        ];
        let narrowed = narrowing.into_iter().find(|(_, typed)| *typed).map(|(option, _)| option);
        let verbosity = super::verbosity(&common);
        let layout = super::layout(common.dir.as_deref())?;
        let file = File::read(&layout.client_toml())?;
        let (inventory, passed_over) = super::inventory_with(&layout, &set)?;
        let (mut hosts, mut notices) = (Vec::new(), Vec::new());
        if expression.is_some() || !set.hosts_file.is_empty() {
            (hosts, notices) = sets::targets(expression, &set, &inventory)?;
        } else if let Some(option) = narrowed {
            return Err(usage(&format!("{option} needs HOSTS on the command line")).hint(format!(
                "Name HOSTS, or leave {option} out; in a line that names its own hosts, `!` leaves some \
                 out, as in \"web[1-9]!web3\"."
            )));
        }
        notices.extend(passed_over.into_iter().filter(|_| verbosity == Verbosity::Verbose));
        let fanout = fleet.fanout.map(|number| usize::try_from(number).unwrap_or(usize::MAX));
        Ok(Self {
            timeout: super::connect_timeout(&common, &file),
            compress: options.compress || file.compress.unwrap_or(false),
            command: super::command_options(options, CommandInput::Empty)?,
            commands: Commands { ordered: false, ..commands },
            hosts,
            inventory,
            narrowed,
            templates: !fleet.no_templates,
            fanout: fanout.unwrap_or(FleetRules::FANOUT),
            summary: fleet.summary.unwrap_or_default(),
            verbosity,
            notices,
            layout,
        })
    }
}

/// Refuses options that have no meaning if each line has its own result on each host.
fn refuse_beside(fleet: &FleetOptions) -> Result<(), WireError> {
    const ORDER: &str =
        "-f N limits how many commands run at once; for steps, run the file on some hosts first.";
    const RESULTS: &str = "Results are lines of JSON with `host`, `line` and `stdout`: process them with a \
        program such as jq.";
    let refused = [
        (
            "--outdir",
            fleet.outdir.is_some(),
            "Write standard output to a file: each result names \
            its `host` and `line`, and has `stdout` and `stderr`.",
        ),
        ("--fold", fleet.fold, RESULTS),
        ("--diff", fleet.diff, RESULTS),
        (
            "--format",
            fleet.format.is_some(),
            "Select fields of the results, as with \
            `jq -r '[.host, .line, .code] | @tsv'`.",
        ),
        ("--batch", fleet.batch.is_some(), ORDER),
        ("--canary", fleet.canary.is_some(), ORDER),
        ("--max-failures", fleet.max_failures.is_some(), ORDER),
        (
            "--deadline",
            fleet.deadline.is_some(),
            "--timeout D limits each command, and \
            `timeout D rcmd-client ...` the whole run.",
        ),
        (
            "--retry",
            fleet.retry.is_some(),
            "Run the lines again whose results have `retry_safe`; \
            --busy-wait D tries again while a host is busy.",
        ),
        ("-i", fleet.input, "Commands of a file get no standard input: leave the option out."),
        (
            "--progress",
            fleet.progress,
            "Leave the option out: a terminal shows the progress by itself if the \
            results go elsewhere.",
        ),
        ("--raw", fleet.raw, "Use --json, which has every byte, escaped as in JSON."),
        (
            "--resume",
            fleet.resume.is_some(),
            "Such a run is not recorded: run the lines again \
            whose results have `retry_safe`.",
        ),
    ];
    match refused.into_iter().find(|(_, typed, _)| *typed) {
        None => Ok(()),
        Some((option, _, hint)) => {
            Err(usage(&format!("{option} cannot be combined with --commands")).hint(hint))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use rcmd_protocol::outcome::ErrorKind;

    use super::*;

    fn resolve(line: &[&str]) -> Result<CommandsOverHosts, WireError> {
        let typed = ["rcmd-client", "--dir", "/nonexistent", "--commands"].iter().chain(line);
        let typed = RunArguments::try_parse_from(typed).unwrap();
        assert!(is_meant(&typed), "{line:?}");
        CommandsOverHosts::resolve(typed)
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        for line in [
            &["f", "--outdir", "d", "a,b"][..],
            &["f", "--fold", "a,b"],
            &["f", "--diff", "a,b"],
            &["f", "--format", "{host}", "a,b"],
            &["f", "--batch", "1", "a,b"],
            &["f", "--batch", "1", "--pause", "1s", "a,b"],
            &["f", "--canary", "1", "a,b"],
            &["f", "--max-failures", "1", "a,b"],
            &["f", "--deadline", "1m", "a,b"],
            &["f", "--retry", "1", "a,b"],
            &["f", "-i", "a,b"],
            &["f", "--progress", "a,b"],
            &["f", "--raw", "a,b"],
            &["f", "--resume", "last"],
            &["f", "-x", "a"],
            &["f", "a,b", "uptime"],
            &["f", "root@a,b"],
            &["f", "a[1-"],
            &["-", "--hosts-file", "-"],
            &["f", "--hosts-file", "g", "@web"],
            &["f", "--cwd", "", "a,b"],
        ] {
            let failure = resolve(line).unwrap_err();
            assert_eq!(failure.kind, ErrorKind::Usage, "{line:?}");
            assert!(failure.hint.is_some(), "{line:?}: {failure}");
        }
    }

    #[test]
    fn hosts_may_be_absent_and_a_set_of_one_is_a_set() {
        let run = resolve(&["f"]).unwrap();
        assert!(run.hosts.is_empty() && !run.commands.ordered && run.templates);
        assert_eq!((run.fanout, run.commands.parallel), (64, 8));
        let run = resolve(&["f", "-f", "3", "--parallel", "2", "--no-templates", "a"]).unwrap();
        assert_eq!((run.hosts.len(), run.fanout, run.commands.parallel), (1, 3, 2));
        assert!(!run.templates && run.narrowed.is_none());
        assert_eq!(resolve(&["f", "-x", "b", "a,b"]).unwrap().narrowed, Some("--exclude"));
        assert_eq!(resolve(&["f", "--pick", "1", "a,b"]).unwrap().narrowed, Some("--pick"));
    }
}
