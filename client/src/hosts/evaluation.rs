//! Evaluating terms to a set, with an inventory.

use std::{collections::HashMap, rc::Rc, sync::Arc};

use super::{
    error::{Fault, HostsError, Origin},
    expression::{Expression, Meaning, Operator, Term},
    limits::{DEEPEST, MAX_HOSTS, MAX_WORK},
    pattern::Pattern,
    set::HostSet,
    wildcard,
};
use crate::inventory::{Inventory, Members, Source};

/// The maximum number of comparisons of known names with wildcards.
const MAX_COMPARISONS: usize = 10_000_000;

/// An evaluator of expressions. It counts work against [`MAX_WORK`] over all of its expressions, so that many
/// expressions cost no more than one.
#[derive(Debug)]
pub struct Evaluation<'a> {
    inventory: &'a Inventory,
    work: usize,
    comparisons: usize,
    /// The groups evaluated so far, by source and name.
    groups: HashMap<(String, String), Rc<HostSet>>,
    /// Groups under evaluation, the outermost first.
    open: Vec<(String, String)>,
    all: HashMap<Option<String>, Rc<HostSet>>,
    idle: Vec<IdleExclusion>,
}

/// A part after `!` that excluded no host; a name may be misspelt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdleExclusion {
    /// The part as written.
    pub text: String,
}

impl<'a> Evaluation<'a> {
    /// Returns an evaluator that has counted no work.
    #[must_use]
    pub fn new(inventory: &'a Inventory) -> Self {
        Self {
            inventory,
            work: 0,
            comparisons: 0,
            groups: HashMap::new(),
            open: Vec::new(),
            all: HashMap::new(),
            idle: Vec::new(),
        }
    }

    /// Returns the hosts of an expression. The set may be empty.
    ///
    /// # Errors
    /// The fault and its place, such as an unknown group, a wildcard that matches nothing, or too many hosts.
    pub fn evaluate(&mut self, expression: &Expression) -> Result<HostSet, HostsError> {
        self.terms(expression, None)
    }

    /// Takes the exclusions outside groups that excluded nothing.
    pub fn idle_exclusions(&mut self) -> Vec<IdleExclusion> {
        std::mem::take(&mut self.idle)
    }

    /// Evaluates from left to right. Groups without a source are looked up in `source` first.
    fn terms(
        &mut self,
        expression: &Expression,
        source: Option<&str>,
    ) -> Result<HostSet, HostsError> {
        let mut set = HostSet::default();
        for term in &expression.terms {
            let failed = |fault| HostsError::given(&expression.text, term.column, fault);
            let names = match &term.meaning {
                Meaning::Names(pattern) => self.names(pattern).map_err(failed)?,
                Meaning::Wild(pattern) => self.wild(term, pattern, source, &failed)?,
                Meaning::All(named) => {
                    let all = self.all(named.as_deref(), &failed)?;
                    self.members(&all).map_err(failed)?
                }
                Meaning::Groups(pattern) => {
                    let mut hosts = Vec::new();
                    for name in self.names(pattern).map_err(failed)? {
                        let group = self.group(&name, source, &failed)?;
                        hosts.extend(self.members(&group).map_err(failed)?);
                    }
                    hosts
                }
            };
            self.apply(&mut set, term, names);
            if set.len() > MAX_HOSTS {
                return Err(failed(Fault::TooMany(set.len() as u128)));
            }
        }
        Ok(set)
    }

    fn apply(&mut self, set: &mut HostSet, term: &Term, names: Vec<Arc<str>>) {
        match term.operator {
            Operator::Union => set.extend(names),
            Operator::Minus => {
                let before = set.len();
                for name in &names {
                    set.remove(name);
                }
                if set.len() == before && self.open.is_empty() {
                    self.idle.push(IdleExclusion { text: term.text.clone() });
                }
            }
            Operator::And => {
                let other: HostSet = names.into_iter().collect();
                set.retain(|name| other.contains(name));
            }
            Operator::Either => {
                // Each name once: one that is listed twice must not be removed and added again.
                let other: HostSet = names.into_iter().collect();
                for name in other.iter() {
                    if !set.remove(name) {
                        set.insert(Arc::clone(name));
                    }
                }
            }
        }
    }

