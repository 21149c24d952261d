//! The common form of the three kinds of inventory, and its conversion to a source.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
    sync::Arc,
};

use super::{
    super::{
        HostEntry, Members, Source, Value,
        error::InventoryFault,
        hosts_toml::{as_address, as_socket},
        name::{wrong_group, wrong_host},
    },
    INVENTORY_SOURCE,
};
use crate::inventory::name::MAX_HOSTS;

/// The maximum number of variables of all hosts together, including those of their groups.
const MAX_VARS: usize = 2_000_000;

/// A line, from 1, or 0 for none, and its fault.
pub(super) type Failed = (usize, InventoryFault);

/// Variables, each with its line.
pub(super) type Vars = BTreeMap<String, (Value, usize)>;

/// Hosts and groups as written.
#[derive(Default)]
pub(super) struct Raw {
    hosts: Vec<RawHost>,
    host_places: HashMap<String, usize>,
    groups: Vec<RawGroup>,
    group_places: HashMap<String, usize>,
}

struct RawHost {
    name: String,
    vars: Vars,
    groups: Vec<usize>,
}

#[derive(Default)]
struct RawGroup {
    name: String,
    hosts: Vec<usize>,
    members: HashSet<usize>,
    children: Vec<usize>,
    vars: Vars,
}

impl Raw {
    /// Returns the index of a host, which is added if it is new.
    pub(super) fn host(&mut self, name: &str, line: usize) -> Result<usize, Failed> {
        if let Some(place) = self.host_places.get(name) {
            return Ok(*place);
        }
        if let Some(why) = wrong_host(name) {
            return Err((line, InventoryFault::Name { kind: "host", name: name.to_owned(), why }));
        }
        if self.hosts.len() >= MAX_HOSTS {
            return Err((line, InventoryFault::TooMany));
        }
        self.host_places.insert(name.to_owned(), self.hosts.len());
        self.hosts.push(RawHost { name: name.to_owned(), vars: Vars::new(), groups: Vec::new() });
        Ok(self.hosts.len() - 1)
    }

    /// Returns the index of a group, which is added if it is new.
    pub(super) fn group(&mut self, name: &str, line: usize) -> Result<usize, Failed> {
        if let Some(place) = self.group_places.get(name) {
            return Ok(*place);
        }
        if let Some(why) = wrong_group(name) {
            return Err((line, InventoryFault::Name { kind: "group", name: name.to_owned(), why }));
        }
        self.group_places.insert(name.to_owned(), self.groups.len());
        self.groups.push(RawGroup { name: name.to_owned(), ..RawGroup::default() });
        Ok(self.groups.len() - 1)
    }

    /// Adds a host to a group.
    pub(super) fn join(&mut self, group: usize, host: usize) {
        let Some(members) = self.groups.get_mut(group) else { return };
        if members.members.insert(host) {
            members.hosts.push(host);
            if let Some(host) = self.hosts.get_mut(host) {
                host.groups.push(group);
            }
        }
    }

    /// Makes the group `child` a child of `group`; both are indices. Does nothing if there is no such `group`.
    pub(super) fn adopt(&mut self, group: usize, child: usize) {
        let Some(group) = self.groups.get_mut(group) else { return };
        if !group.children.contains(&child) {
            group.children.push(child);
        }
    }

    pub(super) fn host_vars(&mut self, host: usize, vars: Vars) {
        self.hosts.get_mut(host).into_iter().for_each(|host| host.vars.extend(vars.clone()));
    }

    pub(super) fn group_vars(&mut self, group: usize, vars: Vars) {
        self.groups.get_mut(group).into_iter().for_each(|group| group.vars.extend(vars.clone()));
    }

    /// Returns the source. Hosts get the variables of their groups: inner groups override outer ones, and a host's
    /// own variables override all.
    pub(super) fn assemble(self, file: &Path) -> Result<Source, Failed> {
        let depths = self.depths()?;
        let parents = self.parents();
        let mut source = Source::new(INVENTORY_SOURCE, file);
        // Cached, because many hosts are in the same groups.
        let mut inherited: HashMap<&[usize], Arc<Vars>> = HashMap::new();
        let mut count = 0;
        for host in &self.hosts {
            let vars = inherited
                .entry(&host.groups)
                .or_insert_with(|| Arc::new(self.inherited(&host.groups, &parents, &depths)));
            count += vars.len() + host.vars.len();
            if count > MAX_VARS {
                return Err((0, InventoryFault::TooMany));
            }
            let mut vars = Vars::clone(vars);
            vars.extend(host.vars.clone());
            fill(source.host_mut(&host.name), vars)?;
        }
        for group in &self.groups {
            let hosts = group.hosts.iter().filter_map(|host| self.hosts.get(*host));
            let hosts = hosts.map(|host| host.name.as_str().into()).collect();
            let children = group.children.iter().filter_map(|child| self.groups.get(*child));
            let groups = children.map(|child| child.name.clone()).collect();
            source.set_group(&group.name, Members::Listed { hosts, groups });
        }
        let all = self.group_places.get("all");
        let listed = |hosts: Vec<&RawHost>| Members::Listed {
            hosts: hosts.iter().map(|host| host.name.as_str().into()).collect(),
            groups: Vec::new(),
        };
        source.set_group("all", listed(self.hosts.iter().collect()));
        let ungrouped = self.group_places.get("ungrouped");
        let alone = |host: &&RawHost| {
            host.groups.iter().all(|group| Some(group) == all || Some(group) == ungrouped)
        };
        source.set_group("ungrouped", listed(self.hosts.iter().filter(alone).collect()));
        Ok(source)
    }

