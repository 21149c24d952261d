//! A folder at the destination while entries for it come.

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    hash::{BuildHasher as _, RandomState},
    rc::Rc,
};

use super::owner::WantedOwner;
use crate::{beneath::Folder, facts::Time, failure::FailureKind};

/// What a place is.
#[derive(Debug)]
pub(super) enum State {
    /// A folder that is there.
    There(Rc<Folder>),
    /// A folder that a dry run does not make.
    Missing,
    /// A folder that failed: what is for it fails too.
    Dead(FailureKind),
}

/// A folder at the destination. It is finished when it has been left and nothing in it is under way.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) above: Option<Rc<Place>>,
    /// Its name; that of the destination is empty.
    pub(super) name: Vec<u8>,
    pub(super) state: State,
    /// The paths that rules are matched with begin below it.
    pub(super) is_top: bool,
    /// This transfer, or an interrupted one, has made it.
    pub(super) is_made: bool,
    /// It keeps its permission bits and times.
    pub(super) keeps: bool,
    /// What was announced of it.
    pub(super) mode: u32,
    pub(super) time: Time,
    /// The permission bits that it had when it was met.
    pub(super) found_mode: u32,
    pub(super) is_own: bool,
    /// Who it is to belong to when it is finished.
    pub(super) owner: WantedOwner,
    /// The permission bits that it is to get again, since more were needed.
    pub(super) restore: Cell<Option<u32>>,
    /// What is under way in it, and itself until it has been left.
    pub(super) busy: Cell<u32>,
    /// The names that the source has in it, if what it lacks is to be deleted.
    pub(super) names: RefCell<Option<NameSet>>,
}

impl Place {
    /// Returns a place that is not there.
    pub(super) fn absent(above: &Rc<Self>, name: &[u8], is_top: bool, state: State) -> Self {
        Self {
            above: Some(Rc::clone(above)),
            name: name.to_vec(),
            state,
            is_top,
            is_made: false,
            keeps: true,
            mode: 0,
            time: Time::default(),
            found_mode: 0,
            is_own: false,
            owner: (None, None),
            restore: Cell::new(None),
            busy: Cell::new(1),
            names: RefCell::new(None),
        }
    }

    /// Counts something that is under way in it.
    pub(super) fn hold(&self) {
        self.busy.set(self.busy.get().saturating_add(1));
    }

    /// Returns the path of a name in it, as events have it.
    pub(super) fn path(&self, last: &[u8]) -> Vec<u8> {
        self.path_from(last, |_| false)
    }

    /// Returns the path of a name in it, as rules are matched with.
    pub(super) fn path_for_rules(&self, last: &[u8]) -> Vec<u8> {
        self.path_from(last, |place| place.is_top)
    }

    fn path_from(&self, last: &[u8], ends: impl Fn(&Self) -> bool) -> Vec<u8> {
        let mut names = vec![last];
        let mut place = Some(self);
        while let Some(one) = place
            && !ends(one)
        {
            names.push(&one.name);
            place = one.above.as_deref();
        }
        names.reverse();
        names.retain(|name| !name.is_empty());
        names.join(&b'/')
    }
}

/// Names, of which a hash is kept. Two names of one hash count as one: then something is spared that might be
/// deleted, and never the other way round.
#[derive(Debug, Default)]
pub(super) struct NameSet {
    hasher: RandomState,
    hashes: HashSet<u64>,
    /// What names are where their case does not count, if that is not the name itself.
    folded: HashSet<u64>,
    /// A name has letters that are not of ASCII.
    has_others: bool,
}

impl NameSet {
    pub(super) fn insert(&mut self, name: &[u8]) {
        self.hashes.insert(self.hasher.hash_one(name));
        let folded = folded(name);
        if folded != name {
            self.folded.insert(self.hasher.hash_one(&*folded));
        }
        self.has_others |= !name.is_ascii();
    }

    /// Returns whether a name may stand for one of these in a folder that folds names. What other letters than those
    /// of ASCII become is a matter of the file system.
    pub(super) fn may_have(&self, name: &[u8]) -> bool {
        let hash = self.hasher.hash_one(&*folded(name));
        let is_alike = self.hashes.contains(&hash) || self.folded.contains(&hash);
        is_alike || self.has_others && !name.is_ascii()
    }

    pub(super) fn contains(&self, name: &[u8]) -> bool {
        self.hashes.contains(&self.hasher.hash_one(name))
    }

    pub(super) fn len(&self) -> usize {
        self.hashes.len() + self.folded.len()
    }
}

/// Returns what a name is where neither case nor points and blanks at its end count.
fn folded(name: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(name).to_uppercase().to_lowercase();
    text.trim_end_matches(['.', ' ']).as_bytes().to_vec()
}
