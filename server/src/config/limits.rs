//! Every limit of the server: constants with a reason, cut to what the machine bears.

use std::{collections::BTreeMap, time::Duration};

use rcmd_protocol::limits::CREDIT;
use serde::Deserialize;

use super::quota::{self, Quota};
use crate::{
    process::TreeLimits,
    units::{self, Rate, Span},
};

/// Descriptors that a connection takes.
const DESCRIPTORS_PER_CONNECTION: u64 = 1;
/// Descriptors that a running command takes: three pipes, the pidfd that it is supervised by, that of
/// `tokio::process`, two to spare.
const DESCRIPTORS_PER_COMMAND: u64 = 7;
/// Descriptors kept back for listeners, logs, certificates and `/proc`.
const DESCRIPTORS_KEPT: u64 = 32;

/// Bytes of output and input that the server holds for all clients together. The nearer it is, the less
/// one stream may hold, so that a thousand clients that read nothing cost a bounded amount.
pub const HELD: usize = 256 * 1024 * 1024;
/// What a stream may hold although the total is used up, so that nobody starves: with less, a receiver
/// that confirms each quarter of its credit would never confirm anything.
pub const HELD_ALWAYS: u64 = CREDIT / 4;
/// Bytes of a request that is taken although the total is used up.
pub const REQUEST_ALWAYS: usize = 64 * 1024;
/// Bytes that a compressed connection costs: zstd says 953 KiB for what compresses and 605 KiB for
/// what expands.
pub const COMPRESSION: u64 = 1600 * 1024;
/// Ends that are kept for an identity whose client has not come back for them.
pub const RETAINED: usize = 1024;
/// Time between SIGTERM and SIGKILL for a timeout or a stopped reader.
pub const TERM_TO_KILL: Duration = Duration::from_secs(5);
/// Time for a command to end by itself after its stdout was stopped.
pub const STOP_TO_TERM: Duration = Duration::from_secs(2);
/// Time that a pipe may stay open after the process has ended.
pub const OUTPUT_OPEN: Duration = Duration::from_secs(2);
/// Time for commands to end after SIGTERM came to the server, and between its TERM and KILL.
pub const DRAIN: Duration = Duration::from_secs(10);
/// See [`DRAIN`].
pub const DRAIN_TERM_TO_KILL: Duration = Duration::from_secs(2);
/// Time for a connection to take its last frames when the server ends it.
pub const CLOSE: Duration = Duration::from_secs(2);
/// Time to read away what a refused peer sends, so that the reason reaches it before a reset does.
pub const LINGER: Duration = Duration::from_secs(1);

/// Limits that the configuration may change, under `[limits]`: of the host, all identities together.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Commands that run at once.
    #[serde(deserialize_with = "units::at_least_one")]
    pub running: usize,
    /// Commands that wait for their turn.
    pub queued: usize,
    /// How long a command waits for its turn.
    #[serde(deserialize_with = "units::up_to_a_day")]
    pub queue_wait: Span,
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
    /// What one command may use, with all that comes of it.
    pub tree: TreeLimits,
    /// What one identity may have of them.
    pub peer: Quota,
    /// The same for the users of these names.
    #[serde(deserialize_with = "quota::of_users")]
    pub user: BTreeMap<String, Quota>,
    /// The same for the members of these groups.
    #[serde(deserialize_with = "quota::of_groups")]
    pub group: BTreeMap<String, Quota>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            running: 1024,
            queued: 4096,
            queue_wait: Span(Duration::from_secs(60)),
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
    /// The same, with what identities may have, the rate of starts and the wait for a turn as in
    /// `newer`. Counts of the host stay: they were cut to it, and tables were made for them.
    pub fn with_shares_of(&self, newer: &Self) -> Self {
        Self {
            queue_wait: newer.queue_wait,
            starts: newer.starts,
            peer: newer.peer.clone(),
            user: newer.user.clone(),
            group: newer.group.clone(),
            ..self.clone()
        }
    }

    /// The same, cut to what `descriptors` open files bear: at most half of them go to commands.
    pub fn cut_to(&self, descriptors: u64) -> Self {
        let usable = descriptors.saturating_sub(DESCRIPTORS_KEPT);
        let at_most = |count: u64, limit: usize| {
            usize::try_from(count).unwrap_or(usize::MAX).clamp(1, limit.max(1))
        };
        let running = at_most(usable / 2 / DESCRIPTORS_PER_COMMAND, self.running);
        let rest = usable.saturating_sub(running as u64 * DESCRIPTORS_PER_COMMAND);
        // Who has not authenticated takes a descriptor as well, beside those who have.
        let unauthenticated = at_most(rest / 3 / DESCRIPTORS_PER_CONNECTION, self.unauthenticated);
        let rest = rest.saturating_sub(unauthenticated as u64 * DESCRIPTORS_PER_CONNECTION);
        let connections = at_most(rest / DESCRIPTORS_PER_CONNECTION, self.connections);
        Self { running, connections, unauthenticated, ..self.clone() }
    }
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
}
