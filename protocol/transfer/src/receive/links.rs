//! Links: symbolic ones, and hard ones, which are one more name for a file that came before, as soon as that has its
//! own.

use std::{
    io::Write,
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
};

use rustix::{
    fs::{AtFlags, Mode, OFlags},
    io::Errno,
};

use super::{
    Receiver,
    metadata::Wanted,
    owner::{owns, set_link_owner},
    pending::{Outcome, WaitingLink},
    place::{Place, State},
    target, wants_time,
};
use crate::{
    facts::{FileFacts, FileId, Sort, Time},
    failure::{Failure, FailureKind, TransferError},
    limits,
    report::{FileAction, FileKind, FileNotes},
};

/// A file with further names.
pub(super) enum Linked {
    /// Its content is under way.
    Waiting,
    /// It has its name.
    There(Named),
    Failed(FailureKind),
}

/// A file that has its name.
#[derive(Clone)]
pub(super) struct Named {
    pub(super) place: Rc<Place>,
    pub(super) name: Vec<u8>,
    /// Which file it is. In a dry run there may be none.
    pub(super) original: Option<Original>,
}

/// The file that came or was compared, whatever has its name by now.
#[derive(Clone, Copy)]
pub(super) struct Original {
    id: FileId,
    /// If the sender has shown that it has the content: when anything of the file was changed last. A later change may
    /// be of the content; and a file that was removed hands its number on to a new one, which has a later time.
    shown: Option<Time>,
}

impl Original {
    /// Returns a file of which the sender has shown that it has the content.
    pub(super) fn shown(facts: &FileFacts) -> Self {
        Self { id: facts.id, shown: Some(facts.changed) }
    }

    /// Returns a file that was only taken for the sender's, or was left as it is.
    pub(super) fn not_shown(facts: &FileFacts) -> Self {
        Self { id: facts.id, shown: None }
    }

    /// Returns whether the sender has shown that it has the content of the file, as that is now.
    pub(super) fn is_shown(&self, now: &FileFacts) -> bool {
        now.id == self.id && self.shown == Some(now.changed)
    }

    /// Follows a change that this transfer has made in the file, of which the sender had shown its content before or
    /// had not.
    pub(super) fn follow(&mut self, was_shown: bool, file: impl AsFd) {
        let now = FileFacts::of(file).ok().filter(|_| was_shown);
        self.shown = now.map(|now| now.changed);
    }
}

