//! Deletion of what the source lacks: found folder by folder while entries come, and carried out when all is well.

use std::{io::Write, os::fd::OwnedFd, rc::Rc, sync::Arc};

use rustix::{fs::AtFlags, io::Errno};

use super::{
    Receiver,
    doomed::{Doomed, check_mount},
    partial::{self, Opened},
    place::{NameSet, Place, State},
    target,
};
use crate::{
    beneath::Folder,
    facts::{FileFacts, Sort},
    failure::{Failure, FailureKind, TransferError},
    limits, name,
    report::{FileAction, FileKind, Withheld},
};

/// What is to be deleted.
#[derive(Default)]
pub(super) struct Deletions {
    list: Vec<Deletion>,
    /// How many entries that is, with all that is in the folders among them.
    count: u64,
    /// How many entries there were in the folders that are compared, before anything came.
    there: u64,
    /// Not all of it is in the list.
    pub(super) is_partial: bool,
    /// How many entries may still be removed.
    left: u64,
    /// There was more to remove than that.
    pub(super) is_over: bool,
}

struct Deletion {
    place: Rc<Place>,
    name: Vec<u8>,
}

/// A folder that is compared with the source.
struct Within<'a> {
    place: &'a Rc<Place>,
    folder: &'a Rc<Folder>,
    open: &'a OwnedFd,
    facts: FileFacts,
    names: &'a NameSet,
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
            let listed = self.listed(folder, at, limits::LISTED).and_then(|(open, found)| {
                let facts = FileFacts::of(&open);
                Ok((facts.map_err(|error| Failure::of(error, "look at it"))?, open, found))
            });
            let (facts, open, found) = match listed {
                Ok(listed) => listed,
                Err(failure) => {
                    let path = place.path(b"");
                    return self.tell(path, FileKind::Folder, FileAction::Failed, Some(failure));
                }
            };
            from = found.next;
            for name in &found.names {
                if !names.contains(name) {
                    let within = Within { place, folder, open: &open, facts, names: &names };
                    self.consider(&within, name)?;
                }
            }
        }
        Ok(())
    }

    /// Counts an entry that comes, and that is there already.
    pub(super) fn count_found(&mut self, place: &Place) {
        if place.names.borrow().is_some() {
            self.deletions.there = self.deletions.there.saturating_add(1);
        }
    }

    /// Puts an entry into the list of what is to be deleted, unless it is spared.
    fn consider(&mut self, within: &Within<'_>, name: &[u8]) -> Result<(), TransferError> {
        let Within { place, folder, open, .. } = *within;
        if name::is_partial(name) {
            self.remove_stale(open, name);
            return Ok(());
        }
        let facts = match FileFacts::at(open, name) {
            Ok(facts) => facts,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => {
                let failure = Some(Failure::of(error, "look at it"));
                return self.tell(place.path(name), FileKind::Other, FileAction::Failed, failure);
            }
        };
        let is_folder = facts.sort == Sort::Folder;
        let for_rules = place.path_for_rules(name);
        self.deletions.there += 1;
        if self.options.rules.excludes(&for_rules, is_folder)
            || within.names.may_have(name) && folds_names(open, name, &facts)
        {
            return Ok(());
        }
        if let Err(failure) = check_mount(&facts, &within.facts) {
            let path = place.path(name);
            return self.tell(path, kind_of(facts.sort), FileAction::Failed, Some(failure));
        }
        let mut count: u64 = 1;
        if is_folder {
            let path = place.path(name);
            let (above, name) = (Rc::clone(folder), name.to_vec());
            let doomed = Doomed { above, name, facts, for_rules, path };
            // What may not be removed has failed by now, so that nothing is.
            count = count.saturating_add(self.walk_doomed(doomed, false)?.unwrap_or_default());
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
        if let Opened::Free(_, facts) = partial::open_partial(open, name, self.account)
            && partial::is_stale(&facts)
        {
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
            None => limits::DELETED.min(deletions.there / 2),
        };
        let withheld = if self.options.max_delete.is_none() && self.files == 0 {
            Some(Withheld::EmptySource)
        } else if deletions.count > most || deletions.is_partial {
            Some(Withheld::TooMany)
        } else {
            None
        };
        let max_delete = self.options.max_delete;
        let why = withheld.map(|withheld| {
            (withheld, why_withheld(withheld, &deletions, most, max_delete.is_some()))
        });
        if why.is_some() && !self.options.dry_run {
            return self.withhold(why);
        }
        // A dry run names also what would not go.
        self.deletions.left = if why.is_some() { u64::MAX } else { most };
        self.delete_listed(deletions.list)?;
        self.withhold(why)
    }

    /// Tells why nothing is deleted: that is the failure of what was asked for, and so of the destination.
    fn withhold(
        &mut self,
        why: Option<(Withheld, Failure)>,
    ) -> Result<Option<Withheld>, TransferError> {
        let Some((withheld, failure)) = why else {
            return Ok(None);
        };
        self.tell(Vec::new(), FileKind::Folder, FileAction::Failed, Some(failure))?;
        Ok(Some(withheld))
    }

    /// Deletes the entries of a list.
    fn delete_listed(&mut self, list: Vec<Deletion>) -> Result<(), TransferError> {
        let mut changed: Option<Rc<Place>> = None;
        for Deletion { place, name } in list {
            if let Some(before) = &changed
                && !Rc::ptr_eq(before, &place)
            {
                self.finish_again(&Rc::clone(before))?;
            }
            self.delete_one(&place, &name)?;
            changed = Some(place);
            if self.stopped || self.deletions.is_over {
                break;
            }
        }
        if let Some(place) = changed {
            self.finish_again(&place)?;
        }
        Ok(())
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
        let found = self.open_for_deletion(place, folder).and_then(|open| {
            let looked = |error| Failure::of(error, "look at it");
            let facts = FileFacts::at(&open, name).map_err(looked)?;
            check_mount(&facts, &FileFacts::of(&open).map_err(looked)?)?;
            Ok((open, facts))
        });
        let (open, facts) = match found {
            Ok(found) => found,
            Err(failure) if failure.kind == FailureKind::NoSuchFile => return Ok(()),
            Err(failure) => {
                return self.tell(path, FileKind::Other, FileAction::Failed, Some(failure));
            }
        };
        if facts.sort == Sort::Folder {
            let for_rules = place.path_for_rules(name);
            let (above, name, path) = (Rc::clone(folder), name.to_vec(), path.clone());
            let doomed = Doomed { above, name, facts, for_rules, path };
            if self.walk_doomed(doomed, true)?.is_none() {
                return Ok(());
            }
        }
        self.unlink(&open, name, facts.sort, path)
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
    pub(super) fn unlink(
        &mut self,
        folder: &OwnedFd,
        name: &[u8],
        sort: Sort,
        path: Vec<u8>,
    ) -> Result<(), TransferError> {
        let kind = kind_of(sort);
        if self.deletions.left == 0 {
            self.deletions.is_over = true;
            let text = "more is there by now than may be deleted";
            let failure = Failure::new(FailureKind::TooBig, text);
            return self.tell(path, kind, FileAction::Failed, Some(failure));
        }
        let is_folder = sort == Sort::Folder;
        let flags = if is_folder { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        if self.options.dry_run
            && let Ok(facts) = FileFacts::at(folder, name)
            && let Err(failure) = self.judge_removal(folder, &facts)
        {
            return self.tell(path, kind, FileAction::Failed, Some(failure));
        }
        let done =
            if self.options.dry_run { Ok(()) } else { rustix::fs::unlinkat(folder, name, flags) };
        match done {
            Ok(()) => {
                self.deletions.left -= 1;
                self.tell(path, kind, FileAction::Deleted, None)
            }
            // Something in it was spared.
            Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            Err(error) => {
                let failure = Failure::of(error, "delete it");
                self.tell(path, kind, FileAction::Failed, Some(failure))
            }
        }
    }
}

/// Returns why nothing is deleted, with the numbers.
fn why_withheld(withheld: Withheld, deletions: &Deletions, most: u64, is_said: bool) -> Failure {
    let Deletions { count, there, is_partial, .. } = deletions;
    let noun = if *count == 1 { "entry" } else { "entries" };
    let than = if *is_partial { "more than " } else { "" };
    let would = format!("nothing was deleted: {than}{count} {noun} would be");
    let text = match withheld {
        Withheld::EmptySource => format!("{would}, and the source has no file"),
        _ if is_said => format!("{would}, and --max-delete permits {most}"),
        _ if most < limits::DELETED => {
            format!("{would}, which is more than half of the {there} that are there")
        }
        _ => format!("{would}, which is more than {most}"),
    };
    Failure::new(FailureKind::TooBig, text)
}

/// Returns whether a folder finds an entry by another name too that only differs in case, or by a point at its end, as
/// vfat and folders of ext4 that are set up so do.
fn folds_names(folder: &OwnedFd, name: &[u8], facts: &FileFacts) -> bool {
    let text = String::from_utf8_lossy(name);
    let others = [text.to_uppercase(), text.to_lowercase(), format!("{text}.")];
    let is_same = |other: &String| {
        FileFacts::at(folder, other.as_bytes()).is_ok_and(|there| there.id == facts.id)
    };
    others.iter().filter(|other| other.as_bytes() != name).any(is_same)
}

fn kind_of(sort: Sort) -> FileKind {
    match sort {
        Sort::Folder => FileKind::Folder,
        Sort::File => FileKind::File,
        Sort::Link => FileKind::Link,
        Sort::Special => FileKind::Other,
    }
}
