//! Rules of a run: how many hosts at once, in which steps, and what ends it early.

use std::time::Duration;

use super::budget::Budget;

/// The rules by which a run goes over its targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetRules {
    /// Targets at once, at least 1; 64 by default. Fewer where [`FleetRules::memory`] does not bear them.
    pub fanout: usize,
    /// The next so many targets begin when all before them have ended; no steps by default.
    pub batch: Option<usize>,
    /// The time between two batches, counted from the last end of the first one.
    pub pause: Duration,
    /// Targets that go first and alone; any failure among them stops the run. None by default.
    pub canary: usize,
    /// The run stops when more targets than this have failed; never by default.
    pub max_failures: Option<usize>,
    /// The time of the whole run: what runs then ends as timed out, what waits never starts.
    pub deadline: Option<Duration>,
    /// The number of further tries of a target, where they can't run anything twice and may help.
    pub retries: u32,
    /// Bytes that the run may hold at one time; 256 MiB by default. Three eighths are for connections and the
    /// output that is ahead of the caller.
    pub memory: u64,
}

impl FleetRules {
    /// Targets at once, unless [`FleetRules::fanout`] says otherwise.
    pub const FANOUT: usize = 64;
    /// Bytes held at one time, unless [`FleetRules::memory`] says otherwise.
    pub const MEMORY: u64 = 256 * 1024 * 1024;

    /// Returns how many targets run at once: as many as [`FleetRules::fanout`] says, as far as
    /// [`FleetRules::memory`] bears them, and at least 1. Compressed connections take more of it.
    #[must_use]
    pub fn at_once(&self, compressed: bool) -> usize {
        Budget::new(self.memory, compressed).bear(self.fanout)
    }

    /// Returns the bytes that each stream may be ahead of the caller while so many targets run at once.
    #[must_use]
    pub fn credit(&self, compressed: bool) -> u64 {
        Budget::new(self.memory, compressed).credit(self.at_once(compressed))
    }
}

impl Default for FleetRules {
    fn default() -> Self {
        Self {
            fanout: Self::FANOUT,
            batch: None,
            pause: Duration::ZERO,
            canary: 0,
            max_failures: None,
            deadline: None,
            retries: 0,
            memory: Self::MEMORY,
        }
    }
}

/// The reason for which a run starts no further targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A target among the first ones failed ([`FleetRules::canary`]).
    Canary,
    /// The number of targets that failed is above the limit ([`FleetRules::max_failures`]).
    Failures,
    /// The time of the run is over ([`FleetRules::deadline`]).
    Deadline,
    /// The caller of the run asked for it ([`FleetRun::stop`](super::FleetRun::stop)).
    Caller,
}

impl Stop {
    /// Returns why a target that waited was held back, for people.
    pub fn why(self) -> &'static str {
        match self {
            Self::Canary => "one of the first hosts failed, and so no other was begun",
            Self::Failures => "too many hosts failed, and so no other was begun",
            Self::Deadline => "the time of the whole run was over before its turn came",
            Self::Caller => "the run was interrupted before its turn came",
        }
    }
}