    /// Counts work before it is done.
    fn charge(&mut self, work: u128) -> Result<(), Fault> {
        self.work = self.work.saturating_add(usize::try_from(work).unwrap_or(usize::MAX));
        if self.work > MAX_WORK { Err(Fault::TooMuch) } else { Ok(()) }
    }

    fn names(&mut self, pattern: &Pattern) -> Result<Vec<Arc<str>>, Fault> {
        pattern.check()?;
        self.charge(pattern.work())?;
        let names: Vec<Arc<str>> = pattern.names()?.into_iter().map(Arc::from).collect();
        self.charge(names.len() as u128)?;
        Ok(names)
    }

    fn members(&mut self, set: &HostSet) -> Result<Vec<Arc<str>>, Fault> {
        self.charge(set.len() as u128)?;
        Ok(set.iter().cloned().collect())
    }

    /// Returns the known hosts that match one of the names with wildcards.
    fn wild(
        &mut self,
        term: &Term,
        pattern: &Pattern,
        source: Option<&str>,
        failed: &dyn Fn(Fault) -> HostsError,
    ) -> Result<Vec<Arc<str>>, HostsError> {
        let masks = self.names(pattern).map_err(failed)?;
        let known = match source {
            // Not the groups of the source: one with a wildcard would be searched for its own members.
            Some(source) => Rc::new(self.listed(source)),
            None => self.all(None, failed)?,
        };
        self.comparisons = self.comparisons.saturating_add(masks.len().saturating_mul(known.len()));
        if self.comparisons > MAX_COMPARISONS {
            return Err(failed(Fault::TooMuch));
        }
        let fits = |name: &str| masks.iter().any(|mask| wildcard::fits(mask, name));
        let found: Vec<_> = known.iter().filter(|name| fits(name)).cloned().collect();
        if found.is_empty() {
            let fault = Fault::Unmatched { pattern: term.text.clone(), known: known.len() };
            return Err(failed(fault));
        }
        self.charge(found.len() as u128).map_err(failed)?;
        Ok(found)
    }

    /// Returns the hosts that the sources of a name list one by one.
    fn listed(&self, source: &str) -> HostSet {
        let hosts = self.inventory.named(Some(source)).flat_map(Source::hosts);
        hosts.map(|host| Arc::clone(&host.name)).collect()
    }

    /// Returns all known hosts: those that sources list, then the members of their groups.
    fn all(
        &mut self,
        source: Option<&str>,
        failed: &dyn Fn(Fault) -> HostsError,
    ) -> Result<Rc<HostSet>, HostsError> {
        self.check_source(source).map_err(failed)?;
        if let Some(known) = self.all.get(&source.map(str::to_owned)) {
            return Ok(Rc::clone(known));
        }
        let mut set = HostSet::default();
        let inventory = self.inventory;
        for from in inventory.named(source) {
            self.charge(from.hosts().len() as u128).map_err(failed)?;
            set.extend(from.hosts().iter().map(|host| Arc::clone(&host.name)));
        }
        for from in inventory.named(source) {
            // Listed members are hosts of the source already.
            let of_expression = |members: &Members| matches!(members, Members::Expression(_));
            for (name, members) in from.groups().filter(|(_, members)| of_expression(members)) {
                let group = self.of_source(from, name, members, failed)?;
                set.extend(self.members(&group).map_err(failed)?);
                if set.len() > MAX_HOSTS {
                    return Err(failed(Fault::TooMany(set.len() as u128)));
                }
            }
        }
        let set = Rc::new(set);
        self.all.insert(source.map(str::to_owned), Rc::clone(&set));
        Ok(set)
    }

    fn check_source(&self, source: Option<&str>) -> Result<(), Fault> {
        let Some(name) = source.filter(|name| self.inventory.named(Some(name)).next().is_none())
        else {
            return Ok(());
        };
        let mut known: Vec<_> =
            self.inventory.sources().iter().map(|source| source.name().to_owned()).collect();
        known.dedup();
        Err(Fault::UnknownSource { name: name.to_owned(), known })
    }

