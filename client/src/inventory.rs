//! Known hosts and groups.
//!
//! An [`Inventory`] has *sources*, each with hosts and groups. A name is looked up in the sources in the order in
//! which they were added, and the first source that has it decides.
//!
//! | module | holds |
//! | --- | --- |
//! | `reach` | the address of a host by its name |
//! | `hosts_toml` | the file `hosts.toml` |
//! | `ansible` | Ansible inventories, with the feature `ansible` |
//! | `name` | valid names of hosts and groups |
//! | `error` | errors in files, with their place and advice |

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

/// One source of hosts and groups, which `@SOURCE:GROUP` names.
#[derive(Clone, Debug)]
pub struct Source {
    name: String,
    file: PathBuf,
    hosts: Vec<Arc<HostEntry>>,
    places: HashMap<Arc<str>, usize>,
    groups: Vec<(String, Members)>,
    group_places: HashMap<String, usize>,
}

/// The entry of one host. Everything in it is optional.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostEntry {
    /// The name in expressions.
    pub name: Arc<str>,
    /// A name or an address to connect to; the name of the host by default.
    pub address: Option<String>,
    /// The port; by default that in the name, else 7263.
    pub port: Option<u16>,
    /// The name that the certificate must have; the name of the host by default.
    pub certificate: Option<String>,
    /// The user to run commands as.
    pub user: Option<String>,
    /// Labels by which the host can be chosen.
    pub labels: BTreeMap<String, String>,
    /// Values for templates.
    pub vars: BTreeMap<String, Value>,
}

/// A variable of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// The text in the file, without quotes.
    Text(String),
    /// A list or a table, which templates cannot contain.
    Structure,
}

/// The members of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Members {
    /// The hosts of an expression.
    Expression(String),
    /// The listed hosts, and the members of the listed groups.
    Listed {
        /// Names of hosts.
        hosts: Vec<Arc<str>>,
        /// Names of groups of the same source.
        groups: Vec<String>,
    },
}

impl Inventory {
    /// Adds a source after the others.
    pub fn add(&mut self, source: Source) {
        self.sources.push(source);
    }

    /// Adds a source before the others.
    pub fn put_first(&mut self, source: Source) {
        self.sources.insert(0, source);
    }

    /// Returns the sources in the order in which they are looked up.
    #[must_use]
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Returns the entry of a host.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<&Arc<HostEntry>> {
        self.sources.iter().find_map(|source| source.host(name))
    }

    /// Returns the sources of a name, or all sources.
    pub(crate) fn named<'a>(&'a self, name: Option<&'a str>) -> impl Iterator<Item = &'a Source> {
        self.sources.iter().filter(move |source| name.is_none_or(|name| name == source.name))
    }

    /// Returns a group and its source.
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

    /// Returns the name of the source.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the file of the source.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Returns the hosts, in the order of the file.
    #[must_use]
    pub fn hosts(&self) -> &[Arc<HostEntry>] {
        &self.hosts
    }

    /// Returns the groups, in the order of the file.
    pub fn groups(&self) -> impl Iterator<Item = (&str, &Members)> {
        self.groups.iter().map(|(name, members)| (name.as_str(), members))
    }

    /// Returns the entry of a host in this source.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<&Arc<HostEntry>> {
        self.hosts.get(*self.places.get(name)?)
    }

    /// Returns the members of a group.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&Members> {
        self.groups.get(*self.group_places.get(name)?).map(|(_, members)| members)
    }

    /// Returns the entry of a host, which is added if there is none.
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
        // Each place belongs to an entry, and entries are never removed.
        #[expect(clippy::indexing_slicing)]
        Arc::make_mut(&mut self.hosts[place])
    }

    /// Sets the members of a group, and adds listed hosts to the source.
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
