//! Counters of what became of commands. They only grow, and are kept while the server runs.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use rcmd_protocol::outcome::{ErrorKind, Outcome};
use serde::{Deserialize, Serialize};

/// The upper bounds of the classes of the time that a start takes, in microseconds. Most take a
/// millisecond; one that waits for a file system is given up after 20 s.
pub(crate) const SPAWN_BOUNDS: [u64; 12] = [
    500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000,
    20_000_000,
];

/// How commands end whose process was started.
const OUTCOMES: [Outcome; 4] =
    [Outcome::Exited, Outcome::Signaled, Outcome::TimedOut, Outcome::Unknown];

/// Why commands are not started. All other reasons are the last.
const REFUSALS: [&str; 4] = ["denied", "busy", "resources", "other"];

/// The counters of commands.
#[derive(Debug, Default)]
pub(crate) struct JobCounts {
    ended: [AtomicU64; OUTCOMES.len()],
    refused: [AtomicU64; REFUSALS.len()],
    stdin: AtomicU64,
    stdout: AtomicU64,
    stderr: AtomicU64,
    /// The starts of each class, those above all bounds apart.
    spawns: [AtomicU64; SPAWN_BOUNDS.len()],
    started: AtomicU64,
    spawn_us: AtomicU64,
}

/// The counters of commands at one moment.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub(crate) struct JobCountFacts {
    /// The number of processes that were started.
    pub started: u64,
    /// The number of commands that ended with each outcome.
    pub ended: Vec<NamedCount>,
    /// The number of requests that were not started, by reason.
    pub refused: Vec<NamedCount>,
    /// The bytes that commands read as standard input.
    pub stdin_bytes: u64,
    /// The bytes of standard output.
    pub stdout_bytes: u64,
    /// The bytes of standard error.
    pub stderr_bytes: u64,
    /// The time that all starts took together, in microseconds.
    pub spawn_us: u64,
    /// The number of starts that took at most as long as each of [`SPAWN_BOUNDS`].
    pub spawns: Vec<u64>,
}

/// A number with its name, which is one of a few.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub(crate) struct NamedCount {
    /// The name.
    pub name: String,
    /// The number.
    pub count: u64,
}

impl NamedCount {
    /// Returns numbers with their names.
    pub(crate) fn all<'a>(
        names: impl IntoIterator<Item = &'a str>,
        counts: &[AtomicU64],
    ) -> Vec<Self> {
        let read = |(name, count): (&str, &AtomicU64)| Self {
            name: name.to_owned(),
            count: count.load(Ordering::Relaxed),
        };
        names.into_iter().zip(counts).map(read).collect()
    }
}

impl JobCounts {
    /// Counts a process that was started, and the time that it took.
    pub(super) fn started(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.started.fetch_add(1, Ordering::Relaxed);
        self.spawn_us.fetch_add(us, Ordering::Relaxed);
        let class = SPAWN_BOUNDS.iter().zip(&self.spawns).find(|(bound, _)| us <= **bound);
        if let Some((_, count)) = class {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts the end of a command whose process was started.
    pub(super) fn ended(&self, outcome: Outcome) {
        if let Some((_, count)) = OUTCOMES.iter().zip(&self.ended).find(|(of, _)| **of == outcome) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a request that is not started, for this reason.
    pub(crate) fn refused(&self, kind: &ErrorKind) {
        let is_of = |name: &&str| *name == kind.as_str();
        let at = REFUSALS.iter().position(is_of).unwrap_or(REFUSALS.len() - 1);
        if let Some(count) = self.refused.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts bytes of standard output.
    pub(super) fn stdout(&self, bytes: usize) {
        self.stdout.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts bytes of standard error.
    pub(super) fn stderr(&self, bytes: usize) {
        self.stderr.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts bytes of standard input.
    pub(super) fn stdin(&self, bytes: u64) {
        self.stdin.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Returns the numbers of this moment.
    pub(crate) fn facts(&self) -> JobCountFacts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let spawns = self.spawns.iter().scan(0_u64, |below, count| {
            *below += read(count);
            Some(*below)
        });
        JobCountFacts {
            spawns: spawns.collect(),
            started: read(&self.started),
            ended: NamedCount::all(OUTCOMES.iter().map(|outcome| outcome.as_str()), &self.ended),
            refused: NamedCount::all(REFUSALS, &self.refused),
            stdin_bytes: read(&self.stdin),
            stdout_bytes: read(&self.stdout),
            stderr_bytes: read(&self.stderr),
            spawn_us: read(&self.spawn_us),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_start_counts_in_its_class_and_in_all_above() {
        let counts = JobCounts::default();
        for ms in [0, 1, 3, 30_000] {
            counts.started(Duration::from_millis(ms));
        }
        let facts = counts.facts();
        assert_eq!((facts.started, facts.spawn_us), (4, 30_004_000));
        assert_eq!(facts.spawns[..4], [1, 2, 2, 3]);
        assert_eq!(facts.spawns.last(), Some(&3), "one is above all bounds");
    }

    #[test]
    fn ends_and_refusals_have_a_few_names_whatever_comes() {
        let counts = JobCounts::default();
        counts.ended(Outcome::Exited);
        counts.ended(Outcome::NotStarted);
        for kind in [ErrorKind::Denied, ErrorKind::Busy, ErrorKind::TooBig, ErrorKind::Lost] {
            counts.refused(&kind);
        }
        let facts = counts.facts();
        let of = |all: &[NamedCount]| -> Vec<u64> { all.iter().map(|one| one.count).collect() };
        assert_eq!((of(&facts.ended), of(&facts.refused)), (vec![1, 0, 0, 0], vec![1, 1, 0, 2]));
    }
}