    /// Returns the hosts of `GROUP` or `SOURCE:GROUP`. A group without a source is looked up in `here` first.
    fn group(
        &mut self,
        written: &str,
        here: Option<&str>,
        failed: &dyn Fn(Fault) -> HostsError,
    ) -> Result<Rc<HostSet>, HostsError> {
        let (source, name) = match written.split_once(':') {
            Some((source, name)) => (Some(source), name),
            None => (here, written),
        };
        self.check_source(source).map_err(failed)?;
        match self.inventory.group(source, name) {
            Some((from, members)) => self.of_source(from, name, members, failed),
            None => {
                let near = near(self.inventory, source, name);
                Err(failed(Fault::UnknownGroup { name: written.to_owned(), near }))
            }
        }
    }

    fn of_source(
        &mut self,
        from: &Source,
        name: &str,
        members: &Members,
        failed: &dyn Fn(Fault) -> HostsError,
    ) -> Result<Rc<HostSet>, HostsError> {
        // Two files may share the name of a source; the first that has the group decides.
        let key = (from.name().to_owned(), name.to_owned());
        if let Some(known) = self.groups.get(&key) {
            return Ok(Rc::clone(known));
        }
        if let Some(at) = self.open.iter().position(|open| *open == key) {
            let circle = self.open.iter().skip(at).chain([&key]);
            return Err(failed(Fault::Circle(circle.map(|(_, name)| name.clone()).collect())));
        }
        if self.open.len() >= DEEPEST {
            return Err(failed(Fault::TooDeep));
        }
        self.charge(1).map_err(failed)?;
        self.open.push(key.clone());
        let set = self.open_group(from, name, members);
        self.open.pop();
        let set = Rc::new(set?);
        self.groups.insert(key, Rc::clone(&set));
        Ok(set)
    }

    /// Evaluates the members of a group. Errors name the group and its file.
    fn open_group(
        &mut self,
        from: &Source,
        name: &str,
        members: &Members,
    ) -> Result<HostSet, HostsError> {
        let origin = || Origin::Group { name: name.to_owned(), file: from.file().to_owned() };
        let here = |error: HostsError| match error.origin {
            Origin::Given { .. } => error.at(origin()),
            // The error is in an inner group.
            _ => error,
        };
        match members {
            Members::Expression(text) => {
                let expression = Expression::parse(text).map_err(here)?;
                self.terms(&expression, Some(from.name())).map_err(here)
            }
            Members::Listed { hosts, groups } => {
                let failed =
                    |fault| HostsError { origin: origin(), column: 0, fault: Box::new(fault) };
                self.charge(hosts.len() as u128).map_err(failed)?;
                let mut set: HostSet = hosts.iter().cloned().collect();
                for group in groups {
                    // In a list, the `:` of a name does not end a source.
                    let Some(members) = from.group(group) else {
                        let fault = Fault::UnknownGroup { name: group.clone(), near: None };
                        return Err(failed(fault));
                    };
                    let inner = self.of_source(from, group, members, &failed)?;
                    set.extend(self.members(&inner).map_err(failed)?);
                    if set.len() > MAX_HOSTS {
                        return Err(failed(Fault::TooMany(set.len() as u128)));
                    }
                }
                Ok(set)
            }
        }
    }
}

/// Returns an existing group with a similar name: other capitals, one character more or less, or `-` for `_`.
fn near(inventory: &Inventory, source: Option<&str>, name: &str) -> Option<String> {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let wanted = plain(name);
    let groups = || inventory.named(source).flat_map(Source::groups).map(|(known, _)| known);
    let alike = groups().find(|known| plain(known) == wanted);
    let longer = |long: &str, short: &str| {
        long.len() == short.len() + 1 && long.starts_with(short) && short.len() > 1
    };
    alike
        .or_else(|| groups().find(|known| longer(known, name) || longer(name, known)))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests;
