//! Every limit of the server: constants with their reasons, and what `[limits]` configures.

use std::{collections::BTreeMap, time::Duration};

use rcmd_certs::Identity;
use rcmd_protocol::limits::{CREDIT, PAYLOAD};
use serde::Deserialize;

use super::quota::{self, EffectiveQuota, Quota};
use crate::{
    audit::bounds::RUNNING,
    process::TreeLimits,
    units::{self, Rate, Span},
};

/// Descriptors of a connection.
const DESCRIPTORS_PER_CONNECTION: u64 = 1;
/// Descriptors of a running command: three pipes, the pidfd that it is supervised by, three to spare.
const DESCRIPTORS_PER_COMMAND: u64 = 7;
/// Descriptors kept back for listeners, logs, certificates and `/proc`.
const DESCRIPTORS_KEPT: u64 = 32;

/// Maximum number of addresses to listen on: so many fit the file that tells of a running server.
pub(crate) const LISTENERS: usize = 1000;

/// Default limit of an identity's commands that run, wait, or are being read.
const CHANNELS: usize = 1024;

/// Default rate of an identity's starts: 100,000 at once and 1,667 a second, more than a host of two
/// processors starts for long. What each writes to the audit is bounded by it.
const STARTS: Rate = Rate::new(100_000, Duration::from_micros(600));

/// Default limit of an identity's keys that are written down. Each is kept for 7 days, so that this is one a
/// minute, and takes some 600 bytes of memory and 800 on disk.
const KEYS: usize = 10_000;

/// Maximum bytes of requests, output and input that the server holds for all clients together. An identity
/// may hold as much as is left free, and one stream less the more that identity holds, so a thousand clients
/// that read nothing cost a bounded amount.
pub(crate) const HELD: usize = 256 * 1024 * 1024;
/// Bytes that a stream may hold even when the total is used up, so that none starves: with less, a
/// receiver that confirms each quarter of its credit would never confirm anything.
pub(crate) const HELD_ALWAYS: u64 = CREDIT / 4;
/// One part in so many of [`HELD`] may be payloads that have come in part.
pub(crate) const READING_PART: usize = 4;
/// Bytes of such payloads that each identity may always hold: one of the largest, so that it can become
/// whole.
pub(crate) const READING_ALWAYS: usize = PAYLOAD + 128 * 1024;
/// Bytes of a request that is accepted even when the total is used up.
pub(crate) const REQUEST_ALWAYS: usize = 64 * 1024;
/// Bytes of a compressed connection: zstd reports 953 KiB to compress and 605 KiB to decompress.
pub(crate) const COMPRESSION: u64 = 1600 * 1024;
/// Maximum number of exits that are kept for an identity whose client has not come back for them.
pub(crate) const RETAINED: usize = 1024;
/// Time between SIGTERM and SIGKILL for a timeout or a stopped reader.
pub(crate) const TERM_TO_KILL: Duration = Duration::from_secs(5);
/// Time for a command to end by itself after its stdout was stopped.
pub(crate) const STOP_TO_TERM: Duration = Duration::from_secs(2);
/// Time that a pipe may stay open after the process has ended.
pub(crate) const OUTPUT_OPEN: Duration = Duration::from_secs(2);
/// Time for commands to end by themselves after the server received SIGTERM.
pub(crate) const DRAIN: Duration = Duration::from_secs(10);
/// Time between SIGTERM and SIGKILL for commands when the server stops.
pub(crate) const DRAIN_TERM_TO_KILL: Duration = Duration::from_secs(2);
/// Time for a connection to take its last frames when the server ends it.
pub(crate) const CLOSE: Duration = Duration::from_secs(2);
/// Time to read away what a refused peer sends, so that the reason reaches it before a reset does.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// How many may have a turn at some work at once, and how many wait for one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TurnLimits {
    /// All together.
    pub all: usize,
    /// One identity.
    pub each: usize,
    /// One identity's that wait.
    pub waiting: usize,
    /// How long one waits.
    pub patience: Duration,
}

/// Looks at the host's files. Most take a tenth of a millisecond; one of a file system that does not
/// answer has its turn for 5 s, and an identity has no more than a few of those.
pub(crate) const LOOKS: TurnLimits =
    TurnLimits { all: 16, each: 2, waiting: CHANNELS, patience: Duration::from_secs(10) };
/// Programs that are read to be digested, a second each at the largest.
pub(crate) const DIGESTS: TurnLimits =
    TurnLimits { all: 4, each: 1, waiting: CHANNELS, patience: Duration::from_secs(60) };
/// Look-ups of accounts: the host's directory service may be slow, and should not be asked by many.
pub(crate) const ACCOUNTS: TurnLimits =
    TurnLimits { all: 4, each: 1, waiting: CHANNELS, patience: Duration::from_secs(5) };

