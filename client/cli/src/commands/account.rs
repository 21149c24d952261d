//! The account of all lines on all of their hosts: numbers that add up, and names by reason.

use std::sync::Arc;

use rcmd_client::Report;
use rcmd_client::hosts::{HostSet, MAX_HOSTS};

use crate::fleet::account::{Counts, Groups, Reason, summary};
use crate::settings::Verbosity;
use crate::text::Tone;

/// Names that all groups may have together; further ones are counted and not named.
const NAMES: usize = 4 * MAX_HOSTS;

/// The ends of all lines on all of their hosts.
#[derive(Debug, Default)]
pub(super) struct CommandsAccount {
    groups: Groups,
    /// The hosts of each group.
    names: Vec<HostSet>,
    named: usize,
    hosts: HostSet,
    unread: Unread,
}

/// Lines that were not read when the run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Unread {
    /// All were read.
    #[default]
    None,
    /// The number of lines of a file.
    Lines(u64),
    /// The rest of standard input, whose length is not known.
    Rest,
}

impl Unread {
    /// Returns what is said of it.
    fn told(self) -> Option<String> {
        Some(match self {
            Self::None => return None,
            Self::Lines(1) => "1 more line was not read, and began on no host".to_owned(),
            Self::Lines(lines) => {
                format!("{lines} more lines were not read, and began on no host")
            }
            Self::Rest => "standard input was not read to its end".to_owned(),
        })
    }
}

impl CommandsAccount {
    /// Adds how a line ended on one of its hosts.
    pub(super) fn add(&mut self, report: &Report) {
        let reason = Reason::of(report);
        let place = self.groups.add(reason, report.error.as_ref());
        // A line of which nobody can tell whose it is has no host.
        if report.host.is_empty() {
            return;
        }
        if !self.hosts.contains(&report.host) {
            self.hosts.insert(Arc::from(report.host.as_str()));
        }
        // Nobody is told who has exited with 0.
        if reason == Reason::Status(0) {
            return;
        }
        if self.names.len() <= place {
            self.names.resize_with(place + 1, HostSet::default);
        }
        if let Some(names) = self.names.get_mut(place)
            && self.named < NAMES
            && !names.contains(&report.host)
        {
            names.insert(Arc::from(report.host.as_str()));
            self.named += 1;
        }
    }

    /// Notes how many lines were not read, of which no host has a result; `None` if nobody knows.
    pub(super) fn set_unread(&mut self, lines: Option<u64>) {
        self.unread = match lines {
            Some(0) => Unread::None,
            Some(lines) => Unread::Lines(lines),
            None => Unread::Rest,
        };
    }

    /// Returns the account as a line of JSON, without its end. Such a run has no name.
    pub(super) fn event(&self) -> String {
        let unread = match self.unread {
            Unread::Lines(lines) => Some(lines),
            Unread::None | Unread::Rest => None,
        };
        summary("", Counts { unread, ..self.groups.counts() })
    }

    /// Returns the account as lines for a person. If nothing went wrong, there is nothing for a person who
    /// wants quiet.
    pub(super) fn lines(&self, verbosity: Verbosity, templates: &[String]) -> Vec<(Tone, String)> {
        let counts = self.groups.counts();
        let is_well = counts.are_well() && self.unread == Unread::None;
        if is_well && verbosity == Verbosity::Quiet {
            return Vec::new();
        }
        let plural = |count: usize, what: &str| match count {
            1 => format!("1 {what}"),
            count => format!("{count} {what}s"),
        };
        let hosts = plural(self.hosts.len(), "host");
        let all = format!("{} on {hosts}", plural(counts.total, "command"));
        let mut lines = vec![(Tone::Notice, counts.sentence(&all))];
        lines.extend(self.unread.told().map(|line| (Tone::Error, line)));
        lines.extend(self.groups.lines(|place| match self.names.get(place) {
            Some(names) if self.named >= NAMES => format!("{} and others", names.fold()),
            Some(names) if !names.is_empty() => names.fold(),
            _ => "no host".to_owned(),
        }));
        if !templates.is_empty() && verbosity > Verbosity::Quiet {
            lines.push((Tone::Notice, format!("templates: {}", templates.join(" "))));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use rcmd_client::{ErrorKind, Outcome, WireError};

    use super::*;
    use crate::session::not_started;

    fn exited(host: &str, code: u8) -> Report {
        let failure = WireError::new(ErrorKind::Lost, "");
        let report = Report::without_job(host, Outcome::Exited, failure);
        Report { code: Some(code), error: None, ..report }
    }

    #[test]
    fn commands_are_counted_and_hosts_named_once() {
        let mut account = CommandsAccount::default();
        for line in 0..3 {
            account.add(&exited("web1", 0));
            account.add(&exited("web2", line));
            let message = "cannot reach web3";
            account.add(&not_started("web3", WireError::new(ErrorKind::Unreachable, message)));
        }
        let lines = account.lines(Verbosity::Normal, &["{host}".to_owned()]);
        let lines: Vec<_> = lines.into_iter().map(|(_, line)| line).collect();
        assert_eq!(
            lines,
            [
                "9 commands on 3 hosts: 4 exited 0, 2 failed, 3 not started",
                "1 failed with status 1: web2",
                "1 failed with status 2: web2",
                "3 not started: web3: for one: cannot reach web3",
                "templates: {host}",
            ]
        );
        let bad = WireError::new(ErrorKind::Usage, "line 4 is no command");
        account.add(&not_started("", bad));
        let lines = account.lines(Verbosity::Normal, &[]);
        assert_eq!(lines[0].1, "10 commands on 3 hosts: 4 exited 0, 2 failed, 4 not started");
        assert!(lines.iter().any(|(_, line)| line.ends_with("no host: line 4 is no command")));
        let event = r#"{"event":"summary","run":"","exited":4,"failed":2,"timed_out":0,"not_started":4,"unknown":0,"total":10}"#;
        assert_eq!(account.event(), event);
    }

    #[test]
    fn lines_that_were_not_read_are_told_beside_the_numbers_that_add_up() {
        for (unread, told, event) in [
            (Some(2), Some("2 more lines were not read, and began on no host"), ",\"unread\":2}"),
            (Some(1), Some("1 more line was not read, and began on no host"), ",\"unread\":1}"),
            (None, Some("standard input was not read to its end"), "\"total\":1}"),
            (Some(0), None, "\"total\":1}"),
        ] {
            let mut account = CommandsAccount::default();
            account.add(&exited("web1", 0));
            account.set_unread(unread);
            let lines = account.lines(Verbosity::Normal, &[]);
            assert_eq!(lines[0].1, "1 command on 1 host: 1 exited 0");
            assert_eq!(lines.get(1).map(|(_, line)| &**line), told);
            assert!(account.event().ends_with(event), "{}", account.event());
            // A person who wants quiet hears of it too.
            assert_eq!(account.lines(Verbosity::Quiet, &[]).is_empty(), told.is_none());
        }
    }

    #[test]
    fn who_wants_quiet_hears_of_nothing_that_went_well() {
        let mut account = CommandsAccount::default();
        account.add(&exited("web1", 0));
        assert!(account.lines(Verbosity::Quiet, &[]).is_empty());
        account.add(&exited("web1", 1));
        assert_eq!(account.lines(Verbosity::Quiet, &[]).len(), 2);
    }
}
