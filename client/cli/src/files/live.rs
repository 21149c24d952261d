//! The live line: how far the transfers are.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::tally::Look;
use super::words;
use crate::text::{columns, escaped};

/// The time over which the rate is measured.
const WINDOW: Duration = Duration::from_secs(5);

/// The times at which bytes were counted, of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Rate {
    samples: VecDeque<(Instant, u64)>,
}

impl Rate {
    /// Notes how many bytes have crossed by now, and returns the rate in bytes a second, once it can be told.
    pub(super) fn note(&mut self, crossed: u64, now: Instant) -> Option<u64> {
        self.samples.push_back((now, crossed));
        // One that is older than the window stays, so that a slow link has a rate.
        while self.samples.get(1).is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            self.samples.pop_front();
        }
        let (since, before) = *self.samples.front()?;
        words::rate(crossed.saturating_sub(before), now.duration_since(since))
    }
}

/// Returns the line for a terminal of so many columns, which is never longer than that. Of what does not fit the less
/// important part is left out.
pub(super) fn line(hosts: &[(&str, Look)], rate: Option<u64>, terminal: usize) -> String {
    let most = terminal.saturating_sub(1);
    let (mut line, parts) = match hosts {
        [(_, look)] => of_one(look, rate),
        hosts => of_many(hosts, rate),
    };
    for part in parts {
        if columns(&line) + columns(&part) <= most {
            line.push_str(&part);
        }
    }
    while columns(&line) > most {
        line.pop();
    }
    line
}

/// Returns how the line of one host begins, and the parts that follow if there is room.
fn of_one(look: &Look, rate: Option<u64>) -> (String, Vec<String>) {
    let progress = look.progress;
    let line = match look.percent() {
        Some(percent) => format!("rcmd: {percent}%"),
        None => "rcmd: 0%".to_owned(),
    };
    // What was there from an earlier try is done too.
    let mut parts = match look.has_unsent {
        true => vec![format!(", {}", words::size(progress.crossed))],
        false => vec![
            format!(", {}", words::size(progress.passed)),
            format!(" of {}", words::size(progress.announced)),
        ],
    };
    parts.extend(rate.map(|rate| format!(", {}/s", words::size(rate))));
    let left = rate.and_then(|rate| look.left(rate));
    parts.extend(left.map(|left| format!(", {} left", humantime::format_duration(left))));
    if progress.entries > 1 {
        let (settled, entries) = (words::number(progress.settled), words::number(progress.entries));
        parts.push(format!("; {settled} of {entries} files"));
    }
    (line, parts)
}

/// Returns the same of several hosts, of which the one that is behind is named.
fn of_many(hosts: &[(&str, Look)], rate: Option<u64>) -> (String, Vec<String>) {
    let ended = hosts.iter().filter(|(_, look)| look.has_ended).count();
    let line = format!("rcmd: {ended}/{} hosts done", hosts.len());
    let crossed: u64 = hosts.iter().map(|(_, look)| look.progress.crossed).sum();
    let mut parts = vec![format!(", {}", words::size(crossed))];
    parts.extend(rate.map(|rate| format!(", {}/s", words::size(rate))));
    let running = hosts.iter().filter(|(_, look)| look.runs);
    let slowest = running.min_by_key(|(_, look)| look.percent().unwrap_or_default());
    parts.extend(slowest.map(|(name, look)| {
        format!("; slowest {} {}%", escaped(name), look.percent().unwrap_or_default())
    }));
    (line, parts)
}

#[cfg(test)]
mod tests {
    use rcmd_transfer::Progress;

    use super::*;

    fn look(crossed: u64) -> Look {
        let (announced, passed) = (4 << 20, crossed);
        let progress = Progress { entries: 3, announced, settled: 1, crossed, passed };
        Look { progress, has_unsent: false, runs: true, has_ended: false }
    }

    #[test]
    fn the_line_of_one_host_is_as_long_as_the_terminal_allows_and_never_longer() {
        let hosts = [("web1", look(1 << 20))];
        let text = |terminal| line(&hosts, Some(1 << 20), terminal);
        assert_eq!(text(80), "rcmd: 25%, 1.0 MiB of 4.0 MiB, 1.0 MiB/s, 3s left; 1 of 3 files");
        assert_eq!(text(45), "rcmd: 25%, 1.0 MiB of 4.0 MiB, 1.0 MiB/s");
        assert_eq!(text(12), "rcmd: 25%");
        for terminal in 0..100 {
            assert!(text(terminal).chars().count() <= terminal.saturating_sub(1));
        }
        let resumed =
            Look { progress: Progress { crossed: 1, ..look(1 << 20).progress }, ..look(0) };
        assert_eq!(
            line(&[("web1", resumed)], None, 80),
            "rcmd: 25%, 1.0 MiB of 4.0 MiB; 1 of 3 files"
        );
        let unsent = Look { has_unsent: true, ..look(1 << 20) };
        assert_eq!(line(&[("web1", unsent)], None, 80), "rcmd: 33%, 1.0 MiB; 1 of 3 files");
        assert_eq!(line(&[("web1", Look::default())], None, 80), "rcmd: 0%, 0 B of 0 B");
    }

    #[test]
    fn the_line_of_many_names_the_one_that_is_behind() {
        let done = Look { runs: false, has_ended: true, ..look(4 << 20) };
        let hosts = [("web1", done), ("web2", look(3 << 20)), ("w\u{1b}3", look(1 << 20))];
        assert_eq!(
            line(&hosts, Some(2048), 80),
            "rcmd: 1/3 hosts done, 8.0 MiB, 2.0 KiB/s; slowest w\\u{1b}3 25%"
        );
        assert_eq!(line(&[], None, 80), "rcmd: 0/0 hosts done, 0 B");
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let (mut rate, begin) = (Rate::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(rate.note(0, at(0)), None);
        assert_eq!(rate.note(1000, at(1)), Some(1000));
        assert_eq!(rate.note(2000, at(2)), Some(1000));
        for second in 3..30 {
            rate.note(2000, at(second));
        }
        assert_eq!(rate.note(2000, at(30)), Some(0), "it stands still");
        assert!(rate.samples.len() < 10);
    }
}