/// Limits that the configuration may change, under `[limits]`: of the host, all identities
/// together.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// Commands that run at once.
    #[serde(deserialize_with = "units::at_least_one")]
    pub running: usize,
    /// Commands that wait in the queue.
    pub queued: usize,
    /// How long a command waits in the queue.
    #[serde(deserialize_with = "units::up_to_a_day")]
    pub queue_wait: Span,
    /// How long a command waits for a lock.
    #[serde(deserialize_with = "units::up_to_a_day")]
    pub lock_wait: Span,
    /// Connections.
    #[serde(deserialize_with = "units::at_least_one")]
    pub connections: usize,
    /// Commands that run, wait, or are being read.
    #[serde(deserialize_with = "units::at_least_one")]
    pub channels: usize,
    /// Starts in a span of time.
    pub starts: Rate,
    /// Peers that have not authenticated yet.
    #[serde(deserialize_with = "units::at_least_one")]
    pub unauthenticated: usize,
    /// Time for a handshake and the hello.
    #[serde(deserialize_with = "units::handshake")]
    pub handshake: Span,
    /// What one command's tree of processes may use.
    pub tree: TreeLimits,
    /// Limits of each identity.
    pub peer: Quota,
    /// Limits of the users of these names.
    #[serde(deserialize_with = "quota::of_users")]
    pub user: BTreeMap<String, Quota>,
    /// Limits of the members of these groups.
    #[serde(deserialize_with = "quota::of_groups")]
    pub group: BTreeMap<String, Quota>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            running: 1024,
            queued: 4096,
            queue_wait: Span(Duration::from_secs(60)),
            lock_wait: Span(Duration::from_secs(3600)),
            connections: 16_384,
            channels: 8192,
            starts: Rate::UNLIMITED,
            unauthenticated: 512,
            handshake: Span(rcmd_protocol::limits::HANDSHAKE_DEADLINE),
            tree: TreeLimits::default(),
            peer: Quota::default(),
            user: BTreeMap::new(),
            group: BTreeMap::new(),
        }
    }
}

impl Limits {
    /// Returns these limits with the quotas of identities, the rate of starts and the times in queues of
    /// `newer`. The host's counts stay: they were reduced to what it can bear, and tables
    /// were made for them.
    pub(crate) fn with_shares_of(&self, newer: &Self) -> Self {
        Self {
            queue_wait: newer.queue_wait,
            lock_wait: newer.lock_wait,
            starts: newer.starts,
            peer: newer.peer.clone(),
            user: newer.user.clone(),
            group: newer.group.clone(),
            ..self.clone()
        }
    }

    /// Returns these limits reduced to what `descriptors` open files allow, of which at most half go to
    /// commands, and to what the audit has room for.
    pub(crate) fn cut_to(&self, descriptors: u64) -> Self {
        let usable = descriptors.saturating_sub(DESCRIPTORS_KEPT);
        let at_most = |count: u64, limit: usize| {
            usize::try_from(count).unwrap_or(usize::MAX).clamp(1, limit.max(1))
        };
        let running = self.running.min(RUNNING);
        let running = at_most(usable / 2 / DESCRIPTORS_PER_COMMAND, running);
        let rest = usable.saturating_sub(running as u64 * DESCRIPTORS_PER_COMMAND);
        // Peers that have not authenticated need descriptors too.
        let unauthenticated = at_most(rest / 3 / DESCRIPTORS_PER_CONNECTION, self.unauthenticated);
        let rest = rest.saturating_sub(unauthenticated as u64 * DESCRIPTORS_PER_CONNECTION);
        let connections = at_most(rest / DESCRIPTORS_PER_CONNECTION, self.connections);
        Self { running, connections, unauthenticated, ..self.clone() }
    }

    /// Returns the limits that apply to an identity.
    pub(crate) fn quota_of(&self, identity: &Identity) -> EffectiveQuota {
        self.quota_for(identity.user(), identity.groups())
    }

    /// Returns the limits of a user in these groups. Each limit is the first that is configured:
    /// for the user, for one of its groups (the most generous counts), for everybody under
    /// `[limits.peer]`. The default is three quarters of the host's, which leaves room for another
    /// identity.
    pub(crate) fn quota_for(&self, user: &str, groups: &[String]) -> EffectiveQuota {
        let own = self.user.get(user);
        let groups: Vec<_> = groups.iter().filter_map(|group| self.group.get(group)).collect();
        let count = |get: fn(&Quota) -> Option<usize>, host: usize, otherwise: usize| {
            self.pick(own, &groups, get).unwrap_or(otherwise).min(host)
        };
        EffectiveQuota {
            running: count(|of| of.running, self.running, most_of(self.running)),
            queued: count(|of| of.queued, self.queued, most_of(self.queued)),
            queue_wait: self.pick(own, &groups, |of| of.queue_wait).unwrap_or(self.queue_wait),
            lock_wait: self.pick(own, &groups, |of| of.lock_wait).unwrap_or(self.lock_wait),
            connections: count(|of| of.connections, self.connections, most_of(self.connections)),
            channels: count(|of| of.channels, self.channels, CHANNELS),
            starts: self.pick(own, &groups, |of| of.starts).unwrap_or(STARTS),
            keys: self.pick(own, &groups, |of| of.keys).unwrap_or(KEYS),
        }
    }

