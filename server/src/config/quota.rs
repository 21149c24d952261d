//! The limits of one identity, as they are configured and as they apply.

use std::{collections::BTreeMap, fmt};

use rcmd_certs::names::{self, NameError};
use serde::{Deserialize, Deserializer, de::Error};

use crate::units::{self, Rate, Span};

/// The configured limits of one identity, each of which may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Quota {
    #[serde(deserialize_with = "some_count")]
    pub(super) running: Option<usize>,
    pub(super) queued: Option<usize>,
    #[serde(deserialize_with = "some_wait")]
    pub(super) queue_wait: Option<Span>,
    #[serde(deserialize_with = "some_wait")]
    pub(super) lock_wait: Option<Span>,
    #[serde(deserialize_with = "some_count")]
    pub(super) connections: Option<usize>,
    #[serde(deserialize_with = "some_count")]
    pub(super) channels: Option<usize>,
    pub(super) starts: Option<Rate>,
    #[serde(deserialize_with = "some_count")]
    pub(super) keys: Option<usize>,
}

/// The limits that apply to one identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EffectiveQuota {
    /// The number of commands that run at once.
    pub running: usize,
    /// The number of commands that wait for their turn.
    pub queued: usize,
    /// The maximum time that a command waits until it may run.
    pub queue_wait: Span,
    /// The maximum time that a command waits for a lock.
    pub lock_wait: Span,
    /// The number of connections.
    pub connections: usize,
    /// The number of commands that run, wait, or are being read.
    pub channels: usize,
    /// The rate of starts.
    pub starts: Rate,
    /// The number of keys that callers chose and that are recorded.
    pub keys: usize,
}

impl fmt::Display for EffectiveQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { running, queued, connections, channels, starts, .. } = self;
        write!(f, "{running} commands at once, {queued} queued, {channels} in all; ")?;
        write!(f, "{connections} connections; starts {starts}")
    }
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

// A limit for a name that no certificate can contain would never apply.
fn named<'de, D: Deserializer<'de>>(
    deserializer: D,
    check: fn(&str) -> Result<(), NameError>,
) -> Result<Quotas, D::Error> {
    let quotas = Quotas::deserialize(deserializer)?;
    quotas.keys().try_for_each(|name| check(name)).map_err(D::Error::custom)?;
    Ok(quotas)
}
