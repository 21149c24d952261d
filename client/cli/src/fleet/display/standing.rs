//! The live line: how far a run is.

use std::time::Duration;

use crate::text::{columns, escaped};

/// The progress of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Targets that have ended.
    pub(crate) done: usize,
    pub(crate) running: usize,
    /// Targets that have ended, and not with status 0.
    pub(crate) failed: usize,
    /// All targets of the run.
    pub(crate) total: usize,
    /// The target that runs longest, and how long.
    pub(crate) slowest: Option<(usize, Duration)>,
}

impl Standing {
    /// Returns the line for a terminal of so many columns, which is never longer than that. Of what does
    /// not fit the less important part is left out.
    pub(super) fn line(&self, name: &str, terminal: usize) -> String {
        let most = terminal.saturating_sub(1);
        let Self { done, running, failed, total, slowest } = self;
        let mut line = format!("rcmd: {done}/{total} done");
        let failed = if *failed > 0 { format!(", {failed} failed") } else { String::new() };
        let running = if *running > 0 { format!(", {running} run") } else { String::new() };
        let slowest = match slowest {
            Some((_, time)) => format!("; slowest {} {}", escaped(name), seconds(*time)),
            None => String::new(),
        };
        for part in [failed, running, slowest] {
            if columns(&line) + columns(&part) <= most {
                line.push_str(&part);
            }
        }
        while columns(&line) > most {
            line.pop();
        }
        line
    }
}

/// Returns a span in seconds, in words.
pub(super) fn seconds(time: Duration) -> String {
    humantime::format_duration(Duration::from_secs(time.as_secs())).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_as_long_as_the_terminal_allows_and_never_longer() {
        let slowest = Some((4, Duration::from_millis(72_900)));
        let standing = Standing { done: 12, running: 5, failed: 1, total: 20, slowest };
        let line = |columns| standing.line("web5", columns);
        assert_eq!(line(80), "rcmd: 12/20 done, 1 failed, 5 run; slowest web5 1m 12s");
        assert_eq!(line(40), "rcmd: 12/20 done, 1 failed, 5 run");
        assert_eq!(line(28), "rcmd: 12/20 done, 1 failed");
        assert_eq!(line(10), "rcmd: 12/");
        for columns in 0..100 {
            assert!(line(columns).chars().count() <= columns.saturating_sub(1));
        }
        let standing = Standing { total: 3, ..Standing::default() };
        assert_eq!(standing.line("", 80), "rcmd: 0/3 done");
    }
}
