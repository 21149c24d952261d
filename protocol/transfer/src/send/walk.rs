//! The walk over the sources: what is there, folder by folder, each in the order of its names.

use std::{
    collections::HashMap,
    os::fd::{AsFd as _, OwnedFd},
    rc::Rc,
    sync::Arc,
    vec,
};

use crate::{
    beneath::{Folder, Folders, opened_anew},
    facts::{FileFacts, FileId, Sort},
    failure::{Failure, FailureKind},
    limits, list, name,
    options::TransferOptions,
    report::Tally,
    source::TransferSource,
};

/// What the walk comes to.
#[derive(Debug)]
pub(super) enum Step {
    /// A folder, whose entries follow up to its `Leave`.
    Folder(Met),
    Leave,
    File(Met),
    Link(Met, Vec<u8>),
    /// One more name of the file that was met with this number.
    HardLink(Met, u64, bool),
    /// An entry that cannot be sent.
    Miss(Met, Failure),
    End,
}

/// An entry, and where it is.
#[derive(Debug)]
pub(super) struct Met {
    pub(super) folder: Rc<Folder>,
    /// Its name in the folder.
    pub(super) entry: Vec<u8>,
    /// Its name at the destination.
    pub(super) name: Vec<u8>,
    pub(super) facts: Option<FileFacts>,
    /// It has names in the tree that were not met yet.
    pub(super) has_more_names: bool,
    /// It is a source itself.
    pub(super) is_source: bool,
}

impl Met {
    /// Returns an entry of a folder that is sent.
    fn beneath(
        folder: Rc<Folder>,
        entry: Vec<u8>,
        name: Vec<u8>,
        facts: Option<FileFacts>,
    ) -> Self {
        Self { folder, entry, name, facts, has_more_names: false, is_source: false }
    }

    /// Returns its path for events.
    pub(super) fn path(&self) -> Vec<u8> {
        self.folder.path(&self.name)
    }
}

/// A folder on the way.
#[derive(Debug)]
struct Level {
    folder: Rc<Folder>,
    /// The names that were not met yet, the next one last.
    names: Vec<Vec<u8>>,
    /// Where the reading of the folder goes on after these.
    next: Option<u64>,
    /// The length of the path before this folder's name.
    path: usize,
}

/// A file of several names.
#[derive(Debug)]
struct Linked {
    index: u64,
    left: u32,
}

#[derive(Debug)]
pub(super) struct Walk {
    sources: vec::IntoIter<TransferSource>,
    levels: Vec<Level>,
    /// The names that all levels hold together.
    held: usize,
    /// The path of the level, from below the source.
    path: Vec<u8>,
    linked: HashMap<FileId, Linked>,
}

impl Walk {
    pub(super) fn new(sources: Vec<TransferSource>) -> Self {
        Self {
            sources: sources.into_iter(),
            levels: Vec::new(),
            held: 0,
            path: Vec::new(),
            linked: HashMap::new(),
        }
    }

    /// Goes to the next entry, which will have this number.
    pub(super) fn next(
        &mut self,
        index: u64,
        folders: &mut Folders,
        options: &TransferOptions,
        tally: &mut Tally<'_>,
    ) -> Step {
        loop {
            let Some(level) = self.levels.last_mut() else {
                return match self.sources.next() {
                    Some(source) => self.begin(index, source, folders, options),
                    None => Step::End,
                };
            };
            if let Some(entry) = level.names.pop() {
                self.held = self.held.saturating_sub(1);
                let folder = Rc::clone(&level.folder);
                if let Some(step) = self.meet(index, &folder, entry, folders, options, tally) {
                    return step;
                }
                continue;
            }
            if let Some(from) = level.next.take() {
                let folder = Rc::clone(&level.folder);
                let read = folders.open(&folder).and_then(|open| self.names(&open, from));
                match (read, self.levels.last_mut()) {
                    (Ok(found), Some(level)) => {
                        self.held += found.names.len();
                        (level.names, level.next) = (found.names, found.next);
                    }
                    // The rest of a folder that cannot be read on is missing.
                    (Err(failure), _) => {
                        let (entry, name) = (Vec::new(), Vec::new());
                        return Step::Miss(Met::beneath(folder, entry, name, None), failure);
                    }
                    (Ok(_), None) => {}
                }
                continue;
            }
            if let Some(level) = self.levels.pop() {
                self.path.truncate(level.path);
            }
            return Step::Leave;
        }
    }

