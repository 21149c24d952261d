//! From a set to what is to be reached.

use std::{collections::BTreeMap, sync::Arc};

use super::set::HostSet;
use crate::{
    inventory::{HostEntry, Inventory, Value},
    target::{InvalidTarget, Target},
};

/// A host of a set, with all that is known of it.
#[derive(Clone, Debug)]
pub struct HostTarget {
    /// As it was written.
    pub name: Arc<str>,
    /// Its place in the set, from 0.
    pub index: usize,
    /// Where it is reached, and the name that its certificate must have.
    pub target: Target,
    entry: Option<Arc<HostEntry>>,
}

impl HostTarget {
    /// Returns a host that is reached as `target` says, with what is known of it. A host of a set comes
    /// from [`HostSet::targets`]; this is for who has kept its parts.
    #[must_use]
    pub fn new(
        name: Arc<str>,
        index: usize,
        target: Target,
        entry: Option<Arc<HostEntry>>,
    ) -> Self {
        Self { name, index, target, entry }
    }

    /// Returns the user to run commands as, if the inventory says one.
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
    /// Returns the hosts with where they are reached, in their order.
    ///
    /// # Errors
    /// A name that is not in the inventory is no address.
    pub fn targets(&self, inventory: &Inventory) -> Result<Vec<HostTarget>, InvalidTarget> {
        let hosts = self.iter().enumerate().map(|(index, name)| {
            let target = Target { name: Some(name.to_string()), ..inventory.target(name)? };
            let entry = inventory.entry(name).cloned();
            Ok(HostTarget { name: Arc::clone(name), index, target, entry })
        });
        hosts.collect()
    }
}
