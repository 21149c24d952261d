//! Every limit of the server: constants with their reasons, and those that `[limits]` configures.

use std::{collections::BTreeMap, num::NonZero, thread, time::Duration};

use rcmd_certs::Identity;
use rcmd_protocol::limits::{CREDIT, PAYLOAD};
use serde::Deserialize;

use super::quota::{self, EffectiveQuota, Quota};
use crate::{
    audit::bounds::RUNNING,
    process::{Handed, TreeLimits},
    units::{self, Rate, Span},
};

/// The number of descriptors of a connection.
const DESCRIPTORS_PER_CONNECTION: u64 = 1;
/// The number of descriptors of a running command: three pipes, the pidfd that it is supervised by,
/// and three to spare.
const DESCRIPTORS_PER_COMMAND: u64 = 7;
/// The number of descriptors kept back for listeners, logs, certificates, `/proc`, and those who ask the
/// server about itself.
const DESCRIPTORS_KEPT: u64 = 48;

/// The maximum number of folders that all transfers together hold open from the moment they are found
/// until their processes have them.
const FOLDERS: usize = 4096;
/// The maximum number of such folders of one identity: those of 16 transfers with as many as one may
/// have.
pub(crate) const FOLDERS_OF_EACH: usize = 16 * Handed::FOLDERS;

/// The maximum number of addresses to listen on: this many fit into the file of a running server.
pub(crate) const LISTENERS: usize = 1000;

/// The default limit of an identity's commands that run, wait, or are being read.
const CHANNELS: usize = 1024;

/// The default rate of an identity's starts: 100,000 at once and 1,667 a second, more than a host
/// of two processors can sustain. It also bounds what the identity's starts write to the audit.
const STARTS: Rate = Rate::new(100_000, Duration::from_micros(600));

/// The default limit of an identity's recorded keys. Each is kept for 7 days, so this permits one a
/// minute, and takes some 600 bytes of memory and 800 on disk.
const KEYS: usize = 10_000;

/// The maximum bytes of requests, output and input that the server holds for all clients together.
/// An identity may hold as much as is left free, and each of its streams less the more the identity
/// holds, so that a thousand clients that read nothing cost a bounded amount.
pub(crate) const HELD: usize = 256 * 1024 * 1024;
/// The bytes that a stream may hold even if the total is used up, so that none starves: with less,
/// a receiver that confirms each quarter of its credit would never confirm anything.
pub(crate) const HELD_ALWAYS: u64 = CREDIT / 4;
/// The divisor of [`HELD`] that gives the maximum bytes of payloads received in part.
pub(crate) const READING_PART: usize = 4;
/// The bytes of payloads received in part that each identity may always hold: one payload of the
/// maximum size, so that it can be completed.
pub(crate) const READING_ALWAYS: usize = PAYLOAD + 128 * 1024;
/// The maximum size in bytes of a request that is accepted even if the total is used up.
pub(crate) const REQUEST_ALWAYS: usize = 64 * 1024;
/// The memory of a compressed connection in bytes: zstd reports 953 KiB to compress and 605 KiB to
/// decompress.
pub(crate) const COMPRESSION: u64 = 1600 * 1024;
/// The maximum number of exits that are kept for an identity whose client has not returned for
/// them.
pub(crate) const RETAINED: usize = 1024;
/// The time between SIGTERM and SIGKILL after a timeout or a stopped reader.
pub(crate) const TERM_TO_KILL: Duration = Duration::from_secs(5);
/// The time for a command to end by itself after its stdout was stopped.
pub(crate) const STOP_TO_TERM: Duration = Duration::from_secs(2);
/// The time that a pipe may stay open after the process has ended.
pub(crate) const OUTPUT_OPEN: Duration = Duration::from_secs(2);
/// The time for commands to end by themselves after the server received SIGTERM.
pub(crate) const DRAIN: Duration = Duration::from_secs(10);
/// The same where the service manager holds the socket: a client that connects meanwhile waits for the next server, and
/// gives up after 10 s.
pub(crate) const HELD_DRAIN: Duration = Duration::from_secs(4);
/// The time between SIGTERM and SIGKILL for commands when the server stops.
pub(crate) const DRAIN_TERM_TO_KILL: Duration = Duration::from_secs(2);
/// The time for a connection to take its last frames when the server ends it.
pub(crate) const CLOSE: Duration = Duration::from_secs(2);
/// The time for reading away what a refused peer sends, so that the reason reaches it before a
/// reset does.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// The number of connections to the local socket of root, and of the server's own user. Each has one
/// request, which is answered within a millisecond.
pub(crate) const OPERATORS: usize = 4;

/// The number of connections to the listener for metrics; with one more, the oldest goes.
pub(crate) const SCRAPES: usize = 8;

/// The limits on turns at one kind of work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TurnLimits {
    /// The number of turns of all identities together.
    pub all: usize,
    /// The number of turns of one identity.
    pub each: usize,
    /// The number of one identity's requests that wait for a turn.
    pub waiting: usize,
    /// The time for which a request waits for a turn.
    pub patience: Duration,
}

/// The limits on looks at the host's files. Most take a tenth of a millisecond. A look at a file
/// system that does not answer keeps its turn for 5 s, and an identity has only a few turns.
pub(crate) const LOOKS: TurnLimits =
    TurnLimits { all: 16, each: 2, waiting: CHANNELS, patience: Duration::from_secs(10) };
/// The limits on reading programs to digest them, which takes a second each for the largest.
pub(crate) const DIGESTS: TurnLimits =
    TurnLimits { all: 4, each: 1, waiting: CHANNELS, patience: Duration::from_secs(60) };