    /// Begins with a source.
    fn begin(
        &mut self,
        index: u64,
        source: TransferSource,
        folders: &mut Folders,
        options: &TransferOptions,
    ) -> Step {
        self.path.clear();
        let (name, above) = (source.name, source.folder);
        let met = |folder, entry: Vec<u8>, facts| Met {
            folder,
            entry,
            name: name.clone(),
            facts,
            has_more_names: false,
            is_source: true,
        };
        let root = Folder::root(Arc::clone(&above), source.id, b"");
        if let Some(failure) = source.failure {
            return Step::Miss(met(root, Vec::new(), None), failure);
        }
        let Some(entry) = source.entry else {
            let read = FileFacts::of(&above).map_err(|error| Failure::of(error, "look at it"));
            let read = match (read, options.recursive) {
                (Ok(_), false) => Err(not_recursive()),
                (Ok(facts), true) => {
                    // Transfers to other hosts may read the same source at this time.
                    let own = opened_anew(&above);
                    let own = own.map_err(|error| Failure::of(error, "read the folder"));
                    own.and_then(|own| self.names(&own, 0).map(|found| (facts, found, own)))
                }
                (Err(failure), _) => Err(failure),
            };
            return match read {
                Ok((facts, found, own)) => {
                    self.push(Folder::root(Arc::new(own), facts.id, &name), found, 0);
                    Step::Folder(met(root, Vec::new(), Some(facts)))
                }
                Err(failure) => Step::Miss(met(root, Vec::new(), None), failure),
            };
        };
        let facts = match FileFacts::at(&above, &entry) {
            Ok(facts) => facts,
            Err(error) => {
                return Step::Miss(met(root, entry, None), Failure::of(error, "look at it"));
            }
        };
        if facts.sort != Sort::Folder {
            let met = met(root, entry, Some(facts));
            return self.meet_other(index, met, facts, folders, options);
        }
        // Its path begins anew, at its name for the destination.
        let opened = match options.recursive {
            true => folders.enter(&root, &entry).and_then(|opened| folders.open(&opened)),
            false => Err(not_recursive()),
        };
        let listed = opened.and_then(|open| self.names(&open, 0).map(|found| (open, found)));
        let same = |open: &OwnedFd| FileFacts::of(open).is_ok_and(|now| now.id == facts.id);
        match listed {
            Ok((open, found)) if same(&open) => {
                self.push(Folder::root(open, facts.id, &name), found, 0);
                Step::Folder(met(root, entry, Some(facts)))
            }
            Ok(_) => Step::Miss(met(root, entry, Some(facts)), replaced()),
            Err(failure) => Step::Miss(met(root, entry, Some(facts)), failure),
        }
    }

