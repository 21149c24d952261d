//! Folders as they are announced, and which folder and name an entry has at the destination.

use std::{
    cell::{Cell, RefCell},
    io::Write,
    os::fd::AsFd as _,
    rc::Rc,
};

use rustix::{fs::AtFlags, io::Errno};

use super::{
    Receiver, made,
    metadata::{Wanted, sets_modes},
    owner::{WantedOwner, owns},
    pending::Outcome,
    place::{NameSet, Place, State},
    sticky, target, wants_time,
};
use crate::{
    beneath::Folder,
    destination::DestinationKind,
    facts::{FileFacts, PLAIN, SET_ID, Sort, Time},
    failure::{Failure, FailureKind, TransferError},
    limits, name,
    options::MetadataOptions,
    report::{FileAction, FileKind, FileNotes},
};

impl<W: Write> Receiver<'_, W> {
    pub(super) fn on_folder(
        &mut self,
        mode: u32,
        time: Time,
        name: &[u8],
    ) -> Result<(), TransferError> {
        if self.places.len() > limits::DEPTH + 1 {
            return Err(TransferError::Protocol("it announces a folder too deep for any to be"));
        }
        let index = self.number(0)?;
        let mode = self.changed_mode(mode, true);
        let wanted = self.metadata.wanted();
        let above = self.place()?;
        let named = self.name_for(&above, name, true);
        drop(above);
        let is_itself = self.places.len() == 1 && self.destination == DestinationKind::Itself;
        let is_taken_up =
            is_itself && named.is_ok() && self.take_up_destination(mode, time, &wanted);
        let action = if is_taken_up { FileAction::Adjusted } else { FileAction::Unchanged };
        // The destination itself may only just have been made.
        let above = self.place()?;
        let (name, ready) = match named {
            Ok(name) if is_itself => (name, Ok((Rc::clone(&above), action))),
            Ok(name) => {
                let ready =
                    wanted.and_then(|wanted| self.ready_folder(&above, mode, time, &name, &wanted));
                (name, ready)
            }
            Err(failure) => (name.to_vec(), Err(failure)),
        };
        let mut outcome = match &ready {
            Ok((_, action)) => Outcome::done(*action, FileNotes::default()),
            Err(failure) => Outcome::failed(failure.clone()),
        };
        let place = match ready {
            Ok((place, _)) => place,
            Err(failure) => {
                let state = State::Dead(failure.kind);
                // Every path below repeats it, and it may have more bytes than any name.
                let name = name.get(..limits::FILE_NAME).unwrap_or(&name);
                Rc::new(Place::absent(&above, name, above.above.is_none(), state))
            }
        };
        if place.is_made && mode & SET_ID != 0 {
            outcome.notes = outcome.notes.with(FileNotes::SET_ID_DROPPED);
        }
        // What it holds is given back when it is left.
        above.hold();
        self.settle(index, &above.path(&name), FileKind::Folder, outcome)?;
        self.places.push(place);
        Ok(())
    }

    /// Takes up the destination itself if an interrupted transfer has made it, and returns whether one has.
    fn take_up_destination(
        &mut self,
        mode: u32,
        time: Time,
        wanted: &Result<Wanted, Failure>,
    ) -> bool {
        // Nothing is in it yet.
        let Some(top) = self.places.last_mut().and_then(Rc::get_mut) else {
            return false;
        };
        let State::There(folder) = &top.state else {
            return false;
        };
        // Others could have put another folder in its place, which would get its rights.
        let above =
            self.folders.open(folder).ok().and_then(|open| FileFacts::at(&open, b"..").ok());
        let is_shared = above.is_none_or(|above| sticky::is_shared(&above, self.account));
        if !top.is_own || is_shared || !made::is_unfinished(top.found_mode) {
            return false;
        }
        (top.is_made, top.mode, top.time) = (true, mode, time);
        top.owner = wanted.as_ref().map_or((None, None), |wanted| wanted.owner);
        true
    }

    /// Returns the name that an entry has at the destination.
    pub(super) fn name_for(
        &mut self,
        above: &Rc<Place>,
        announced: &[u8],
        is_folder: bool,
    ) -> Result<Vec<u8>, Failure> {
        name::check(announced)?;
        if self.places.len() > 1 {
            self.remember(above, announced);
            return Ok(announced.to_vec());
        }
        self.tally.may_take(announced)?;
        if is_folder && !self.options.recursive {
            let text = "it is a folder, and only files were asked for";
            return Err(Failure::new(FailureKind::Special, text));
        }
        if let Some(failure) = &self.unmade {
            // Nothing goes into the folder above instead.
            return Err(failure.clone());
        }
        match &self.destination {
            DestinationKind::Inside => Ok(announced.to_vec()),
            DestinationKind::Named(_) | DestinationKind::Itself if self.is_named => {
                Err(Failure::new(FailureKind::Exists, "several sources have one destination"))
            }
            DestinationKind::Named(name) => {
                self.is_named = true;
                Ok(name.clone())
            }
            DestinationKind::Itself if is_folder => {
                self.is_named = true;
                Ok(Vec::new())
            }
            DestinationKind::Itself => {
                Err(Failure::new(FailureKind::Exists, "a folder stands there"))
            }
            DestinationKind::NewFolder(_) if !is_folder => Err(Failure::new(
                FailureKind::NoSuchFile,
                "there is no such folder; without the slash it is a file",
            )),
            DestinationKind::NewFolder(name) => {
                let name = name.clone();
                match self.make_destination(above, &name) {
                    Ok(place) => {
                        (self.places, self.destination) = (vec![place], DestinationKind::Inside);
                        Ok(announced.to_vec())
                    }
                    Err(failure) => {
                        self.unmade = Some(failure.clone());
                        Err(failure)
                    }
                }
            }
        }
    }

    /// Makes the folder that everything goes into.
    fn make_destination(&mut self, above: &Rc<Place>, name: &[u8]) -> Result<Rc<Place>, Failure> {
        let owner = self.metadata.owner_of_all();
        self.metadata.check_owner(owner, None)?;
        let state = match &above.state {
            State::There(folder) => {
                let open = self.folders.open(folder)?;
                self.tally.may_make(name, open.as_fd(), name)?;
                if self.options.dry_run {
                    self.judge_entry(above, name, None)?;
                    return Ok(new_top(above, name, State::Missing, owner));
                }
                made::make(&open, name)?;
                let entered = self.folders.enter(folder, name)?;
                let descriptor = self.folders.open(&entered)?;
                let facts = made::check(&open, &descriptor, self.account)?;
                if let Err(failure) = self.tally.may_enter(name, descriptor.as_fd()) {
                    // It is empty, and nobody asked for it.
                    let _ = rustix::fs::unlinkat(&open, name, AtFlags::REMOVEDIR);
                    return Err(failure);
                }
                target::set_mode(&descriptor, 0o777 & !self.umask | facts.mode & SET_ID)?;
                State::There(entered)
            }
            _ => State::Missing,
        };
        Ok(new_top(above, name, state, owner))
    }

    /// Remembers a name that the source has.
    pub(super) fn remember(&mut self, place: &Place, name: &[u8]) {
        let mut names = place.names.borrow_mut();
        if let Some(set) = &mut *names {
            if self.remembered >= limits::REMEMBERED {
                // Without all names nothing of this folder may be deleted.
                self.remembered -= set.len();
                *names = None;
                self.deletions.is_partial = true;
            } else {
                let before = set.len();
                set.insert(name);
                self.remembered += set.len() - before;
            }
        }
    }

    /// Returns the folder that entries go into, or why there is none.
    pub(super) fn folder_of(&self, place: &Place) -> Result<Option<Rc<Folder>>, Failure> {
        match &place.state {
            State::There(folder) => Ok(Some(Rc::clone(folder))),
            State::Missing => Ok(None),
            State::Dead(kind) => Err(Failure::new(*kind, "the folder that it is in failed")),
        }
    }

    /// Finds or makes a folder.
    fn ready_folder(
        &mut self,
        above: &Rc<Place>,
        mode: u32,
        time: Time,
        name: &[u8],
        wanted: &Wanted,
    ) -> Result<(Rc<Place>, FileAction), Failure> {
        let is_top = above.above.is_none() && !matches!(self.destination, DestinationKind::Itself);
        let missing = |place: &Rc<Place>| {
            let absent = Place::absent(place, name, is_top, State::Missing);
            (Rc::new(absent), FileAction::Created)
        };
        let Some(folder) = self.folder_of(above)? else {
            return Ok(missing(above));
        };
        if folder.depth() >= limits::DEPTH {
            let text = format!("it lies deeper than {} folders", limits::DEPTH);
            return Err(Failure::new(FailureKind::TooBig, text));
        }
        let open = self.folders.open(&folder)?;
        let found = match FileFacts::at(&open, name) {
            Ok(found) => Some(found),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(Failure::of(error, "look at what is there")),
        };
        if let Some(found) = &found {
            self.count_found(above);
            sticky::check(&open, found, self.account)?;
        }
        // What is typed for owners, permission bits and the rest is for the folders in it too.
        let is_kept = self.options.keep_folders
            && self.options.metadata == MetadataOptions::default()
            || (above.above.is_none() && matches!(self.destination, DestinationKind::Named(_)));
        let refused = |kind, text: &str| Err(Failure::new(kind, text));
        if !is_kept || found.is_none() {
            self.metadata.check_owner(wanted.owner, found.map(|found| found.owner))?;
        }
        match found.map(|found| found.sort) {
            None => {
                self.tally.may_make(&above.path(name), open.as_fd(), name)?;
                if self.options.dry_run {
                    self.judge_entry(above, name, None)?;
                    return Ok(missing(above));
                }
                self.make_writable(above)?;
                let open = self.folders.open(&folder)?;
                made::make(&open, name)?;
            }
            Some(Sort::Folder) => {}
            Some(Sort::Link) => {
                return refused(FailureKind::UnsafePath, "a link stands where a folder should be");
            }
            Some(Sort::File | Sort::Special) => {
                return refused(FailureKind::Exists, "what stands there is no folder");
            }
        }
        let entered = self.folders.enter(&folder, name)?;
        if found.is_some_and(|found| found.id != entered.id()) {
            return refused(FailureKind::Changed, "another folder took its place");
        }
        let descriptor = self.folders.open(&entered)?;
        if found.is_none() {
            let facts = made::check(&open, &descriptor, self.account)?;
            made::mark(&descriptor, &facts)?;
        }
        let is_own = found.is_none_or(|found| found.owner.0 == self.account);
        let is_unfinished = found.is_none_or(|found| made::is_unfinished(found.mode) && is_own);
        let is_shared = is_unfinished
            && FileFacts::of(&open).is_ok_and(|above| sticky::is_shared(&above, self.account));
        let is_there =
            found.is_none() || !is_shared || made::is_bound(&descriptor, folder.id(), name);
        let is_made = is_unfinished && is_there;
        let is_kept = is_kept && !is_made;
        if is_made && self.unfinished.insert(entered.id(), is_shared).is_some() {
            // It is that of another name, and would get the rights of both.
            return refused(FailureKind::Changed, "another folder took its place");
        }
        let may_enter = self.tally.may_enter(&above.path(name), descriptor.as_fd());
        let equipped = may_enter.and_then(|()| match is_kept {
            true => Ok(None),
            false => self.equip_folder(descriptor.as_fd(), wanted, is_made),
        });
        if equipped.is_err() && found.is_none() {
            // It is empty, and nobody asked for it.
            let _ = rustix::fs::unlinkat(&open, name, AtFlags::REMOVEDIR);
        }
        let equipped = equipped?;
        if is_made && is_shared && !self.options.dry_run {
            made::bind(&descriptor, folder.id(), name);
        }
        let owner = if is_kept { (None, None) } else { wanted.owner };
        let is_same = |found: FileFacts| {
            let has_mode = !sets_modes(&self.options) || found.mode & PLAIN == mode & PLAIN;
            let has_owner = owns(owner, found.owner) && equipped.is_none();
            is_kept || has_mode && has_owner && !wants_time(&self.options, found.time, time)
        };
        let action = match found {
            None => FileAction::Created,
            Some(found) if !is_made && is_same(found) => FileAction::Unchanged,
            Some(_) => FileAction::Adjusted,
        };
        let is_compared = self.options.delete && found.is_some();
        let place = Rc::new(Place {
            above: Some(Rc::clone(above)),
            name: name.to_vec(),
            state: State::There(entered),
            is_top,
            is_made,
            keeps: is_kept,
            mode,
            time,
            found_mode: equipped.or(found.map(|found| found.mode)).unwrap_or(0o700),
            is_own,
            owner,
            restore: Cell::new(None),
            busy: Cell::new(1),
            names: RefCell::new(is_compared.then(NameSet::default)),
        });
        // Without permission to pass it, what is in it cannot even be looked at.
        if !self.options.dry_run && place.found_mode & 0o500 != 0o500 {
            self.make_writable(&place)?;
        }
        Ok((place, action))
    }

    pub(super) fn on_leave(&mut self) -> Result<(), TransferError> {
        if self.places.len() < 2 {
            return Err(TransferError::Protocol("it leaves a folder that it did not enter"));
        }
        if let Some(place) = self.places.pop() {
            self.compare(&place)?;
            self.release(&place)?;
        }
        Ok(())
    }
}

/// Returns the place of a folder that is made for what comes.
fn new_top(above: &Rc<Place>, name: &[u8], state: State, owner: WantedOwner) -> Rc<Place> {
    let mut place = Place::absent(above, name, true, state);
    place.above = None;
    place.owner = owner;
    place.found_mode = 0o700;
    Rc::new(place)
}