/// The limits on look-ups of accounts: the host's directory service may be slow, and should not get
/// many questions at once.
pub(crate) const ACCOUNTS: TurnLimits =
    TurnLimits { all: 4, each: 1, waiting: CHANNELS, patience: Duration::from_secs(5) };

/// Returns the limits on answers to a ClientHello: one at a time for each thread that serves connections, so
/// that a frame of a peer that is known waits behind at most one of them. The number of those that wait has the
/// limit of strangers, and their time that of a handshake.
pub(crate) fn handshakes() -> TurnLimits {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let patience = units::LONGEST_HANDSHAKE;
    TurnLimits { all: threads, each: threads, waiting: usize::MAX, patience }
}

/// The limits on handshakes with a HelloRetryRequest, whose turns last until they are over: clients of rcmd have
/// none, and what the second hello costs is computed whenever that comes.
pub(crate) const RETRIES: TurnLimits =
    TurnLimits { all: 4, each: 1, waiting: usize::MAX, patience: units::LONGEST_HANDSHAKE };

/// The limits under `[limits]`, which the configuration may change: those of the host, all
/// identities together, and those of each identity.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// The number of commands that run at once.
    #[serde(deserialize_with = "units::at_least_one")]
    pub running: usize,
    /// The number of commands that wait in the queue.
    pub queued: usize,
    /// The maximum time that a command waits in the queue.
    #[serde(deserialize_with = "units::up_to_a_day")]
    pub queue_wait: Span,
    /// The maximum time that a command waits for a lock.
    #[serde(deserialize_with = "units::up_to_a_day")]
    pub lock_wait: Span,
    /// The number of connections.
    #[serde(deserialize_with = "units::at_least_one")]
    pub connections: usize,
    /// The number of commands that run, wait, or are being read.
    #[serde(deserialize_with = "units::at_least_one")]
    pub channels: usize,
    /// The rate of starts.
    pub starts: Rate,
    /// The number of peers that have not authenticated yet.
    #[serde(deserialize_with = "units::at_least_one")]
    pub unauthenticated: usize,
    /// The time for a handshake and the hello.
    #[serde(deserialize_with = "units::handshake")]
    pub handshake: Span,
    /// The number of folders that transfers hold open before they begin; not configurable.
    #[serde(skip, default = "most_folders")]
    pub folders: usize,
    /// The limits of one command's tree of processes.
    pub tree: TreeLimits,
    /// The limits of each identity.
    pub peer: Quota,
    /// The limits of the users with these names.
    #[serde(deserialize_with = "quota::of_users")]
    pub user: BTreeMap<String, Quota>,
    /// The limits of the members of these groups.
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
            folders: FOLDERS,
            tree: TreeLimits::default(),
            peer: Quota::default(),
            user: BTreeMap::new(),
            group: BTreeMap::new(),
        }
    }
}

impl Limits {
    /// Returns these limits with the quotas of identities, the rate of starts and the waiting times
    /// of `newer`. The host's counts stay: they were reduced to what the host can bear, and tables
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

    /// Returns these limits reduced to what `descriptors` open files allow, of which at most an eighth
    /// is used for folders of transfers that have not begun, or what one may have, and at most half of
    /// the rest for commands; and to what the audit has room for.
    pub(crate) fn cut_to(&self, descriptors: u64) -> Self {
        let usable = descriptors.saturating_sub(DESCRIPTORS_KEPT);
        let at_most = |count: u64, limit: usize| {
            usize::try_from(count).unwrap_or(usize::MAX).clamp(1, limit.max(1))
        };
        let folders = at_most(usable / 8, self.folders).max(Handed::FOLDERS);
        let usable = usable.saturating_sub(folders as u64);
        let running = self.running.min(RUNNING);
        let running = at_most(usable / 2 / DESCRIPTORS_PER_COMMAND, running);
        let rest = usable.saturating_sub(running as u64 * DESCRIPTORS_PER_COMMAND);
        // Peers that have not authenticated need descriptors too.
        let unauthenticated = at_most(rest / 3 / DESCRIPTORS_PER_CONNECTION, self.unauthenticated);
        let rest = rest.saturating_sub(unauthenticated as u64 * DESCRIPTORS_PER_CONNECTION);
        let connections = at_most(rest / DESCRIPTORS_PER_CONNECTION, self.connections);
        Self { running, connections, unauthenticated, folders, ..self.clone() }
    }

    /// Returns the limits that apply to an identity.
    pub(crate) fn quota_of(&self, identity: &Identity) -> EffectiveQuota {
        self.quota_for(identity.user(), identity.groups())
    }

    /// Returns the limits of a user in these groups. Each limit is the first that is configured:
    /// for the user, for one of its groups (the most generous counts), or for everybody under
    /// `[limits.peer]`. The default of most is three quarters of the host's limit, which leaves
    /// room for another identity.
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

/// Returns the number of folders of transfers that have not begun where descriptors are no limit.
fn most_folders() -> usize {
    FOLDERS
}

/// Returns three quarters of a number, rounded up.
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
        assert_eq!((small.running, small.connections, small.unauthenticated), (12, 62, 30));
        assert_eq!((limits.folders, small.folders), (FOLDERS, Handed::FOLDERS));
        assert_eq!(limits.cut_to(4096).folders, 506);
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
        assert!(error("[user.ci]\nrunning = 0").contains("must be at least 1"));
        assert!(error("[user.ci]\nhandshake = '1s'").contains("unknown field"));
    }
}
