//! What one identity may have of the host.

use std::{collections::BTreeMap, fmt};

use rcmd_certs::{
    Identity,
    names::{self, NameError},
};
use serde::{Deserialize, Deserializer, de::Error};

use super::limits::Limits;
use crate::units::{self, Rate, Span};

/// Limits of an identity as they are written: each may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    #[serde(deserialize_with = "some_count")]
    running: Option<usize>,
    queued: Option<usize>,
    #[serde(deserialize_with = "some_wait")]
    queue_wait: Option<Span>,
    #[serde(deserialize_with = "some_count")]
    connections: Option<usize>,
    #[serde(deserialize_with = "some_count")]
    channels: Option<usize>,
    starts: Option<Rate>,
}

/// Limits of one identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EffectiveQuota {
    /// Commands that run at once.
    pub running: usize,
    /// Commands that wait for their turn.
    pub queued: usize,
    /// How long a command waits for its turn.
    pub queue_wait: Span,
    /// Connections.
    pub connections: usize,
    /// Commands that run, wait, or are being read.
    pub channels: usize,
    /// Starts in a span of time.
    pub starts: Rate,
}

impl fmt::Display for EffectiveQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { running, queued, connections, channels, starts, .. } = self;
        write!(f, "{running} commands at once, {queued} queued, {channels} in all; ")?;
        write!(f, "{connections} connections; starts {starts}")
    }
}

/// Commands of one identity, unless the configuration says otherwise.
const CHANNELS: usize = 1024;

impl Limits {
    /// What an identity may have: what is written for the user goes before what is written for its
    /// groups, of which the most generous counts, that before `[limits.peer]`, and that before three
    /// quarters of the host's, so that whoever takes all that it may leaves room for another.
    pub fn quota_of(&self, who: &Identity) -> EffectiveQuota {
        self.quota_for(who.user(), who.groups())
    }

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
            connections: count(|of| of.connections, self.connections, most_of(self.connections)),
            channels: count(|of| of.channels, self.channels, CHANNELS),
            starts: self.pick(own, &groups, |of| of.starts).unwrap_or(Rate::UNLIMITED),
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

/// Three quarters; of less than 4, all.
fn most_of(host: usize) -> usize {
    host - host / 4
}

fn some_count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    units::at_least_one(deserializer).map(Some)
}

fn some_wait<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Span>, D::Error> {
    units::up_to_a_day(deserializer).map(Some)
}

type Quotas = BTreeMap<String, Quota>;

pub(super) fn of_users<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Quotas, D::Error> {
    named(deserializer, names::check_user)
}

pub(super) fn of_groups<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Quotas, D::Error> {
    named(deserializer, names::check_group)
}

// A name that no certificate can carry would be a limit that never holds.
fn named<'de, D: Deserializer<'de>>(
    deserializer: D,
    check: fn(&str) -> Result<(), NameError>,
) -> Result<Quotas, D::Error> {
    let quotas = Quotas::deserialize(deserializer)?;
    quotas.keys().try_for_each(|name| check(name)).map_err(D::Error::custom)?;
    Ok(quotas)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(text: &str) -> Limits {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn one_identity_leaves_a_quarter_of_the_host_to_others() {
        let of = Limits::default().quota_for("alice", &[]);
        assert_eq!((of.running, of.queued, of.connections, of.channels), (768, 3072, 12_288, 1024));
        assert_eq!(of.starts, Rate::UNLIMITED);
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
