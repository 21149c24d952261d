//! What is known of hosts and groups.
//!
//! An [`Inventory`] has *sources*, each with hosts and groups. A name is looked up in one after the
//! other, in the order in which they were added, and the first that has it counts.
//!
//! | module | holds |
//! | --- | --- |
//! | `reach` | where a host of a name is reached |
//! | `hosts_toml` | the file `hosts.toml` |
//! | `ansible` | inventories of Ansible, with the feature `ansible` |
//! | `name` | what hosts and groups may be called |
//! | `error` | what is wrong with a file, where, and what to write instead |

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
};

#[cfg(feature = "ansible")]
mod ansible;
mod error;
mod hosts_toml;
pub(crate) mod name;
mod reach;

#[cfg(feature = "ansible")]
pub use ansible::{Form, INVENTORY_SOURCE, parse_ansible};
pub use error::{InventoryError, InventoryFault};
pub use hosts_toml::{HOSTS_SOURCE, HOSTS_TOML, parse as parse_hosts_toml};

/// Hosts and groups by name, from several sources.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    sources: Vec<Source>,
}

/// One source of hosts and groups: all that goes by one name before the `:` of `@SOURCE:GROUP`.
#[derive(Clone, Debug)]
pub struct Source {
    name: String,
    file: PathBuf,
    hosts: Vec<Arc<HostEntry>>,
    places: HashMap<Arc<str>, usize>,
    groups: Vec<(String, Members)>,
    group_places: HashMap<String, usize>,
}

/// What is known of one host. What is not said has a default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostEntry {
    /// Its name, as expressions have it.
    pub name: Arc<str>,
    /// A name or an address to reach it by; its name without this.
    pub address: Option<String>,
    /// The port; 7263 without this, unless the name has one.
    pub port: Option<u16>,
    /// The name that its certificate must have; its name without this.
    pub certificate: Option<String>,
    /// The user to run commands as.
    pub user: Option<String>,
    /// By what it can be chosen.
    pub labels: BTreeMap<String, String>,
    /// Values for templates.
    pub vars: BTreeMap<String, Value>,
}

/// A host's variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// The text as the file has it, without quotes.
    Text(String),
    /// A list or a table, which no template can hold.
    Structure,
}

/// Which hosts a group has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Members {
    /// Those that this expression means.
    Expression(String),
    /// Those of these names, and those of these groups.
    Listed {
        /// Names of hosts.
        hosts: Vec<Arc<str>>,
        /// Names of groups of the same source.
        groups: Vec<String>,
    },
}

impl Inventory {
    /// Adds a source behind the others.
    pub fn add(&mut self, source: Source) {
        self.sources.push(source);
    }

    /// Adds a source in front of the others.
    pub fn put_first(&mut self, source: Source) {
        self.sources.insert(0, source);
    }

    /// Returns the sources, the one that counts first in front.
    #[must_use]
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Returns what is known of a host.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<&Arc<HostEntry>> {
        self.sources.iter().find_map(|source| source.host(name))
    }

    /// Returns the sources of this name, or all.
    pub(crate) fn named<'a>(&'a self, name: Option<&'a str>) -> impl Iterator<Item = &'a Source> {
        self.sources.iter().filter(move |source| name.is_none_or(|name| name == source.name))
    }

    /// Returns a group and the source that has it.
    pub(crate) fn group<'a>(
        &'a self,
        source: Option<&'a str>,
        name: &str,
    ) -> Option<(&'a Source, &'a Members)> {
        self.named(source).find_map(|source| Some((source, source.group(name)?)))
    }
}

impl Source {
    /// Returns a source without hosts and groups.
    #[must_use]
    pub fn new(name: &str, file: &Path) -> Self {
        Self {
            name: name.to_owned(),
            file: file.to_owned(),
            hosts: Vec::new(),
            places: HashMap::new(),
            groups: Vec::new(),
            group_places: HashMap::new(),
        }
    }

    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the file that it was read from.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Returns its hosts, in the order of the file.
    #[must_use]
    pub fn hosts(&self) -> &[Arc<HostEntry>] {
        &self.hosts
    }

    /// Returns its groups, in the order of the file.
    pub fn groups(&self) -> impl Iterator<Item = (&str, &Members)> {
        self.groups.iter().map(|(name, members)| (name.as_str(), members))
    }

    /// Returns what it knows of a host.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<&Arc<HostEntry>> {
        self.hosts.get(*self.places.get(name)?)
    }

    /// Returns which hosts a group has.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&Members> {
        self.groups.get(*self.group_places.get(name)?).map(|(_, members)| members)
    }

    /// Returns the entry of a host, a new one if there was none.
    pub fn host_mut(&mut self, name: &str) -> &mut HostEntry {
        let place = match self.places.get(name) {
            Some(place) => *place,
            None => {
                let name: Arc<str> = name.into();
                self.places.insert(Arc::clone(&name), self.hosts.len());
                self.hosts.push(Arc::new(HostEntry { name, ..HostEntry::default() }));
                self.hosts.len() - 1
            }
        };
        // A place is that of an entry, and none is ever removed.
        #[expect(clippy::indexing_slicing)]
        Arc::make_mut(&mut self.hosts[place])
    }

    /// Sets the hosts of a group, in place of those that it had. Those that are listed are hosts of the
    /// source.
    pub fn set_group(&mut self, name: &str, members: Members) {
        if let Members::Listed { hosts, .. } = &members {
            for host in hosts {
                self.host_mut(host);
            }
        }
        let place = self.group_places.get(name).and_then(|place| self.groups.get_mut(*place));
        if let Some((_, known)) = place {
            *known = members;
        } else {
            self.group_places.insert(name.to_owned(), self.groups.len());
            self.groups.push((name.to_owned(), members));
        }
    }
}
