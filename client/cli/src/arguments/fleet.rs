//! What may be typed for a run over many hosts.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum, ValueHint};

use super::duration;

/// Bytes of standard input that `-i` takes, unless said otherwise.
pub(crate) const MAX_INPUT: u64 = 1024 * 1024 * 1024;

/// Options of a run over many hosts. Each of them makes HOSTS a set, even one of a single host.
#[derive(Args, Debug, Default)]
pub(crate) struct FleetOptions {
    /// Hosts at once [default: 64]
    ///
    /// As many as a run's memory and the limit of descriptors bear; fewer are said. With --commands, also
    /// commands at once over all hosts.
    #[arg(short = 'f', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    #[arg(hide_short_help = true)]
    pub(crate) fanout: Option<u32>,
    /// So many hosts, or this part of all, before the next
    ///
    /// The next ones begin when all of these have ended. A part is rounded down, and at least 1.
    #[arg(long, value_name = "N|N%", value_parser = batch, hide_short_help = true)]
    pub(crate) batch: Option<Share>,
    /// Time between two batches
    ///
    /// From the last end of the one to the first start of the other.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_or_none, requires = "batch")]
    #[arg(hide_short_help = true)]
    pub(crate) pause: Option<Duration>,
    /// So many hosts first; a failure among them stops the run
    ///
    /// A host that is not reached, or whose end is not known, has failed too.
    #[arg(long, value_name = "N", hide_short_help = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) canary: Option<u32>,
    /// Stop the run when more hosts than this have failed
    ///
    /// What runs goes on to its end; what waits never starts. A part is one of all hosts, rounded down;
    /// 0 stops at the first failure, 100% never does.
    #[arg(long, value_name = "N|N%", value_parser = failures, hide_short_help = true)]
    pub(crate) max_failures: Option<Share>,
    /// End the whole run after this long
    ///
    /// What still runs is ended as by --timeout; what waits never starts.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_limit, hide_short_help = true)]
    pub(crate) deadline: Option<Duration>,
    /// Try a host again so often, where nothing ran and that may help
    ///
    /// When it was not reached, TLS failed, or it was busy or out of resources; after 1 s, then 2 s, up to 10 s.
    #[arg(long, value_name = "N", hide_short_help = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(..=1000))]
    pub(crate) retry: Option<u32>,
    /// Send standard input to every host
    ///
    /// It is read once, as a whole, before anything starts.
    #[arg(short = 'i', conflicts_with = "no_input", hide_short_help = true)]
    pub(crate) input: bool,
    /// Bytes of standard input that -i takes [default: 1 GiB]
    ///
    /// More is refused, and nothing runs.
    #[arg(long, value_name = "BYTES", requires = "input", hide_short_help = true)]
    pub(crate) max_input: Option<u64>,
    /// Print equal outputs once, with their hosts
    #[arg(short = 'b', long, conflicts_with_all = ["json", "format", "diff"])]
    pub(crate) fold: bool,
    /// Print the most common output, and how the others differ
    ///
    /// At the end, as a unified diff.
    #[arg(long, conflicts_with_all = ["json", "format"], hide_short_help = true)]
    pub(crate) diff: bool,
    /// Also write each host's output to DIR/HOST.out and .err
    ///
    /// And the results to DIR/results.jsonl. Each host's files are made anew, empty, before anything starts.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, hide_short_help = true)]
    pub(crate) outdir: Option<PathBuf>,
    /// Print a record a host, such as '{host}\t{code}\t{stdout}'
    ///
    /// Its fields are {host}, {index}, {outcome}, {code}, {signal}, {job}, {stdout}, {stderr},
    /// {duration_ms}, {error} and {label.NAME}; \t, \n and \\ are known.
    #[arg(long, value_name = "TEXT", conflicts_with = "json", hide_short_help = true)]
    pub(crate) format: Option<String>,
    /// How the account at the end is printed [default: table]
    ///
    /// For people on standard error, as one object, or not at all.
    #[arg(long, value_name = "FORM", hide_short_help = true)]
    pub(crate) summary: Option<Summary>,
    /// Show a live line at a terminal, also beside output
    ///
    /// How many are done, run and failed, and which runs longest. It is there by itself where output does not show how far the run is.
    #[arg(long, hide_short_help = true)]
    pub(crate) progress: bool,
    /// Leave {host} and the like in the command as they are
    ///
    /// For a command that has such braces for itself.
    #[arg(long, hide_short_help = true)]
    pub(crate) no_templates: bool,
    /// Print control characters at a terminal as they are
    ///
    /// Then a host can draw over the lines of others.
    #[arg(long, hide_short_help = true)]
    pub(crate) raw: bool,
    /// Take up a run that was broken off: its ID, or last
    ///
    /// What ran is taken up and never started twice; what never started, failed or timed out is run
    /// again. It takes no hosts and no command.
    #[arg(long, value_name = "ID", hide_short_help = true)]
    pub(crate) resume: Option<String>,
    /// With --resume: run again what stays unknown
    ///
    /// It may have run there; then it runs twice.
    #[arg(long, requires = "resume", hide_short_help = true)]
    pub(crate) again: bool,
}

/// How the account of a run is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Summary {
    /// For people, on standard error.
    #[default]
    Table,
    /// As an event: on standard error, or with --json only where all events are.
    Json,
    /// Not at all; with --json the last event is still there.
    None,
}

impl FleetOptions {
    /// Returns whether any of them was typed that makes HOSTS a set.
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
    /// So many.
    Count(usize),
    /// So many in a hundred.
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
            || "write a number of hosts, such as 5, or a part of all, such as 10%".to_owned();
        match text.strip_suffix('%') {
            Some(percent) => match percent.parse::<u8>() {
                Ok(percent) if percent <= 100 => Ok(Self::Percent(percent)),
                Ok(_) => Err("at most 100% of the hosts can be meant".to_owned()),
                Err(_) => Err(wrong()),
            },
            None => text.parse().map(Self::Count).map_err(|_| wrong()),
        }
    }
}

fn batch(text: &str) -> Result<Share, String> {
    match Share::parse(text)? {
        Share::Count(0) | Share::Percent(0) => Err("a batch has at least one host".to_owned()),
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