    fn pick<T: Ord>(
        &self,
        own: Option<&Quota>,
        groups: &[&Quota],
        get: fn(&Quota) -> Option<T>,
    ) -> Option<T> {
        own.and_then(get)
            .or_else(|| groups.iter().filter_map(|group| get(group)).max())
            .or_else(|| get(&self.peer))
    }
}

/// Returns three quarters of a number; all of one below 4.
fn most_of(host: usize) -> usize {
    host - host / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_cut_to_the_descriptors_there_are() {
        let limits = Limits::default();
        assert_eq!(limits.cut_to(1 << 20), limits);
        let small = limits.cut_to(256);
        assert_eq!((small.running, small.connections, small.unauthenticated), (16, 75, 37));
        let huge: Limits = toml::from_str("running = 1000000").unwrap();
        assert_eq!(huge.cut_to(1 << 30).running, RUNNING);
        let tiny = limits.cut_to(10);
        assert_eq!((tiny.running, tiny.connections, tiny.unauthenticated), (1, 1, 1));
    }

    #[test]
    fn shares_are_taken_over_and_the_host_s_counts_are_not() {
        let old: Limits = toml::from_str("running = 8\nqueued = 2").unwrap();
        let new: Limits = toml::from_str(
            "running = 100\nconnections = 9\nstarts = '1/s'\npeer.running = 50\n\
             user.ci.running = 3\ntree.processes = 7",
        )
        .unwrap();
        let both = old.with_shares_of(&new);
        assert_eq!((both.running, both.queued, both.starts), (8, 2, new.starts));
        assert_eq!((both.connections, &both.tree), (old.connections, &old.tree));
        assert_eq!(both.quota_for("alice", &[]).running, 8);
        assert_eq!(both.quota_for("ci", &[]).running, 3);
    }

    fn limits(text: &str) -> Limits {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn one_identity_leaves_a_quarter_of_the_host_to_others() {
        let of = Limits::default().quota_for("alice", &[]);
        assert_eq!((of.running, of.queued, of.connections, of.channels), (768, 3072, 12_288, 1024));
        assert_eq!(of.starts.to_string(), "100000 in 1m");
        let of = limits("running = 1\nqueued = 0\nqueue_wait = '5s'").quota_for("alice", &[]);
        assert_eq!((of.running, of.queued), (1, 0));
        assert_eq!(of.queue_wait, limits("queue_wait = '5s'").queue_wait);
    }

    #[test]
    fn a_user_goes_before_its_groups_and_they_before_everybody() {
        let limits = limits(
            "[peer]\nrunning = 2\nstarts = '1/s'\n\
             [user.ci]\nrunning = 4\n\
             [group.oncall]\nrunning = 6\nqueued = 7\n\
             [group.admin]\nrunning = 8\nstarts = 'unlimited'",
        );
        let running = |user, groups: &[&str]| {
            let groups: Vec<_> = groups.iter().map(|&group| group.to_owned()).collect();
            let of = limits.quota_for(user, &groups);
            (of.running, of.queued, of.starts == Rate::UNLIMITED)
        };
        assert_eq!(running("alice", &[]), (2, 3072, false));
        assert_eq!(running("alice", &["oncall", "others"]), (6, 7, false));
        assert_eq!(running("alice", &["oncall", "admin"]), (8, 7, true));
        assert_eq!(running("ci", &["oncall", "admin"]), (4, 7, true));
    }

    #[test]
    fn nobody_gets_more_than_the_host_has() {
        let of = limits("running = 3\n[user.ci]\nrunning = 9\nqueued = 5000").quota_for("ci", &[]);
        assert_eq!((of.running, of.queued), (3, 4096));
    }

    #[test]
    fn names_that_no_certificate_carries_are_refused() {
        let error = |text| toml::from_str::<Limits>(text).unwrap_err().message().to_owned();
        assert!(error("[user.'a b']\nrunning = 1").contains("cannot be the name of a user"));
        assert!(error("[group.'']\nrunning = 1").contains("cannot be the name of a group"));
        assert!(error("[user.ci]\nrunning = 0").contains("at least 1 is needed"));
        assert!(error("[user.ci]\nhandshake = '1s'").contains("unknown field"));
    }
}
