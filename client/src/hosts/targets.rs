//! Finding the addresses of the hosts of a set.

use std::{collections::BTreeMap, sync::Arc};

use super::set::HostSet;
use crate::{
    inventory::{HostEntry, Inventory, Value},
    target::{InvalidTarget, Target},
};

/// A host of a set, with its address and inventory entry.
#[derive(Clone, Debug)]
pub struct HostTarget {
    /// The name as written.
    pub name: Arc<str>,
    /// The place in the set, from 0.
    pub index: usize,
    /// The address, and the name that the certificate must have.
    pub target: Target,
    entry: Option<Arc<HostEntry>>,
}

impl HostTarget {
    /// Returns a host made of its parts. [`HostSet::targets`] returns the hosts of a set; this function is for
    /// callers that have stored the parts.
    #[must_use]
    pub fn new(
        name: Arc<str>,
        index: usize,
        target: Target,
        entry: Option<Arc<HostEntry>>,
    ) -> Self {
        Self { name, index, target, entry }
    }

    /// Returns the user to run commands as, if the inventory names one.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.entry.as_ref()?.user.as_deref()
    }

    /// Returns a label.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.entry.as_ref()?.labels.get(name).map(String::as_str)
    }

    /// Returns all labels, sorted by name.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let labels = self.entry.iter().flat_map(|entry| &entry.labels);
        labels.map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// Returns the variables.
    #[must_use]
    pub fn vars(&self) -> Option<&BTreeMap<String, Value>> {
        self.entry.as_ref().map(|entry| &entry.vars)
    }
}

impl HostSet {
    /// Returns the hosts with their addresses, in order.
    ///
    /// # Errors
    /// A name that is not in the inventory is not a valid host.
    pub fn targets(&self, inventory: &Inventory) -> Result<Vec<HostTarget>, InvalidTarget> {
        let hosts = self.iter().enumerate().map(|(index, name)| {
            let target = Target { name: Some(name.to_string()), ..inventory.target(name)? };
            let entry = inventory.entry(name).cloned();
            Ok(HostTarget { name: Arc::clone(name), index, target, entry })
        });
        hosts.collect()
    }
}