    fn parents(&self) -> Vec<Vec<usize>> {
        let mut parents = vec![Vec::new(); self.groups.len()];
        for (place, group) in self.groups.iter().enumerate() {
            for child in &group.children {
                parents
                    .get_mut(*child)
                    .into_iter()
                    .for_each(|above: &mut Vec<_>| above.push(place));
            }
        }
        parents
    }

    /// Returns the depth of each group below the outermost one.
    fn depths(&self) -> Result<Vec<usize>, Failed> {
        let parents = self.parents();
        let mut waits: Vec<usize> = parents.iter().map(Vec::len).collect();
        let mut depths = vec![1; self.groups.len()];
        let mut ready: Vec<usize> =
            (0..self.groups.len()).filter(|at| waits.get(*at) == Some(&0)).collect();
        let mut done = 0;
        while let Some(place) = ready.pop() {
            done += 1;
            let depth = depths.get(place).copied().unwrap_or_default();
            for child in self.groups.get(place).into_iter().flat_map(|group| &group.children) {
                if let Some(below) = depths.get_mut(*child) {
                    *below = (*below).max(depth + 1);
                }
                if let Some(left) = waits.get_mut(*child) {
                    *left -= 1;
                    if *left == 0 {
                        ready.push(*child);
                    }
                }
            }
        }
        if done < self.groups.len() {
            let stuck = waits.iter().position(|left| *left > 0).and_then(|at| self.groups.get(at));
            let name = stuck.map(|group| group.name.clone()).unwrap_or_default();
            return Err((0, InventoryFault::Circle(name)));
        }
        if let Some(all) = self.group_places.get("all").and_then(|at| depths.get_mut(*at)) {
            *all = 0;
        }
        Ok(depths)
    }

    /// Returns the variables that hosts get from these groups and from all groups above them.
    fn inherited(&self, direct: &[usize], parents: &[Vec<usize>], depths: &[usize]) -> Vars {
        let mut found: HashSet<usize> = self.group_places.get("all").copied().into_iter().collect();
        let mut next = direct.to_vec();
        while let Some(place) = next.pop() {
            if found.insert(place) {
                next.extend(parents.get(place).into_iter().flatten());
            }
        }
        let group = |place: &usize| self.groups.get(*place);
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort_by_key(|place| (depths.get(*place), group(place).map(|group| &group.name)));
        let mut vars = Vars::new();
        for group in found.iter().filter_map(group) {
            vars.extend(group.vars.clone());
        }
        vars
    }
}

/// Writes variables into an entry; those that are settings set its fields.
fn fill(entry: &mut HostEntry, vars: Vars) -> Result<(), Failed> {
    for (key, (value, line)) in vars {
        let failed = |wanted| (line, InventoryFault::Kind { key: key.clone(), wanted });
        let text = match &value {
            Value::Text(text) => Some(text.as_str()).filter(|text| !text.is_empty()),
            Value::Structure => None,
        };
        match key.as_str() {
            "ansible_host" => {
                let wanted = "a name or an address without a port or a template, or unix:PATH";
                let address = text.filter(|text| !text.contains("{{"));
                let address = address.and_then(|text| as_socket(text).or_else(|| as_address(text)));
                entry.address = Some(address.ok_or_else(|| failed(wanted))?);
            }
            "rcmd_port" => {
                let port = text.and_then(|text| text.parse().ok()).filter(|port| *port > 0);
                entry.port = Some(port.ok_or_else(|| failed("a number from 1 to 65535"))?);
            }
            "rcmd_user" => {
                let user = text.ok_or_else(|| failed("the name of a user"))?;
                entry.user = Some(user.to_owned());
            }
            "rcmd_certificate" => {
                let wanted = "a name or an address, as certificates have them";
                let name =
                    text.filter(|text| rustls::pki_types::ServerName::try_from(*text).is_ok());
                entry.certificate = Some(name.ok_or_else(|| failed(wanted))?.to_owned());
            }
            "rcmd_via" => return Err((line, InventoryFault::Later("rcmd_via"))),
            _ => {}
        }
        entry.vars.insert(key, value);
    }
    Ok(())
}
