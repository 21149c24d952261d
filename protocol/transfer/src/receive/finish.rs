//! The end of folders, and of the transfer.

use std::{io::Write, rc::Rc};

use rustix::io::Errno;

use super::{
    Receiver, made,
    metadata::sets_modes,
    owner,
    place::{Place, State},
    target,
};
use crate::{
    beneath::opened_anew,
    content::digest::digest_of_all,
    facts::{FileFacts, PLAIN, SET_ID},
    failure::{Failure, TransferError},
    report::{Counts, FileAction, FileKind, Summary},
    wire::ToSender,
};

impl<W: Write> Receiver<'_, W> {
    /// Counts something in a place as done, and finishes the place if that was the last, and so on upwards.
    pub(super) fn release(&mut self, place: &Rc<Place>) -> Result<(), TransferError> {
        let mut place = Rc::clone(place);
        loop {
            place.busy.set(place.busy.get().saturating_sub(1));
            if place.busy.get() > 0 {
                return Ok(());
            }
            if let Err(failure) = self.finish_place(&place) {
                let path = place.path(b"");
                self.tell(path, FileKind::Folder, FileAction::Failed, Some(failure))?;
            }
            match &place.above {
                Some(above) => place = Rc::clone(above),
                None => return Ok(()),
            }
        }
    }

    /// Sets the permission bits and times that a folder is to have, or judges in a dry run whether they could be set.
    pub(super) fn finish_place(&mut self, place: &Place) -> Result<(), Failure> {
        let State::There(folder) = &place.state else {
            return Ok(());
        };
        let is_bound = self.unfinished.remove(&folder.id()) == Some(true);
        let wanted = match (place.is_made, place.keeps) {
            (true, _) if !sets_modes(&self.options) => Some(place.mode & !self.umask),
            (true, _) => Some(place.mode),
            (false, false) if sets_modes(&self.options) => Some(place.mode),
            (false, _) => None,
        };
        let restored = place.restore.take();
        let times = self.options.preserve && (place.is_made || !place.keeps);
        let wants_owner = place.owner != (None, None);
        if wanted.is_none() && restored.is_none() && !wants_owner && !self.options.sync {
            return Ok(());
        }
        let open = self.folders.open(folder)?;
        let facts = FileFacts::of(&open).map_err(|error| Failure::of(error, "look at it"))?;
        if self.options.dry_run {
            let sets_mode = wanted.is_some_and(|mode| mode & PLAIN != facts.mode & PLAIN);
            let is_set = sets_mode || times && facts.time != place.time;
            return if is_set { self.judge_own(&facts) } else { Ok(()) };
        }
        if is_bound {
            made::unbind(&open);
        }
        if times && facts.time != place.time {
            target::set_times(&open, &place.time.timestamps())?;
        }
        owner::set_owner(&open, place.owner)?;
        // A folder inherits the setgid bit from the one above; it does not get the source's.
        let wanted = wanted.map(|mode| mode & PLAIN | facts.mode & SET_ID & 0o2000);
        if let Some(mode) = wanted.or(restored)
            && mode != facts.mode
        {
            target::set_mode(&open, mode)?;
        }
        if self.options.sync {
            let synced = match rustix::fs::fsync(&open) {
                // It is one of `O_PATH`: what may not be read cannot be synced.
                Err(Errno::BADF) => match opened_anew(&open) {
                    Err(Errno::ACCESS) => Ok(()),
                    opened => opened.and_then(rustix::fs::fsync),
                },
                synced => synced,
            };
            synced.map_err(|error| Failure::of(error, "sync the folder"))?;
        }
        Ok(())
    }

    /// Makes a folder writable for as long as entries for it come, if it is this account's own.
    pub(super) fn make_writable(&mut self, place: &Place) -> Result<(), Failure> {
        let is_writable = place.is_made || place.found_mode & 0o700 == 0o700;
        if is_writable || !place.is_own || self.account == 0 || place.restore.get().is_some() {
            return Ok(());
        }
        let State::There(folder) = &place.state else {
            return Ok(());
        };
        let open = self.folders.open(folder)?;
        target::set_mode(&open, place.found_mode | 0o700)?;
        place.restore.set(Some(place.found_mode));
        // It may have been opened without the permission to read it.
        self.folders.close(folder);
        Ok(())
    }

    /// Compares the accounts of both ends, deletes what is to be deleted, and ends the transfer.
    pub(super) fn finish(
        &mut self,
        entries: u64,
        digest: [u8; 32],
        stopped: bool,
    ) -> Result<Summary, TransferError> {
        self.stopped |= stopped;
        if entries != self.next {
            return Err(TransferError::Differs("the number of entries"));
        }
        if digest != digest_of_all(&self.entries, &self.contents) {
            return Err(TransferError::Differs("the digest"));
        }
        let is_open = !self.pending.is_empty() || self.places.len() > 1 || self.current.is_some();
        if is_open && !self.stopped {
            return Err(TransferError::Protocol("it ended before all was sent"));
        }
        self.drop_unsent()?;
        let withheld = self.delete_all()?;
        if let Some(top) = self.places.pop()
            && let Err(failure) = self.finish_place(&top)
        {
            self.tell(Vec::new(), FileKind::Folder, FileAction::Failed, Some(failure))?;
        }
        let counts: Counts = self.tally.counts;
        self.say(&ToSender::Done { counts, digest, withheld })?;
        self.writer.flush()?;
        let crossed = self.tally.progress.crossed;
        Ok(Summary { counts, crossed, digest, stopped: self.stopped, withheld })
    }

    /// Lets go of what a sender that was stopped has announced and does not send.
    fn drop_unsent(&mut self) -> Result<(), TransferError> {
        self.current = None;
        for (_, pending) in std::mem::take(&mut self.pending) {
            for link in pending.links {
                self.release(&link.place)?;
            }
            self.release(&pending.place)?;
        }
        while self.places.len() > 1 {
            if let Some(place) = self.places.pop() {
                self.release(&place)?;
            }
        }
        Ok(())
    }
}
