//! Deletion of what the source lacks: found folder by folder while entries come, and carried out when all is well.

use std::{io::Write, os::fd::OwnedFd, rc::Rc, sync::Arc};

use rustix::{fs::AtFlags, io::Errno};

use super::{
    Receiver, partial,
    place::{Place, State},
    target,
};
use crate::{
    beneath::Folder,
    facts::{FileFacts, Sort},
    failure::{Failure, FailureKind, TransferError},
    limits, list, name,
    report::{FileAction, FileKind, Withheld},
};

/// What is to be deleted.
#[derive(Default)]
pub(super) struct Deletions {
    list: Vec<Deletion>,
    /// How many entries that is, with all that is in the folders among them.
    count: u64,
    /// How many entries there are in the folders that were compared.
    there: u64,
    /// Not all of it is in the list.
    pub(super) is_partial: bool,
}

struct Deletion {
    place: Rc<Place>,
    name: Vec<u8>,
}

/// An entry below a folder that is deleted.
struct Doomed<'a> {
    above: &'a Rc<Folder>,
    name: &'a [u8],
    /// Its path for the rules, and for events.
    for_rules: Vec<u8>,
    path: Vec<u8>,
}

impl<W: Write> Receiver<'_, W> {
    /// Compares a folder with the names that the source has in it.
    pub(super) fn compare(&mut self, place: &Rc<Place>) -> Result<(), TransferError> {
        let Some(names) = place.names.take() else {
            return Ok(());
        };
        self.remembered = self.remembered.saturating_sub(names.len());
        let State::There(folder) = &place.state else {
            return Ok(());
        };
        let mut from = Some(0);
        while let Some(at) = from {
            let (open, found) = match self.listed(folder, at) {
                Ok(found) => found,
                Err(failure) => {
                    let path = place.path(b"");
                    return self.tell(path, FileKind::Folder, FileAction::Failed, Some(failure));
                }
            };
            from = found.next;
            for name in &found.names {
                if !names.contains(name) {
                    self.consider(place, folder, &open, name)?;
                } else {
                    self.deletions.there += 1;
                }
            }
        }
        Ok(())
    }

    /// Puts an entry into the list of what is to be deleted, unless it is spared.
    fn consider(
        &mut self,
        place: &Rc<Place>,
        folder: &Rc<Folder>,
        open: &OwnedFd,
        name: &[u8],
    ) -> Result<(), TransferError> {
        if name::is_partial(name) {
            self.remove_stale(open, name);
            return Ok(());
        }
        let Ok(facts) = FileFacts::at(open, name) else {
            return Ok(());
        };
        let is_folder = facts.sort == Sort::Folder;
        let for_rules = place.path_for_rules(name);
        self.deletions.there += 1;
        if self.options.rules.excludes(&for_rules, is_folder) {
            return Ok(());
        }
        let mut count = 1;
        if is_folder {
            let doomed = Doomed { above: folder, name, for_rules, path: Vec::new() };
            count += self.walk_doomed(doomed, false)?;
            self.deletions.there = self.deletions.there.saturating_add(count - 1);
        }
        self.deletions.count = self.deletions.count.saturating_add(count);
        if self.deletions.list.len() >= limits::DELETIONS {
            self.deletions.is_partial = true;
        } else {
            let (place, name) = (Rc::clone(place), name.to_vec());
            self.deletions.list.push(Deletion { place, name });
        }
        Ok(())
    }

    /// Removes a partial file whose transfer is over for good.
    fn remove_stale(&self, open: &OwnedFd, name: &[u8]) {
        if self.options.dry_run {
            return;
        }
        let opened = partial::open_partial(open, name, self.account);
        if opened.is_some_and(|(_, facts)| partial::is_stale(&facts)) {
            // Whoever comes next tries again.
            let _ = rustix::fs::unlinkat(open, name, AtFlags::empty());
        }
    }

    /// Deletes what is to be deleted, or returns why not.
    pub(super) fn delete_all(&mut self) -> Result<Option<Withheld>, TransferError> {
        if !self.options.delete {
            return Ok(None);
        }
        if self.tally.counts.failed > 0 || self.stopped {
            return Ok(Some(Withheld::Incomplete));
        }
        let deletions = std::mem::take(&mut self.deletions);
        if deletions.count == 0 && !deletions.is_partial {
            return Ok(None);
        }
        let most = match self.options.max_delete {
            Some(most) => most,
            None if self.files == 0 => return Ok(Some(Withheld::EmptySource)),
            None => limits::DELETED.min(deletions.there / 2),
        };
        if deletions.count > most || deletions.is_partial {
            return Ok(Some(Withheld::TooMany));
        }
        let mut changed: Option<Rc<Place>> = None;
        for Deletion { place, name } in deletions.list {
            if let Some(before) = &changed
                && !Rc::ptr_eq(before, &place)
            {
                self.finish_again(&Rc::clone(before))?;
            }
            self.delete_one(&place, &name)?;
            changed = Some(place);
            if self.stopped {
                break;
            }
        }
        if let Some(place) = changed {
            self.finish_again(&place)?;
        }
        Ok(None)
    }

    /// Gives a folder its permission bits and times once more.
    fn finish_again(&mut self, place: &Rc<Place>) -> Result<(), TransferError> {
        match self.finish_place(place) {
            Ok(()) => Ok(()),
            Err(failure) => {
                let path = place.path(b"");
                self.tell(path, FileKind::Folder, FileAction::Failed, Some(failure))
            }
        }
    }

    fn delete_one(&mut self, place: &Rc<Place>, name: &[u8]) -> Result<(), TransferError> {
        let State::There(folder) = &place.state else {
            return Ok(());
        };
        let path = place.path(name);
        let sort = self.open_for_deletion(place, folder).and_then(|open| {
            let facts = FileFacts::at(&open, name);
            let facts = facts.map_err(|error| Failure::of(error, "look at it"))?;
            Ok((open, facts.sort))
        });
        let (open, sort) = match sort {
            Ok(found) => found,
            Err(failure) if failure.kind == FailureKind::NoSuchFile => return Ok(()),
            Err(failure) => {
                return self.tell(path, FileKind::Other, FileAction::Failed, Some(failure));
            }
        };
        if sort == Sort::Folder {
            let for_rules = place.path_for_rules(name);
            let doomed = Doomed { above: folder, name, for_rules, path: path.clone() };
            self.walk_doomed(doomed, true)?;
        }
        self.unlink(&open, name, sort, path)
    }

    /// Opens a folder in which something is deleted. Its permission bits are set again by `finish_place`.
    fn open_for_deletion(
        &mut self,
        place: &Place,
        folder: &Rc<Folder>,
    ) -> Result<Arc<OwnedFd>, Failure> {
        let open = self.folders.open(folder)?;
        if !self.options.dry_run && self.account != 0 && place.is_own {
            let facts = FileFacts::of(&open).map_err(|error| Failure::of(error, "look at it"))?;
            if facts.mode & 0o700 != 0o700 {
                target::set_mode(&open, facts.mode | 0o700)?;
                place.restore.set(Some(facts.mode));
                self.folders.close(folder);
                return self.folders.open(folder);
            }
        }
        Ok(open)
    }

    /// Removes one entry, which is no folder with anything in it.
    fn unlink(
        &mut self,
        folder: &OwnedFd,
        name: &[u8],
        sort: Sort,
        path: Vec<u8>,
    ) -> Result<(), TransferError> {
        let (kind, flags) = match sort {
            Sort::Folder => (FileKind::Folder, AtFlags::REMOVEDIR),
            Sort::File => (FileKind::File, AtFlags::empty()),
            Sort::Link => (FileKind::Link, AtFlags::empty()),
            Sort::Special => (FileKind::Other, AtFlags::empty()),
        };
        let done =
            if self.options.dry_run { Ok(()) } else { rustix::fs::unlinkat(folder, name, flags) };
        match done {
            Ok(()) => self.tell(path, kind, FileAction::Deleted, None),
            // Something in it was spared.
            Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            Err(error) => {
                let failure = Failure::of(error, "delete it");
                self.tell(path, kind, FileAction::Failed, Some(failure))
            }
        }
    }

    /// Goes through a folder that is deleted. Returns how many entries it has that are not spared; with `removes`
    /// they are removed.
    fn walk_doomed(&mut self, doomed: Doomed<'_>, removes: bool) -> Result<u64, TransferError> {
        let entered = self.folders.enter(doomed.above, doomed.name).and_then(|folder| {
            if folder.depth() > limits::DEPTH {
                let text = format!("it lies deeper than {} folders", limits::DEPTH);
                return Err(Failure::new(FailureKind::TooBig, text));
            }
            if removes && !self.options.dry_run && self.account != 0 {
                let open = self.folders.open(&folder)?;
                let facts =
                    FileFacts::of(&open).map_err(|error| Failure::of(error, "look at it"))?;
                if facts.mode & 0o700 != 0o700 && facts.owner.0 == self.account {
                    target::set_mode(&open, facts.mode | 0o700)?;
                    self.folders.close(&folder);
                }
            }
            Ok(folder)
        });
        let mut count = 0;
        let mut from = Some(0);
        while let Some(at) = from {
            let listed = entered.as_ref().map_err(Clone::clone);
            let listed = listed.and_then(|folder| Ok((folder, self.listed(folder, at)?)));
            let (folder, (open, found)) = match listed {
                Ok(listed) => listed,
                Err(failure) if removes => {
                    let path = doomed.path;
                    self.tell(path, FileKind::Folder, FileAction::Failed, Some(failure))?;
                    return Ok(count);
                }
                // What cannot be counted is told when it cannot be removed.
                Err(_) => return Ok(count),
            };
            from = found.next;
            for name in &found.names {
                let Ok(facts) = FileFacts::at(&open, name) else {
                    continue;
                };
                let for_rules = joined(&doomed.for_rules, name);
                let is_folder = facts.sort == Sort::Folder;
                let is_partial = name::is_partial(name);
                if is_partial || self.options.rules.excludes(&for_rules, is_folder) {
                    continue;
                }
                count += 1;
                let path = joined(&doomed.path, name);
                if is_folder {
                    let below = Doomed { above: folder, name, for_rules, path: path.clone() };
                    count += self.walk_doomed(below, removes)?;
                }
                if removes {
                    self.unlink(&open, name, facts.sort, path)?;
                }
            }
        }
        Ok(count)
    }

    /// Reads names of a folder, and returns it with them.
    fn listed(
        &mut self,
        folder: &Rc<Folder>,
        from: u64,
    ) -> Result<(Arc<OwnedFd>, list::Names), Failure> {
        let open = self.folders.open(folder)?;
        let most = limits::LISTED_AT_LEAST * 64;
        let found = list::names(&open, from, most);
        Ok((open, found.map_err(|error| Failure::of(error, "read the folder"))?))
    }
}

fn joined(path: &[u8], name: &[u8]) -> Vec<u8> {
    [path, name].join(&b'/')
}
