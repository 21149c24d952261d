//! The options for runs over many hosts.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum, ValueHint};

use super::duration;

/// The default limit of standard input with `-i`, in bytes.
pub(crate) const MAX_INPUT: u64 = 1024 * 1024 * 1024;

/// The options for runs over many hosts. Each of them makes HOSTS a set, even of one host.
#[derive(Args, Debug, Default)]
pub(crate) struct FleetOptions {
    /// Hosts at a time [default: 64]
    ///
    /// If the memory of a run or the limit on descriptors allows fewer, a notice says so. With --commands,
    /// also the number of commands at a time on all hosts together.
    #[arg(short = 'f', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    #[arg(hide_short_help = true)]
    pub(crate) fanout: Option<u32>,
    /// Run on this number or percentage of hosts, then on the next
    ///
    /// The next batch begins when all hosts of the batch have ended. A percentage is rounded down, to at
    /// least 1.
    #[arg(long, value_name = "N|N%", value_parser = batch, hide_short_help = true)]
    pub(crate) batch: Option<Share>,
    /// Pause between two batches
    ///
    /// From the last end of one batch to the first start of the next.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_or_none, requires = "batch")]
    #[arg(hide_short_help = true)]
    pub(crate) pause: Option<Duration>,
    /// Run on this number of hosts first; stop if any of them fails
    ///
    /// A host that cannot be reached, or whose end is unknown, counts as a failure.
    #[arg(long, value_name = "N", hide_short_help = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) canary: Option<u32>,
    /// Stop the run when more hosts than this have failed
    ///
    /// Running commands go on to their end; hosts that wait are not started. A percentage is of all hosts,
    /// rounded down. 0 stops at the first failure, 100% never stops.
    #[arg(long, value_name = "N|N%", value_parser = failures, hide_short_help = true)]
    pub(crate) max_failures: Option<Share>,
    /// End the whole run after this time
    ///
    /// Running commands are ended as by --timeout; hosts that wait are not started.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_limit, hide_short_help = true)]
    pub(crate) deadline: Option<Duration>,
    /// Try a host up to N times again if nothing ran and it may help
    ///
    /// If the host could not be reached, TLS failed, or the host was busy or out of resources. The first
    /// pause is 1 s, each further one twice as long, up to 10 s.
    #[arg(long, value_name = "N", hide_short_help = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(..=1000))]
    pub(crate) retry: Option<u32>,
    /// Send standard input to every host
    ///
    /// Standard input is read to its end before any command starts.
    #[arg(short = 'i', conflicts_with = "no_input", hide_short_help = true)]
    pub(crate) input: bool,
    /// Limit of standard input with -i [default: 1 GiB]
    ///
    /// If standard input is longer, nothing runs.
    #[arg(long, value_name = "BYTES", requires = "input", hide_short_help = true)]
    pub(crate) max_input: Option<u64>,
    /// Print equal outputs once, with their hosts
    #[arg(short = 'b', long, conflicts_with_all = ["json", "format", "diff"])]
    pub(crate) fold: bool,
    /// Print the most common output, and differences from it
    ///
    /// The differences are printed at the end, as unified diffs.
    #[arg(long, conflicts_with_all = ["json", "format"], hide_short_help = true)]
    pub(crate) diff: bool,
    /// Also write each host's output to DIR/HOST.out and .err
    ///
    /// The results are written to DIR/results.jsonl. Existing files of the hosts are emptied before any
    /// command starts.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, hide_short_help = true)]
    pub(crate) outdir: Option<PathBuf>,
    /// Print one record for each host, as '{host}\t{code}\t{stdout}'
    ///
    /// The fields are {host}, {index}, {outcome}, {code}, {signal}, {job}, {stdout}, {stderr},
    /// {duration_ms}, {error} and {label.NAME}. The escapes \t, \n and \\ are replaced.
    #[arg(long, value_name = "TEXT", conflicts_with = "json", hide_short_help = true)]
    pub(crate) format: Option<String>,
    /// Form of the summary at the end [default: table]
    ///
    /// A table on standard error, one JSON object, or none.
    #[arg(long, value_name = "FORM", hide_short_help = true)]
    pub(crate) summary: Option<Summary>,
    /// Show a progress line at a terminal, also beside output
    ///
    /// The line has the number of hosts that are done, running and failed, and the host that runs longest.
    /// Without this option it is shown where the output does not show the progress.
    #[arg(long, hide_short_help = true)]
    pub(crate) progress: bool,
    /// Do not replace {host} and the like in the command
    ///
    /// For a command that itself contains such braces.
    #[arg(long, hide_short_help = true)]
    pub(crate) no_templates: bool,
    /// Print control characters at a terminal unescaped
    ///
    /// With this option, a host can overwrite the lines of other hosts.
    #[arg(long, hide_short_help = true)]
    pub(crate) raw: bool,
    /// Continue an interrupted run: its ID, or last
    ///
    /// Commands that were started are never started twice: their output and end are fetched. Hosts that did
    /// not start, failed or timed out run again. The command line has no hosts and no command.
    #[arg(long, value_name = "ID", hide_short_help = true)]
    pub(crate) resume: Option<String>,
    /// With --resume: also run again where the end stays unknown
    ///
    /// If the command did run there, it then runs twice.
    #[arg(long, requires = "resume", hide_short_help = true)]
    pub(crate) again: bool,
}

