//! The data of a file between two holes: as it is, packed, or only what differs from the file that is replaced.

use std::io::Write;

use rustix::io::Errno;

use super::{
    Sender,
    content::{Attempt, Reading, changed},
    known::Known,
};
use crate::{
    content::chunks,
    failure::{Failure, TransferError},
    limits,
    wire::ToReceiver,
};

impl Reading {
    /// Reads on, up to a place, into the room that there is.
    fn read(&mut self, room: &mut [u8], end: u64) -> Result<usize, Attempt> {
        let most = usize::try_from(end - self.at).unwrap_or(usize::MAX).min(room.len());
        let room = room.get_mut(..most).unwrap_or_default();
        match self.opened.read(room, self.at) {
            Ok(0) => Err(Attempt::Failed(changed("it became shorter"))),
            Ok(count) => {
                self.take(room.get(..count).unwrap_or_default());
                Ok(count)
            }
            Err(error) => Err(unread(error)),
        }
    }

    /// Counts what was read.
    fn take(&mut self, content: &[u8]) {
        self.digest.update(content);
        self.at += u64::try_from(content.len()).unwrap_or_default();
    }
}

/// A range of the file that is replaced, which is copied at the destination.
#[derive(Clone, Copy)]
struct Range {
    offset: u64,
    length: u64,
}

impl Range {
    /// Makes it longer by another one, if that begins at its end.
    fn join(&mut self, other: Self) -> bool {
        let is_next = self.offset + self.length == other.offset;
        let fits = is_next && self.length + other.length <= limits::COPY;
        self.length += if fits { other.length } else { 0 };
        fits
    }
}

impl<W: Write> Sender<'_, W> {
    /// Sends the data of a file from where its reading is up to a place. Returns how the sending ends, if it does there.
    pub(super) fn send_span(
        &mut self,
        index: u64,
        reading: &mut Reading,
        end: u64,
        known: Option<&mut Known>,
    ) -> Result<Option<Attempt>, TransferError> {
        match known {
            Some(known) => self.send_differing(index, reading, end, known),
            None if self.packer.is_some() => self.send_packed(index, reading, end),
            None => self.send_as_it_is(index, reading, end),
        }
    }

    /// Sends data that is read to where it is sent from.
    fn send_as_it_is(
        &mut self,
        index: u64,
        reading: &mut Reading,
        end: u64,
    ) -> Result<Option<Attempt>, TransferError> {
        while reading.at < end {
            if let Some(ended) = self.is_over(index)? {
                return Ok(Some(ended));
            }
            match self.writer.send_data(limits::DATA, |room| reading.read(room, end))? {
                Ok(count) => self.tally.crossed(u64::try_from(count).unwrap_or_default(), count),
                Err(ended) => return Ok(Some(ended)),
            }
        }
        Ok(None)
    }

    fn send_packed(
        &mut self,
        index: u64,
        reading: &mut Reading,
        end: u64,
    ) -> Result<Option<Attempt>, TransferError> {
        while reading.at < end {
            if let Some(ended) = self.is_over(index)? {
                return Ok(Some(ended));
            }
            let mut room = std::mem::take(&mut self.room);
            room.resize(limits::DATA, 0);
            let sent = match reading.read(&mut room, end) {
                Ok(count) => self.send_piece(room.get(..count).unwrap_or_default()).map(|()| None),
                Err(ended) => Ok(Some(ended)),
            };
            self.room = room;
            if let Some(ended) = sent? {
                return Ok(Some(ended));
            }
        }
        Ok(None)
    }

    /// Sends the chunks that the receiver does not know, and where it finds the others.
    fn send_differing(
        &mut self,
        index: u64,
        reading: &mut Reading,
        end: u64,
        known: &mut Known,
    ) -> Result<Option<Attempt>, TransferError> {
        let (cutter, found) = known.parts();
        cutter.begin();
        let mut ahead = reading.at;
        // At most one of the two has something.
        let (mut copy, mut new): (Option<Range>, Vec<u8>) = (None, Vec::new());
        loop {
            if let Some(ended) = self.is_over(index)? {
                return Ok(Some(ended));
            }
            let opened = &reading.opened;
            let chunk = cutter.next(|room| {
                let most = usize::try_from(end - ahead).unwrap_or(usize::MAX).min(room.len());
                let count = opened.read(room.get_mut(..most).unwrap_or_default(), ahead)?;
                ahead += u64::try_from(count).unwrap_or_default();
                Ok::<_, Errno>(count)
            });
            let chunk = match chunk {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(error) => return Ok(Some(unread(error))),
            };
            reading.take(chunk);
            let length = u64::try_from(chunk.len()).unwrap_or_default();
            let there = found.get(&chunks::digest_of(chunk));
            match there.filter(|(_, expected)| u64::from(*expected) == length) {
                Some((offset, _)) => {
                    self.send_new(&mut new)?;
                    let range = Range { offset: *offset, length };
                    if !copy.as_mut().is_some_and(|copy| copy.join(range)) {
                        self.send_copy(copy.replace(range))?;
                    }
                }
                None => {
                    self.send_copy(copy.take())?;
                    new.extend_from_slice(chunk);
                    if new.len() >= limits::DATA {
                        self.send_new(&mut new)?;
                    }
                }
            }
        }
        self.send_copy(copy)?;
        self.send_new(&mut new)?;
        let is_short = reading.at < end;
        Ok(is_short.then(|| Attempt::Failed(changed("it became shorter"))))
    }

    fn send_copy(&mut self, copy: Option<Range>) -> Result<(), TransferError> {
        if let Some(Range { offset, length }) = copy {
            self.say(&ToReceiver::Copy { offset, length })?;
            self.tally.crossed(length, 0);
        }
        Ok(())
    }

    fn send_new(&mut self, new: &mut Vec<u8>) -> Result<(), TransferError> {
        for piece in new.chunks(limits::DATA) {
            self.send_piece(piece)?;
        }
        new.clear();
        Ok(())
    }

    /// Sends content, packed if that is wanted and makes it smaller.
    fn send_piece(&mut self, content: &[u8]) -> Result<(), TransferError> {
        let packed = self.packer.as_mut().and_then(|packer| packer.pack(content));
        let (message, crossed) = match packed {
            Some(packed) => {
                let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
                (ToReceiver::Packed { length, packed }, packed.len())
            }
            None => (ToReceiver::Data(content), content.len()),
        };
        message.encode(&mut self.body);
        self.writer.send(&self.body)?;
        self.tally.crossed(u64::try_from(content.len()).unwrap_or_default(), crossed);
        Ok(())
    }
}

fn unread(error: Errno) -> Attempt {
    Attempt::Failed(Failure::of(error, "read it"))
}
