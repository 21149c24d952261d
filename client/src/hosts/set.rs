//! Sets of hosts: in the order as written, each host once.

use std::{collections::HashMap, fmt, sync::Arc};

use super::fold::fold;

/// Names of hosts in the order as written, each once.
#[derive(Clone, Default)]
pub struct HostSet {
    /// A removed name leaves an empty place, so that removing costs no more than adding.
    slots: Vec<Option<Arc<str>>>,
    places: HashMap<Arc<str>, usize>,
}

impl HostSet {
    /// Returns the number of hosts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Returns whether the set has no hosts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Returns whether the set has a host of this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// Returns the names in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<str>> {
        self.slots.iter().flatten()
    }

    /// Adds a host at the end. Returns false if the set has it already.
    pub fn insert(&mut self, name: Arc<str>) -> bool {
        if self.places.contains_key(&name) {
            return false;
        }
        self.places.insert(Arc::clone(&name), self.slots.len());
        self.slots.push(Some(name));
        true
    }

    /// Removes a host. Returns false if the set does not have it.
    pub fn remove(&mut self, name: &str) -> bool {
        let place = self.places.remove(name);
        if let Some(slot) = place.and_then(|place| self.slots.get_mut(place)) {
            *slot = None;
        }
        place.is_some()
    }

    /// Keeps the hosts for which the predicate is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        let kept = std::mem::take(self).slots.into_iter().flatten();
        *self = kept.filter(|name| keep(name)).collect();
    }

    /// Keeps `count` hosts chosen at random, in their order; all hosts if there are no more.
    ///
    /// # Errors
    /// If the system returns no random numbers.
    pub fn pick(&mut self, count: usize) -> Result<(), getrandom::Error> {
        // Selection sampling (Knuth, The Art of Computer Programming, vol. 2, algorithm S).
        let (mut left, mut wanted) = (self.len() as u64, count as u64);
        let mut failed = None;
        self.retain(|_| {
            let keep = match below(left) {
                Ok(drawn) => drawn < wanted,
                Err(error) => {
                    failed = Some(error);
                    false
                }
            };
            left = left.saturating_sub(1);
            wanted = wanted.saturating_sub(u64::from(keep));
            keep
        });
        failed.map_or(Ok(()), Err)
    }

    /// Returns the set as an expression with ranges, sorted as `nodeset -f` prints it.
    ///
    /// More than a few hundred names with the same letters and several numbers are folded by a faster method,
    /// which may not find the shortest expression.
    #[must_use]
    pub fn fold(&self) -> String {
        fold(self.iter().map(|name| &**name))
    }
}

/// Returns a random number less than `end`; 0 if `end` is 0.
fn below(end: u64) -> Result<u64, getrandom::Error> {
    // 64 random bits for a number of at most 17 bits: the bias is negligible.
    Ok(getrandom::u64()?.checked_rem(end).unwrap_or_default())
}

impl Extend<Arc<str>> for HostSet {
    fn extend<T: IntoIterator<Item = Arc<str>>>(&mut self, names: T) {
        for name in names {
            self.insert(name);
        }
    }
}

impl FromIterator<Arc<str>> for HostSet {
    fn from_iter<T: IntoIterator<Item = Arc<str>>>(names: T) -> Self {
        let mut set = Self::default();
        set.extend(names);
        set
    }
}

impl PartialEq for HostSet {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for HostSet {}

impl fmt::Debug for HostSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> HostSet {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    #[test]
    fn each_host_stands_once_where_it_was_first() {
        let mut hosts = set(&["b", "a", "b", "c"]);
        assert!(hosts.remove("a") && !hosts.remove("a") && !hosts.contains("a"));
        assert!(hosts.insert("a".into()) && !hosts.insert("b".into()));
        assert_eq!(hosts, set(&["b", "c", "a"]));
        assert_eq!(hosts.len(), 3);
        hosts.retain(|name| name != "c");
        assert_eq!(format!("{hosts:?}"), r#"{"b", "a"}"#);
    }

    #[test]
    fn a_pick_keeps_the_order_and_draws_each_host_as_often() {
        let all: Vec<String> = (0..10).map(|number| format!("a{number}")).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let mut drawn = HashMap::new();
        for _ in 0..2_000 {
            let mut hosts = set(&all);
            hosts.pick(3).unwrap();
            assert_eq!(hosts.len(), 3);
            assert!(hosts.iter().is_sorted());
            for name in hosts.iter() {
                *drawn.entry(name.to_string()).or_insert(0) += 1;
            }
        }
        // 600 each on average; a standard deviation is 20.
        assert!(drawn.values().all(|times| (450..750).contains(times)), "{drawn:?}");
        assert_eq!(drawn.len(), 10);
        let mut hosts = set(&all);
        hosts.pick(11).unwrap();
        assert_eq!(hosts.len(), 10);
    }
}