/// The form of the summary of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Summary {
    /// A table for people, on standard error.
    #[default]
    Table,
    /// One JSON object: on standard error, or with --json the last event.
    Json,
    /// None; with --json the last event is still printed.
    None,
}

impl FleetOptions {
    /// Returns whether any option was given that makes HOSTS a set.
    pub(crate) fn are_used(&self) -> bool {
        let Self { fanout, batch, pause, canary, max_failures, deadline, retry, .. } = self;
        let Self { input, max_input, fold, diff, outdir, format, summary, .. } = self;
        let numbers = fanout.is_some() || canary.is_some() || retry.is_some();
        let shares = batch.is_some() || max_failures.is_some();
        let times = pause.is_some() || deadline.is_some();
        let forms = *fold || *diff || outdir.is_some() || format.is_some() || summary.is_some();
        let switches = self.progress || self.no_templates || self.raw;
        let inputs = *input || max_input.is_some();
        numbers || shares || times || forms || switches || inputs || self.resume.is_some()
    }
}

/// A number of hosts, or a part of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// A number of hosts.
    Count(usize),
    /// A percentage.
    Percent(u8),
}

impl Share {
    /// Returns how many of `total` that is, rounded down.
    pub(crate) fn of(self, total: usize) -> usize {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => total.saturating_mul(usize::from(percent)) / 100,
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || "write a number of hosts, such as 5, or a percentage, such as 10%".to_owned();
        match text.strip_suffix('%') {
            Some(percent) => match percent.parse::<u8>() {
                Ok(percent) if percent <= 100 => Ok(Self::Percent(percent)),
                Ok(_) => Err("it must be at most 100%".to_owned()),
                Err(_) => Err(wrong()),
            },
            None => text.parse().map(Self::Count).map_err(|_| wrong()),
        }
    }
}

fn batch(text: &str) -> Result<Share, String> {
    match Share::parse(text)? {
        Share::Count(0) | Share::Percent(0) => Err("it must be at least one host".to_owned()),
        share => Ok(share),
    }
}

fn failures(text: &str) -> Result<Share, String> {
    Share::parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_one_of_all_hosts_rounded_down() {
        assert_eq!(Share::parse("10%").unwrap().of(19), 1);
        assert_eq!(Share::parse("50%").unwrap().of(3), 1);
        assert_eq!(Share::parse("100%").unwrap().of(7), 7);
        assert_eq!(Share::parse("3").unwrap().of(2), 3);
    }

    #[test]
    fn what_is_no_number_and_no_part_is_refused() {
        for text in ["", "%", "-1", "101%", "1.5%", "x", "1 %", "300%"] {
            assert!(Share::parse(text).is_err(), "{text}");
        }
        for text in ["0", "0%"] {
            assert!(batch(text).is_err() && failures(text).is_ok(), "{text}");
        }
    }
}