    /// Meets an entry of a folder, unless it is left out.
    fn meet(
        &mut self,
        index: u64,
        folder: &Rc<Folder>,
        entry: Vec<u8>,
        folders: &mut Folders,
        options: &TransferOptions,
        tally: &mut Tally<'_>,
    ) -> Option<Step> {
        if name::is_partial(&entry) {
            return None;
        }
        let met = |facts| Met::beneath(Rc::clone(folder), entry.clone(), entry.clone(), facts);
        let found = folders.open(folder).and_then(|open| {
            FileFacts::at(&open, &entry).map_err(|error| Failure::of(error, "look at it"))
        });
        let before = self.path.len();
        if before > 0 {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(&entry);
        let is_folder = found.as_ref().is_ok_and(|facts| facts.sort == Sort::Folder);
        let is_excluded = options.rules.excludes(&self.path, is_folder);
        let facts = match found {
            _ if is_excluded => {
                self.path.truncate(before);
                return None;
            }
            Ok(facts) => facts,
            Err(mut failure) => {
                self.path.truncate(before);
                if failure.kind == FailureKind::NoSuchFile {
                    failure.kind = FailureKind::Vanished;
                }
                return Some(Step::Miss(met(None), failure));
            }
        };
        if !is_folder {
            self.path.truncate(before);
            return Some(self.meet_other(index, met(Some(facts)), facts, folders, options));
        }
        match self.enter(folder, &entry, facts, folders, tally) {
            Ok((opened, found)) => {
                self.push(opened, found, before);
                Some(Step::Folder(met(Some(facts))))
            }
            Err(failure) => {
                self.path.truncate(before);
                Some(Step::Miss(met(Some(facts)), failure))
            }
        }
    }

    /// Opens a folder that was met, and reads its first names.
    fn enter(
        &mut self,
        parent: &Rc<Folder>,
        entry: &[u8],
        facts: FileFacts,
        folders: &mut Folders,
        tally: &mut Tally<'_>,
    ) -> Result<(Rc<Folder>, list::Names), Failure> {
        if parent.depth() >= limits::DEPTH {
            let text = format!("it lies deeper than {} folders", limits::DEPTH);
            return Err(Failure::new(FailureKind::TooBig, text));
        }
        let folder = folders.enter(parent, entry)?;
        if folder.id() != facts.id {
            return Err(replaced());
        }
        let open = folders.open(&folder)?;
        tally.may_enter(&folder.path(b""), open.as_fd())?;
        let found = self.names(&open, 0)?;
        Ok((folder, found))
    }

    /// Meets what is no folder.
    fn meet_other(
        &mut self,
        index: u64,
        mut met: Met,
        facts: FileFacts,
        folders: &mut Folders,
        options: &TransferOptions,
    ) -> Step {
        match facts.sort {
            Sort::Special | Sort::Folder => {
                let text = "it is a device, a pipe or a socket, whose content is not sent";
                Step::Miss(met, Failure::new(FailureKind::Special, text))
            }
            Sort::Link => {
                let target = folders.open(&met.folder).and_then(|open| {
                    let target = rustix::fs::readlinkat(&open, &*met.entry, Vec::new());
                    target.map_err(|error| Failure::of(error, "read the link"))
                });
                match target {
                    Ok(target) => Step::Link(met, target.into_bytes()),
                    Err(failure) => Step::Miss(met, failure),
                }
            }
            // A source itself is sent as a file: who asked for it gets one of its own.
            Sort::File if facts.names < 2 || !options.recursive || self.levels.is_empty() => {
                Step::File(met)
            }
            Sort::File => {
                if let Some(linked) = self.linked.get_mut(&facts.id) {
                    linked.left = linked.left.saturating_sub(1);
                    let (first, is_last) = (linked.index, linked.left == 0);
                    if is_last {
                        self.linked.remove(&facts.id);
                    }
                    return Step::HardLink(met, first, is_last);
                }
                // Past the limit a further name is sent as a file of its own.
                if self.linked.len() < limits::LINKED {
                    self.linked.insert(facts.id, Linked { index, left: facts.names - 1 });
                    met.has_more_names = true;
                }
                Step::File(met)
            }
        }
    }

    /// Returns the folder that the entries come from.
    pub(super) fn current(&self) -> Option<&Rc<Folder>> {
        self.levels.last().map(|level| &level.folder)
    }

    /// Forgets that a file has further names, since it was not sent.
    pub(super) fn forget(&mut self, facts: &FileFacts) {
        self.linked.remove(&facts.id);
    }

    fn push(&mut self, folder: Rc<Folder>, found: list::Names, path: usize) {
        self.held += found.names.len();
        self.levels.push(Level { folder, names: found.names, next: found.next, path });
    }

    /// Reads names of a folder, as many as may be held.
    fn names(&self, open: &OwnedFd, from: u64) -> Result<list::Names, Failure> {
        let room = limits::LISTED.saturating_sub(self.held).max(limits::LISTED_AT_LEAST);
        list::names(open, from, room).map_err(|error| Failure::of(error, "read the folder"))
    }
}

fn not_recursive() -> Failure {
    Failure::new(
        FailureKind::Special,
        "it is a folder, and only files were asked for: -r copies folders",
    )
}

fn replaced() -> Failure {
    Failure::new(FailureKind::Changed, "another folder took its place")
}
