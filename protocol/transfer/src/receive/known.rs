//! What is there of a file that is to be replaced: the sender is told of its chunks, and says which of them to copy.

use std::{
    fs::File,
    io::Write,
    os::fd::{AsFd as _, OwnedFd},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use super::{Receiver, pending::Pending, place::State};
use crate::{
    content::chunks::{self, Cutter},
    facts::{self, FileFacts, FileId, Sort},
    failure::{Failure, FailureKind, TransferError},
    limits,
    wire::ToSender,
};

impl<W: Write> Receiver<'_, W> {
    /// Asks for the content of a file, and announces what is there of it; later, if the sender knows of as many chunks
    /// by now as it holds.
    pub(super) fn want(
        &mut self,
        index: u64,
        size: u64,
        mut pending: Pending,
    ) -> Result<(), TransferError> {
        if self.options.dry_run {
            // The sender opens it, and sends nothing of it.
            self.pending.insert(index, pending);
            return self.say(&ToSender::Need { index });
        }
        if let Some(there) = self.compares(size, &pending) {
            let together = self.known + chunks::most_for(there);
            if self.known > 0 && together > self.chunks_at_once {
                self.pending.insert(index, pending);
                self.deferred.push_back((index, size));
                return Ok(());
            }
            self.tell_chunks(index, there, &mut pending)?;
        }
        let offered = self.offer(index, size, &mut pending);
        self.pending.insert(index, pending);
        self.say(&offered.unwrap_or(ToSender::Need { index }))
    }

    /// Asks for the contents of files for which there was no room.
    pub(super) fn want_deferred(&mut self) -> Result<(), TransferError> {
        while let Some((index, size)) = self.deferred.pop_front() {
            let Some(pending) = self.pending.remove(&index) else {
                continue;
            };
            let before = self.deferred.len();
            self.want(index, size, pending)?;
            if self.deferred.len() > before {
                // It is the first of those that wait still.
                self.deferred.rotate_right(1);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Returns the size of the file that is there, if the sender is to be told of its chunks.
    fn compares(&self, size: u64, pending: &Pending) -> Option<u64> {
        let there = pending.found.as_ref()?.size;
        let is_worth_it = size >= limits::LARGE
            && there >= limits::COMPARED
            && there / limits::COMPARED_TIMES <= size;
        (self.tells_chunks && is_worth_it).then_some(there)
    }

    /// Announces the chunks of the file that is there to the sender, but none of what cannot be read.
    fn tell_chunks(
        &mut self,
        index: u64,
        there: u64,
        pending: &mut Pending,
    ) -> Result<(), TransferError> {
        let Some(file) = self.open_old(pending) else {
            return Ok(());
        };
        let average = chunks::average_for(there);
        let (most, mut cutter) = (chunks::most_for(there), Cutter::new(average));
        let mut at = 0;
        while let Ok((mut offset, end)) = facts::next_data(&file, at, there)
            && offset < end
            && pending.known < most
        {
            cutter.begin();
            let (mut ahead, mut told) = (offset, Vec::new());
            loop {
                self.cancel.check()?;
                let room_left = pending.known < most;
                let chunk = cutter.next(|room| {
                    let most = usize::try_from(end - ahead).unwrap_or(usize::MAX).min(room.len());
                    let room = room.get_mut(..most).unwrap_or_default();
                    let count =
                        rustix::io::retry_on_intr(|| rustix::io::pread(&file, &mut *room, ahead))?;
                    ahead += u64::try_from(count).unwrap_or_default();
                    Ok::<_, Errno>(count)
                });
                let chunk = chunk.ok().flatten().filter(|_| room_left);
                let is_last = chunk.is_none();
                if let Some(chunk) = chunk {
                    told.push((
                        u32::try_from(chunk.len()).unwrap_or(u32::MAX),
                        chunks::digest_of(chunk),
                    ));
                    pending.known += 1;
                    self.known += 1;
                }
                if !told.is_empty() && (is_last || told.len() >= limits::CHUNKS_IN_MESSAGE) {
                    let chunks = std::mem::take(&mut told);
                    let length: u64 = chunks.iter().map(|(length, _)| u64::from(*length)).sum();
                    self.say(&ToSender::Known { index, average, offset, chunks })?;
                    offset += length;
                }
                if is_last {
                    break;
                }
            }
            at = end;
        }
        Ok(())
    }

    /// Opens the file that is to be replaced, if it is the one that was found, and may be read.
    fn open_old(&mut self, pending: &Pending) -> Option<File> {
        let State::There(folder) = &pending.place.state else {
            return None;
        };
        let folder = self.folders.open(folder).ok()?;
        let file = open_found(&folder, &pending.name, pending.found.as_ref()?.id)?;
        let size = FileFacts::of(&file).ok()?.size;
        let path = pending.place.path(&pending.name);
        self.tally.may_read(&path, file.as_fd(), size).ok()?;
        Some(file)
    }

    /// Copies a range of the file that is to be replaced.
    pub(super) fn on_copy(&mut self, offset: u64, length: u64) -> Result<(), TransferError> {
        let at = self.advance(length)?;
        self.tally.crossed(length, 0);
        let Some(writing) = self.current.as_mut().and_then(|current| current.writing.as_mut())
        else {
            return Ok(());
        };
        if writing.pending.known == 0 {
            return Err(TransferError::Protocol("it copies from a file that it was not told of"));
        }
        let mut old = writing.old.take();
        if old.is_none()
            && let State::There(folder) = &writing.pending.place.state
            && let Some(found) = &writing.pending.found
        {
            let folder = self.folders.open(folder).ok();
            old = folder.and_then(|folder| open_found(&folder, &writing.pending.name, found.id));
        }
        let copied = match &old {
            Some(old) => writing.copy(old, offset, length, at),
            None => Err(Failure::new(FailureKind::Changed, "another file took its place")),
        };
        writing.old = old;
        copied.or_else(|failure| self.fail_current(failure))
    }
}

/// Opens a file that was found, to read it.
fn open_found(folder: &OwnedFd, name: &[u8], id: FileId) -> Option<File> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, name, flags, Mode::empty()).ok()?;
    let facts = FileFacts::of(&file).ok()?;
    (facts.sort == Sort::File && facts.id == id).then(|| file.into())
}
