//! The content of one file as it comes. Only one comes at a time, and never more of it than was announced.

use std::{io::Write, os::fd::OwnedFd, rc::Rc};

use super::{
    Receiver,
    links::{Linked, Named, Original},
    metadata::sets_modes,
    owner, partial,
    pending::{Offer, OfferedPart, Outcome, Pending},
    place::State,
    sync,
    target::{self, Target},
    writing::{Writing, mode_of_file},
};
use crate::{
    content::digest::{add_content, add_zeros},
    facts::{FileFacts, SET_ID, Time},
    failure::{EventOrigin, Failure, FailureKind, TransferError},
    limits,
    report::{FileAction, FileKind, FileNotes},
};

/// What the sender says of a file that it has opened.
#[derive(Clone, Copy)]
pub(super) struct Opening {
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) stored: u64,
    pub(super) mode: u32,
    pub(super) time: Time,
}

/// The content that is coming.
pub(super) struct Current {
    pub(super) index: u64,
    opening: Opening,
    /// How much of it is here.
    pub(super) at: u64,
    /// Where it is written, or nothing if the file has failed and the rest only passes by.
    pub(super) writing: Option<Writing>,
}

impl<W: Write> Receiver<'_, W> {
    pub(super) fn on_begin(&mut self, index: u64, opening: &Opening) -> Result<(), TransferError> {
        if self.current.is_some() {
            return Err(TransferError::Protocol("one content begins within another"));
        }
        if index >= self.next {
            return Err(TransferError::Protocol("the content of what was not announced"));
        }
        if opening.offset > opening.size {
            return Err(TransferError::Protocol("a content begins behind its end"));
        }
        if self.options.dry_run {
            return self.would_receive(index, opening.size);
        }
        self.tally.passed(opening.offset);
        let mut current = Current { index, opening: *opening, at: opening.offset, writing: None };
        // A file that has failed meanwhile may still begin once more.
        if let Some(mut pending) = self.pending.remove(&index) {
            let (offered, step) =
                pending.offer.as_ref().map_or((0, 1), |offer| (offer.length, offer.step));
            if opening.offset > offered {
                return Err(TransferError::Protocol("a content begins behind what is here"));
            }
            if opening.offset.checked_rem(step) != Some(0) {
                return Err(TransferError::Protocol("a content begins within a range"));
            }
            match self.open_target(opening, &mut pending) {
                Ok((target, digest)) => {
                    let old = None;
                    let writing = Writing { pending, old, target, digest, ends_in_hole: false };
                    current.writing = Some(writing);
                }
                Err(failure) => {
                    self.fail(index, pending, failure, EventOrigin::Announced)?;
                }
            }
        }
        self.current = Some(current);
        Ok(())
    }

    /// Checks that a file is not larger than what is allowed, nor all files together.
    ///
    /// # Errors
    /// `too_big`.
    pub(super) fn check_size(&self, size: u64) -> Result<(), Failure> {
        let together = self.tally.counts.bytes.saturating_add(size);
        if size > self.limits.file_bytes || together > self.limits.bytes {
            return Err(Failure::new(FailureKind::TooBig, "it is larger than what is allowed"));
        }
        Ok(())
    }

    /// Opens the file that a content is written to.
    fn open_target(
        &mut self,
        opening: &Opening,
        pending: &mut Pending,
    ) -> Result<(Target, blake3::Hasher), Failure> {
        self.check_size(opening.size)?;
        let State::There(folder) = &pending.place.state else {
            return Err(Failure::new(FailureKind::NoSuchFile, "its folder is not there"));
        };
        let folder = Rc::clone(folder);
        self.make_writable(&pending.place)?;
        let open = self.folders.open(&folder)?;
        let wanted = opening.stored.min(opening.size).saturating_sub(opening.offset);
        target::check_room(&open, wanted)?;
        let offer = pending.offer.take();
        if offer.is_some() {
            self.offers = self.offers.saturating_sub(1);
        }
        let is_in_place = self.options.in_place && pending.found.is_some();
        let target = match offer {
            Some(Offer { file, part: OfferedPart::Own(name), .. }) => {
                Target::Partial { file, name }
            }
            Some(Offer { file, part: OfferedPart::InPlace, .. }) => Target::InPlace(file),
            Some(Offer { file, part: OfferedPart::Copied(part), .. }) => {
                let target = self.maker.make(&open, &pending.name, true)?;
                if let Err(failure) = partial::copy_beginning(&file, target.file(), opening.offset)
                {
                    target.remove(&open);
                    return Err(failure);
                }
                if let Some(part) = part {
                    partial::remove(&open, &part);
                }
                target
            }
            None if is_in_place => {
                let file = target::open_for_writing(&open, &pending.name, pending.found.as_ref())?;
                Target::InPlace(file)
            }
            None => self.maker.make(&open, &pending.name, opening.size >= limits::LARGE)?,
        };
        let ready = self.ready_target(&open, opening, pending, &target);
        if ready.is_err() {
            target.remove(&open);
        }
        ready.map(|digest| (target, digest))
    }

    /// Makes a target what it is to be before anything is written to it.
    fn ready_target(
        &self,
        folder: &OwnedFd,
        opening: &Opening,
        pending: &mut Pending,
        target: &Target,
    ) -> Result<blake3::Hasher, Failure> {
        let mut digest = blake3::Hasher::new();
        if !matches!(target, Target::InPlace(_)) {
            owner::try_owner(folder, target, pending.wanted.owner, pending.found.as_ref())?;
        }
        match target {
            Target::Unnamed(_) => return Ok(digest),
            // The content that it had was given these bits; a transfer that is cut leaves another.
            Target::InPlace(file) => target::drop_set_id(file)?,
            Target::Partial { .. } => {}
        }
        partial::add_beginning(target.file(), opening.offset, &mut digest)?;
        target::truncate(target.file(), opening.offset)?;
        pending.notes = pending.notes.with_if(opening.offset > 0, FileNotes::RESUMED);
        Ok(digest)
    }

    pub(super) fn on_data(&mut self, content: &[u8]) -> Result<(), TransferError> {
        let length = u64::try_from(content.len()).unwrap_or(u64::MAX);
        self.tally.crossed(length, content.len());
        let at = self.advance(length)?;
        match self.current.as_mut().and_then(|current| current.writing.as_mut()) {
            Some(writing) => {
                writing.take(content, at).or_else(|failure| self.fail_current(failure))
            }
            None => Ok(()),
        }
    }

    pub(super) fn on_packed(&mut self, length: u32, packed: &[u8]) -> Result<(), TransferError> {
        if !self.options.compress {
            return Err(TransferError::Protocol("it packs what was to come as it is"));
        }
        self.tally.crossed(length.into(), packed.len());
        // What is announced is the limit of what it expands to.
        let at = self.advance(length.into())?;
        let Some(writing) = self.current.as_mut().and_then(|current| current.writing.as_mut())
        else {
            return Ok(());
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let content = self.unpacker.unpack(packed, length)?;
        writing.take(content, at).or_else(|failure| self.fail_current(failure))
    }

    pub(super) fn on_hole(&mut self, length: u64) -> Result<(), TransferError> {
        if length > limits::HOLE {
            return Err(TransferError::Protocol("a hole is longer than one message may say"));
        }
        self.advance(length)?;
        self.tally.passed(length);
        if let Some(writing) = self.current.as_mut().and_then(|current| current.writing.as_mut()) {
            add_zeros(&mut writing.digest, length);
            writing.ends_in_hole = true;
        }
        Ok(())
    }

    /// Counts content that comes, and returns where it begins.
    pub(super) fn advance(&mut self, length: u64) -> Result<u64, TransferError> {
        let Some(current) = &mut self.current else {
            return Err(TransferError::Protocol("content comes for no file"));
        };
        let at = current.at;
        match at.checked_add(length) {
            Some(end) if end <= current.opening.size => current.at = end,
            _ => return Err(TransferError::Protocol("more content comes than was announced")),
        }
        Ok(at)
    }

    pub(super) fn on_end(&mut self, digest: [u8; 32], grew: bool) -> Result<(), TransferError> {
        let Some(current) = self.current.take() else {
            return Err(TransferError::Protocol("the content of no file ends"));
        };
        if current.at != current.opening.size {
            return Err(TransferError::Protocol("a content ends before its size"));
        }
        add_content(&mut self.contents, current.index, &digest);
        let Some(mut writing) = current.writing else {
            return Ok(());
        };
        let opening = current.opening;
        self.known = self.known.saturating_sub(std::mem::take(&mut writing.pending.known));
        match self.complete(&opening, &writing, &digest) {
            Ok(original) => {
                let Pending { place, name, found, notes, has_more_names, links, .. } =
                    writing.pending;
                let is_new = found.is_none() && !notes.contains(FileNotes::CONTENT);
                let action = if is_new { FileAction::Created } else { FileAction::Replaced };
                let outcome = Outcome {
                    origin: EventOrigin::Announced,
                    action,
                    notes: notes.with_if(grew, FileNotes::GREW),
                    bytes: opening.size,
                    digest: Some(digest),
                    failure: None,
                };
                self.settle(current.index, &place.path(&name), FileKind::File, outcome)?;
                let mut file = Named { place: Rc::clone(&place), name, original };
                self.make_waiting(links, Ok(&mut file))?;
                if has_more_names {
                    self.linked.insert(current.index, Linked::There(file));
                }
                self.release(&place)
            }
            Err(failure) => {
                self.remove(&writing);
                self.fail(current.index, writing.pending, failure, EventOrigin::Announced)
            }
        }
    }

    /// Checks a content, and gives the file what it is to have: its size, a place on the disk, its owner, access list,
    /// mode, attributes and times, and last its name. Returns which file it is, if it has further names.
    fn complete(
        &mut self,
        opening: &Opening,
        writing: &Writing,
        digest: &[u8; 32],
    ) -> Result<Option<Original>, Failure> {
        let Writing { pending, target, .. } = writing;
        let State::There(folder) = &pending.place.state else {
            return Err(Failure::new(FailureKind::NoSuchFile, "its folder is not there"));
        };
        if writing.digest.finalize() != *digest {
            let text = "what came has another digest than what was sent";
            return Err(Failure::new(FailureKind::Corrupt, text));
        }
        let file = target.file();
        if writing.ends_in_hole {
            target::truncate(file, opening.size)?;
        }
        let is_in_place = matches!(target, Target::InPlace(_));
        if self.options.sync {
            // This takes long. A part that is left meanwhile is known by its owner and mode.
            sync::write_to_disk(file)?;
        }
        let open = self.folders.open(folder)?;
        // What one owner has let others do is nothing of the next one's.
        let changed = |found: &&FileFacts| owner::is_changed(pending.wanted.owner, found);
        let kept = pending.found.as_ref().filter(|found| is_in_place || !changed(found));
        if let Some(found) = kept
            && !is_in_place
        {
            owner::set_owner(file, owner::of_new(pending.wanted.owner, Some(found)))?;
            let replaced = pending.wanted.replaces();
            target::keep_attributes(file, &open, &pending.name, found, replaced)?;
        }
        let is_set = sets_modes(&self.options);
        let mode = mode_of_file(opening.mode, kept, is_set, self.umask);
        self.equip(file, &pending.wanted, Some(mode & !SET_ID))?;
        if self.options.preserve {
            target::set_times(file, &opening.time.timestamps())?;
        }
        if self.options.sync {
            sync::write_to_disk(file)?;
        }
        self.maker.put(&open, target, &pending.name, pending.found.is_none())?;
        let is_linked = pending.has_more_names || !pending.links.is_empty();
        // The digest of all of it was the sender's.
        let shown = |facts: FileFacts| Original::shown(&facts);
        Ok(if is_linked { FileFacts::of(file).ok().map(shown) } else { None })
    }

    pub(super) fn on_abandon(
        &mut self,
        index: u64,
        again: bool,
        failure: Failure,
    ) -> Result<(), TransferError> {
        if index >= self.next {
            return Err(TransferError::Protocol("it abandons what was not announced"));
        }
        let pending = match self.current.take() {
            Some(current) if current.index != index => {
                return Err(TransferError::Protocol("it abandons one content within another"));
            }
            Some(current) => current.writing.map(|writing| {
                self.remove(&writing);
                writing.pending
            }),
            None => self.pending.remove(&index),
        };
        match pending {
            Some(pending) if again => {
                self.pending.insert(index, pending);
                Ok(())
            }
            Some(pending) => self.fail(index, pending, failure, EventOrigin::Source),
            None => Ok(()),
        }
    }

    /// Lets the file that is being written fail. The rest of its content passes by.
    pub(super) fn fail_current(&mut self, failure: Failure) -> Result<(), TransferError> {
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        let (index, writing) = (current.index, current.writing.take());
        match writing {
            Some(writing) => {
                self.remove(&writing);
                self.fail(index, writing.pending, failure, EventOrigin::Announced)
            }
            None => Ok(()),
        }
    }

    /// Removes the file that is being written, if it has a name of ours.
    pub(super) fn remove_current(&mut self) {
        if let Some(writing) = self.current.take().and_then(|current| current.writing) {
            self.remove(&writing);
        }
    }

    fn remove(&mut self, writing: &Writing) {
        if let State::There(folder) = &writing.pending.place.state
            && let Ok(open) = self.folders.open(folder)
        {
            writing.target.remove(&open);
        }
    }

    /// Settles a file that has failed, with the names that wait for it.
    pub(super) fn fail(
        &mut self,
        index: u64,
        pending: Pending,
        failure: Failure,
        origin: EventOrigin,
    ) -> Result<(), TransferError> {
        let Pending { place, name, links, has_more_names, offer, known, .. } = pending;
        self.known = self.known.saturating_sub(known);
        if let Some(offer) = offer {
            self.withdraw(&place, &offer);
        }
        let kind = failure.kind;
        if has_more_names {
            self.linked.insert(index, Linked::Failed(kind));
        }
        let outcome = Outcome { origin, ..Outcome::failed(failure) };
        self.settle(index, &place.path(&name), FileKind::File, outcome)?;
        self.make_waiting(links, Err(kind))?;
        self.release(&place)
    }
}