impl<W: Write> Receiver<'_, W> {
    pub(super) fn on_link(
        &mut self,
        time: Time,
        linked: &[u8],
        name: &[u8],
    ) -> Result<(), TransferError> {
        let index = self.number(0)?;
        let wanted = self.metadata.wanted();
        self.files += 1;
        let place = self.place()?;
        let mut has_name = name.to_vec();
        let named = self.may_be_link().and_then(|()| self.name_for(&place, name, false));
        let made = named.and_then(|name| {
            has_name = name;
            self.ready_link(&place, time, linked, &has_name, &wanted?)
        });
        let outcome = made.unwrap_or_else(Outcome::failed);
        self.settle(index, &place.path(&has_name), FileKind::Link, outcome)
    }

    /// Checks that the entry that comes may be a link: a source itself may not, where the caller takes none.
    ///
    /// # Errors
    /// `unsafe_path`.
    fn may_be_link(&self) -> Result<(), Failure> {
        if self.takes_links || self.places.len() > 1 {
            return Ok(());
        }
        let text = "it is a link, and what it leads to was asked for";
        Err(Failure::new(FailureKind::UnsafePath, text))
    }

    /// Makes a symbolic link, if it is not there.
    fn ready_link(
        &mut self,
        place: &Rc<Place>,
        time: Time,
        linked: &[u8],
        name: &[u8],
        wanted: &Wanted,
    ) -> Result<Outcome, Failure> {
        if linked.is_empty() || linked.contains(&0) {
            return Err(Failure::new(FailureKind::UnsafePath, "the link leads to no path"));
        }
        let Some(folder) = self.folder_of(place)? else {
            return Ok(Outcome::done(FileAction::Created, FileNotes::default()));
        };
        let open = self.folders.open(&folder)?;
        let found = match FileFacts::at(&open, name) {
            Ok(found) => Some(found),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(Failure::of(error, "look at what is there")),
        };
        if let Some(found) = found {
            self.count_found(place);
            target::replaceable(found.sort)?;
            let there = rustix::fs::readlinkat(&open, name, Vec::new());
            if found.sort == Sort::Link && there.is_ok_and(|there| there.as_bytes() == linked) {
                let has_time = !wants_time(&self.options, found.time, time);
                let has_owner = owns(wanted.owner, found.owner);
                if has_time && has_owner {
                    return Ok(Outcome::done(FileAction::Unchanged, FileNotes::default()));
                }
                self.metadata.check_owner(wanted.owner, Some(found.owner))?;
                if !self.options.dry_run {
                    set_link_owner(&open, name, wanted.owner)?;
                    if !has_time {
                        self.set_link_time(&open, name, time)?;
                    }
                }
                let notes = FileNotes::default()
                    .with_if(!has_time, FileNotes::TIME)
                    .with_if(!has_owner, FileNotes::OWNER);
                return Ok(Outcome::done(FileAction::Adjusted, notes));
            }
        }
        self.metadata.check_owner(wanted.owner, None)?;
        let action = if found.is_some() { FileAction::Replaced } else { FileAction::Created };
        if self.options.dry_run {
            self.judge_entry(place, name, found.as_ref())?;
        } else {
            self.make_writable(place)?;
            let open = self.folders.open(&folder)?;
            target::make_link(&open, linked, name, found.is_none())?;
            set_link_owner(&open, name, wanted.owner)?;
            if self.options.preserve {
                self.set_link_time(&open, name, time)?;
            }
        }
        let notes = FileNotes::default().with_if(found.is_some(), FileNotes::CONTENT);
        Ok(Outcome::done(action, notes))
    }

    fn set_link_time(&self, folder: &OwnedFd, name: &[u8], time: Time) -> Result<(), Failure> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let set = rustix::fs::utimensat(folder, name, &time.timestamps(), flags);
        set.map_err(|error| Failure::of(error, "set the link's time"))
    }

    /// Remembers a file until its further names have come.
    pub(super) fn link_later(&mut self, index: u64, linked: Linked) -> Result<(), TransferError> {
        if self.linked.len() >= limits::LINKED {
            return Err(TransferError::Protocol("too many files have further names"));
        }
        self.linked.insert(index, linked);
        Ok(())
    }

    pub(super) fn on_hard_link(
        &mut self,
        to: u64,
        is_last: bool,
        announced: &[u8],
    ) -> Result<(), TransferError> {
        let index = self.number(0)?;
        self.files += 1;
        let place = self.place()?;
        let named = self.may_be_link().and_then(|()| self.name_for(&place, announced, false));
        let Some(linked) = self.linked.get(&to) else {
            return Err(TransferError::Protocol("it links to what has no further names"));
        };
        let (name, made) = match (named, linked) {
            (Err(failure), _) => (announced.to_vec(), Err(failure)),
            (Ok(name), Linked::Waiting) => {
                if let Some(pending) = self.pending.get_mut(&to).or(
                    // Its content is coming at this moment.
                    self.current.as_mut().filter(|current| current.index == to).and_then(
                        |current| current.writing.as_mut().map(|writing| &mut writing.pending),
                    ),
                ) {
                    place.hold();
                    self.waiting += 1;
                    pending.links.push(WaitingLink { index, place, name });
                    pending.has_more_names = !is_last;
                    if is_last {
                        self.linked.remove(&to);
                    }
                    return Ok(());
                }
                let failure = Failure::new(FailureKind::Io, "the file that it is a name of failed");
                (name, Err(failure))
            }
            (Ok(name), Linked::Failed(kind)) => {
                let text = "the file that it is a name of failed";
                (name, Err(Failure::new(*kind, text)))
            }
            (Ok(name), Linked::There(file)) => {
                let mut file = file.clone();
                let made = self.make_hard_link(&mut file, &place, &name);
                self.linked.insert(to, Linked::There(file));
                (name, made)
            }
        };
        if is_last {
            self.linked.remove(&to);
        }
        let outcome = made.unwrap_or_else(Outcome::failed);
        self.settle(index, &place.path(&name), FileKind::HardLink, outcome)
    }

    /// Makes the names that have waited for a file, or lets them fail with it.
    pub(super) fn make_waiting(
        &mut self,
        links: Vec<WaitingLink>,
        mut file: Result<&mut Named, FailureKind>,
    ) -> Result<(), TransferError> {
        for link in links {
            self.waiting = self.waiting.saturating_sub(1);
            let made = match &mut file {
                Ok(file) => self.make_hard_link(file, &link.place, &link.name),
                Err(kind) => Err(Failure::new(*kind, "the file that it is a name of failed")),
            };
            let outcome = made.unwrap_or_else(Outcome::failed);
            let path = link.place.path(&link.name);
            self.settle(link.index, &path, FileKind::HardLink, outcome)?;
            self.release(&link.place)?;
        }
        Ok(())
    }

    /// Links a file under one more name. By that name others may read what is in it: so the caller is asked for a file
    /// that was only taken for the sender's by its size and time, is newer than that, or was changed since.
    fn make_hard_link(
        &mut self,
        file: &mut Named,
        place: &Rc<Place>,
        name: &[u8],
    ) -> Result<Outcome, Failure> {
        let Named { place: from, name: first, original } = file;
        let Some(folder) = self.folder_of(place)? else {
            return Ok(Outcome::done(FileAction::Created, FileNotes::default()));
        };
        let open = self.folders.open(&folder)?;
        let found = match FileFacts::at(&open, name) {
            Ok(found) => Some(found),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(Failure::of(error, "look at what is there")),
        };
        if let Some(found) = found {
            self.count_found(place);
            target::replaceable(found.sort)?;
            if original.is_some_and(|original| original.id == found.id) {
                return Ok(Outcome::done(FileAction::Unchanged, FileNotes::default()));
            }
        }
        let action = if found.is_some() { FileAction::Replaced } else { FileAction::Created };
        if self.options.dry_run {
            self.judge_entry(place, name, found.as_ref())?;
        }
        let (State::There(above), Some(original)) = (&from.state, original) else {
            return Ok(Outcome::done(action, FileNotes::default()));
        };
        let above = self.folders.open(above)?;
        let (file, now) = open_linked(&above, first, original.id)?;
        let is_shown = original.is_shown(&now);
        if !is_shown && self.tally.may_read(&from.path(first), file.as_fd(), now.size).is_err() {
            let text = "the file that it is a name of may not be read, and was not compared by the content that it \
                        has now";
            return Err(Failure::new(FailureKind::Denied, text));
        }
        if self.options.dry_run {
            return Ok(Outcome::done(action, FileNotes::default()));
        }
        self.make_writable(place)?;
        let open = self.folders.open(&folder)?;
        self.maker.link(&open, &file, name, found.is_none())?;
        original.follow(is_shown, &file);
        Ok(Outcome::done(action, FileNotes::default()))
    }
}

/// Opens a file to give it one more name, and returns it with its facts. Another file that took its place would be given
/// one that nobody asked for.
fn open_linked(folder: &OwnedFd, name: &[u8], id: FileId) -> Result<(OwnedFd, FileFacts), Failure> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, name, flags, Mode::empty());
    let file = file.map_err(|error| Failure::of(error, "open the file that it is a name of"))?;
    let facts = FileFacts::of(&file).map_err(|error| Failure::of(error, "look at it"))?;
    if facts.id != id || facts.sort != Sort::File {
        let text = "another file took the place of the one that it is a name of";
        return Err(Failure::new(FailureKind::Changed, text));
    }
    Ok((file, facts))
}
