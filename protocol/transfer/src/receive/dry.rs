//! What a dry run can judge of an entry without writing: permissions, owners and free space; and files whose content
//! would come.

use std::{io::Write, os::fd::OwnedFd, rc::Rc};

use rustix::{
    fs::{Access, AtFlags},
    io::Errno,
};

use super::{
    Receiver,
    links::{Linked, Named, Original},
    owner::{self, WantedOwner},
    pending::{Outcome, Pending},
    place::{Place, State},
    target,
};
use crate::{
    beneath::Folder,
    facts::{FileFacts, STICKY, Sort},
    failure::{EventOrigin, Failure, FailureKind, TransferError},
    report::{FileAction, FileKind},
};

impl<W: Write> Receiver<'_, W> {
    /// Judges whether an entry could be made in a folder, in the place of what was found there.
    ///
    /// # Errors
    /// `permission`.
    pub(super) fn judge_entry(
        &mut self,
        place: &Rc<Place>,
        name: &[u8],
        found: Option<&FileFacts>,
    ) -> Result<(), Failure> {
        let State::There(folder) = &place.state else {
            return Ok(());
        };
        let folder = Rc::clone(folder);
        let open = self.folders.open(&folder)?;
        if self.options.in_place && found.is_some_and(|found| found.sort == Sort::File) {
            let judged = may(&open, name, Access::WRITE_OK);
            return judged.map_err(|error| Failure::of(error, "write over it"));
        }
        self.judge_folder(&open, place.is_own, found)
    }

    /// Judges whether an entry could be removed from a folder.
    ///
    /// # Errors
    /// `permission`.
    pub(super) fn judge_removal(&self, folder: &OwnedFd, found: &FileFacts) -> Result<(), Failure> {
        let is_own = FileFacts::of(folder).is_ok_and(|facts| facts.owner.0 == self.account);
        self.judge_folder(folder, is_own, Some(found))
    }

    /// Judges whether a name in a folder could be made, or what has it replaced.
    fn judge_folder(
        &self,
        folder: &OwnedFd,
        is_own: bool,
        found: Option<&FileFacts>,
    ) -> Result<(), Failure> {
        match may(folder, b".", Access::WRITE_OK | Access::EXEC_OK) {
            // It would get the permission that it lacks.
            Err(Errno::ACCESS) if is_own => {}
            judged => judged.map_err(|error| Failure::of(error, "write in the folder"))?,
        }
        let facts = FileFacts::of(folder).map_err(|error| Failure::of(error, "look at it"))?;
        let is_others = |found: &FileFacts| found.owner.0 != self.account;
        if facts.mode & STICKY != 0 && self.account != 0 && !is_own && found.is_some_and(is_others)
        {
            let text = "cannot replace it: it is another user's, in a folder with the sticky bit";
            return Err(Failure::new(FailureKind::Permission, text));
        }
        Ok(())
    }

    /// Judges whether a new file could be given the owner of the one that it would replace, where nobody else is
    /// wanted.
    ///
    /// # Errors
    /// `permission`.
    pub(super) fn judge_owner(
        &self,
        found: Option<&FileFacts>,
        wanted: WantedOwner,
    ) -> Result<(), Failure> {
        if self.options.in_place && found.is_some() {
            return Ok(());
        }
        self.metadata.check_owner(owner::of_new(wanted, found), None).map_err(|failure| {
            let text = "cannot keep the owner of the file that is there: another user's or group's";
            Failure::new(failure.kind, text)
        })
    }

    /// Settles a file that the sender has opened and would send.
    pub(super) fn would_receive(&mut self, index: u64, size: u64) -> Result<(), TransferError> {
        let Some(pending) = self.pending.remove(&index) else {
            return Ok(());
        };
        if let Err(failure) = self.check_size(size) {
            return self.fail(index, pending, failure, EventOrigin::Announced);
        }
        let Pending { place, name, found, notes, has_more_names, links, .. } = pending;
        let action = if found.is_none() { FileAction::Created } else { FileAction::Replaced };
        let outcome = Outcome { bytes: size, ..Outcome::done(action, notes) };
        self.settle(index, &place.path(&name), FileKind::File, outcome)?;
        // It has no file yet but the one that is there.
        let original = found.as_ref().map(Original::shown);
        let mut file = Named { place: Rc::clone(&place), name, original };
        self.make_waiting(links, Ok(&mut file))?;
        if has_more_names {
            self.linked.insert(index, Linked::There(file));
        }
        self.release(&place)
    }

    /// Judges whether the permission bits and times of what is there could be set: only its owner may, and root.
    ///
    /// # Errors
    /// `permission`.
    pub(super) fn judge_own(&self, found: &FileFacts) -> Result<(), Failure> {
        if found.owner.0 == self.account || self.account == 0 {
            return Ok(());
        }
        Err(Failure::of(Errno::PERM, "set its permission bits and times"))
    }

    /// Judges whether there is room for a file beside those that came before. Its size counts in full, since the
    /// other end does not say yet what of it is holes.
    ///
    /// # Errors
    /// `no_space`.
    pub(super) fn judge_room(
        &mut self,
        place: &Rc<Place>,
        size: u64,
        found: Option<&FileFacts>,
    ) -> Result<(), Failure> {
        let Some(folder) = nearest(place) else {
            return Ok(());
        };
        let open = self.folders.open(&folder)?;
        let Some(free) = target::free_space(&open) else {
            return Ok(());
        };
        if size > free.saturating_sub(self.dry_bytes) {
            let taken = self.dry_bytes;
            let text = format!("it needs {size} bytes; {free} are free, and {taken} needed before");
            return Err(Failure::new(FailureKind::NoSpace, text));
        }
        let freed = found.map_or(0, |found| found.size);
        self.dry_bytes = self.dry_bytes.saturating_add(size.saturating_sub(freed));
        Ok(())
    }
}

/// Returns the nearest folder that is there, from a place upwards.
fn nearest(place: &Rc<Place>) -> Option<Rc<Folder>> {
    let mut place = Some(place);
    while let Some(one) = place {
        if let State::There(folder) = &one.state {
            return Some(Rc::clone(folder));
        }
        place = one.above.as_ref();
    }
    None
}

/// Asks the system whether this process may do something with an entry. What cannot be asked counts as permitted.
fn may(folder: &OwnedFd, name: &[u8], access: Access) -> Result<(), Errno> {
    match rustix::fs::accessat(folder, name, access, AtFlags::EACCESS) {
        Err(error @ (Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::TXTBSY)) => Err(error),
        _ => Ok(()),
    }
}
