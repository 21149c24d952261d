//! The content of one file: opened and looked at again, compared with what the receiver has of it, read to the size
//! that it had when it was opened, and looked at once more.

use std::{
    io::Write,
    os::fd::{AsFd as _, OwnedFd},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use super::{Met, Sender, known::Known};
use crate::{
    content::digest::{add_content, add_zeros},
    facts::{self, FileFacts, Sort},
    failure::{Failure, FailureKind, TransferError},
    limits,
    report::Tally,
    wire::ToReceiver,
};

/// The magic numbers of file systems that do not say how large their files are: proc and sysfs.
const UNSIZED: [u64; 2] = [0x9fa0, 0x6265_6572];

/// A file whose content is wanted.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) index: u64,
    pub(super) part: Option<Part>,
}

/// What the receiver has of a file: the digest of each `step` bytes.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) length: u64,
    pub(super) step: u64,
    pub(super) digests: Vec<[u8; 32]>,
}

/// How an attempt to send a content ended.
pub(super) enum Attempt {
    Sent {
        size: u64,
        digest: [u8; 32],
        grew: bool,
    },
    /// The receiver does not want it any more.
    Declined,
    /// It cannot be sent. A file that was rewritten meanwhile is tried once more.
    Failed(Failure),
}

/// A file that is open for reading.
pub(super) struct Opened {
    file: OwnedFd,
    facts: FileFacts,
    /// The content of a file whose size is not known before it was read.
    held: Option<Vec<u8>>,
}

/// A file that is being sent: how far, and the digest of that much.
pub(super) struct Reading {
    pub(super) opened: Opened,
    pub(super) digest: blake3::Hasher,
    pub(super) at: u64,
}

impl<W: Write> Sender<'_, W> {
    /// Sends the content of a file, or says why it does not come.
    pub(super) fn send_content(&mut self, wanted: &Wanted) -> Result<(), TransferError> {
        let index = wanted.index;
        if self.options.dry_run {
            return self.say_whether_it_opens(index);
        }
        let known = self.pending.get_mut(&index).and_then(|pending| pending.known.take());
        let digests = known.as_ref().map_or(0, |known| known.digests);
        if let Some(packer) = &mut self.packer {
            packer.begin();
        }
        // What was rewritten is sent as a whole.
        for (known, is_last) in [(known, false), (None, true)] {
            let attempt = self.try_content(wanted, known, is_last)?;
            if !is_last {
                // Before the receiver hears that there is room for more.
                self.answers.release(digests);
            }
            match attempt {
                Attempt::Sent { size, digest, grew } => {
                    add_content(&mut self.contents, index, &digest);
                    if let Some(pending) = self.pending.get_mut(&index) {
                        pending.sent = Some((size, digest));
                    }
                    return self.say(&ToReceiver::End { digest, grew });
                }
                Attempt::Declined => {
                    let failure = Failure::new(FailureKind::Io, "it is not wanted any more");
                    return self.say(&ToReceiver::Abandon { index, again: false, failure });
                }
                Attempt::Failed(failure) => {
                    let again = failure.kind == FailureKind::Changed && !is_last;
                    if let Some(pending) = self.pending.get_mut(&index) {
                        pending.is_abandoned = !again;
                    }
                    self.say(&ToReceiver::Abandon { index, again, failure })?;
                    if !again {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Opens a file in a dry run, and says that its content would begin, or why it would not come.
    fn say_whether_it_opens(&mut self, index: u64) -> Result<(), TransferError> {
        let Some(pending) = self.pending.get_mut(&index) else {
            return Ok(());
        };
        let opened = self.folders.open(&pending.met.folder);
        let opened = opened.and_then(|folder| open(&folder, &pending.met));
        let opened = opened
            .and_then(|opened| may_read(&mut self.tally, &pending.met, &opened).map(|()| opened));
        match opened {
            Ok(Opened { facts: FileFacts { stored, mode, time, .. }, .. }) => {
                // As it was announced: so both ends count the same.
                let size = pending.met.facts.map_or(0, |facts| facts.size);
                self.say(&ToReceiver::Begin { index, offset: 0, size, stored, mode, time })
            }
            Err(failure) => {
                pending.is_abandoned = true;
                self.say(&ToReceiver::Abandon { index, again: false, failure })
            }
        }
    }

    fn try_content(
        &mut self,
        wanted: &Wanted,
        mut known: Option<Known>,
        is_last: bool,
    ) -> Result<Attempt, TransferError> {
        let index = wanted.index;
        let Some(pending) = self.pending.get_mut(&index) else {
            return Ok(Attempt::Declined);
        };
        let opened = self.folders.open(&pending.met.folder).and_then(|folder| {
            if is_last {
                let now = FileFacts::at(&folder, &pending.met.entry);
                pending.met.facts = Some(now.map_err(|error| when_gone(error, "look at it"))?);
            }
            open(&folder, &pending.met)
        });
        let opened = opened
            .and_then(|opened| may_read(&mut self.tally, &pending.met, &opened).map(|()| opened));
        let opened = match opened {
            Ok(opened) => opened,
            Err(failure) => return Ok(Attempt::Failed(failure)),
        };
        let mut digest = blake3::Hasher::new();
        let part = wanted.part.as_ref().filter(|_| !is_last);
        let offset = match part.map_or(Ok(0), |part| same_part(&opened, part, &mut digest)) {
            Ok(offset) => offset,
            Err(failure) => return Ok(Attempt::Failed(failure)),
        };
        let facts = opened.facts;
        self.say(&ToReceiver::Begin {
            index,
            offset,
            size: facts.size,
            stored: facts.stored,
            mode: facts.mode,
            time: facts.time,
        })?;
        self.tally.passed(offset);
        let mut reading = Reading { opened, digest, at: offset };
        while reading.at < facts.size {
            let (hole, end) = match next_data(&reading.opened, reading.at) {
                Ok(found) => found,
                Err(error) => return Ok(Attempt::Failed(Failure::of(error, "read it"))),
            };
            while reading.at < hole {
                if let Some(ended) = self.is_over(index)? {
                    return Ok(ended);
                }
                let length = (hole - reading.at).min(limits::HOLE);
                self.say(&ToReceiver::Hole(length))?;
                add_zeros(&mut reading.digest, length);
                self.tally.passed(length);
                reading.at += length;
            }
            if let Some(ended) = self.send_span(index, &mut reading, end, known.as_mut())? {
                return Ok(ended);
            }
        }
        let Reading { opened, digest, .. } = reading;
        let grew = match opened.how_it_is_now() {
            Ok(grew) => grew,
            Err(failure) => return Ok(Attempt::Failed(failure)),
        };
        Ok(Attempt::Sent { size: facts.size, digest: digest.finalize().into(), grew })
    }

    /// Takes the answers that have come, and returns how the sending ends if one of them ends it.
    pub(super) fn is_over(&mut self, index: u64) -> Result<Option<Attempt>, TransferError> {
        self.cancel.check()?;
        while let Some(answer) = self.answers.try_next()? {
            self.take(answer)?;
        }
        let is_declined = self.stopped || !self.pending.contains_key(&index);
        Ok(is_declined.then_some(Attempt::Declined))
    }

    /// Returns the digest of a file if the receiver is to compare it.
    pub(super) fn digest_of(&mut self, met: &Met) -> Result<Option<[u8; 32]>, Failure> {
        if !self.options.checksum {
            return Ok(None);
        }
        let folder = self.folders.open(&met.folder)?;
        let opened = open(&folder, met)?;
        may_read(&mut self.tally, met, &opened)?;
        let mut digest = blake3::Hasher::new();
        let mut room = vec![0; limits::room_for(opened.facts.size)];
        let mut at = 0;
        loop {
            if self.cancel.check().is_err() {
                return Err(Failure::new(FailureKind::Io, "the transfer was cancelled"));
            }
            // What grows meanwhile is read up to the size that was announced.
            let left = usize::try_from(opened.facts.size.saturating_sub(at)).unwrap_or(usize::MAX);
            let most = left.min(room.len());
            let read = opened.read(room.get_mut(..most).unwrap_or_default(), at);
            let count = read.map_err(|error| Failure::of(error, "read it"))?;
            if count == 0 {
                return Ok(Some(digest.finalize().into()));
            }
            digest.update(room.get(..count).unwrap_or_default());
            at += u64::try_from(count).unwrap_or_default();
        }
    }
}

impl Opened {
    /// Reads from a place of the file.
    pub(super) fn read(&self, room: &mut [u8], at: u64) -> Result<usize, Errno> {
        let Some(held) = &self.held else {
            return retried(|| rustix::io::pread(&self.file, &mut *room, at));
        };
        let rest = usize::try_from(at).ok().and_then(|at| held.get(at..)).unwrap_or_default();
        let count = rest.len().min(room.len());
        if let (Some(to), Some(from)) = (room.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }

    /// Returns whether the file only grew while it was read.
    ///
    /// # Errors
    /// It was rewritten or became shorter: `changed`.
    fn how_it_is_now(&self) -> Result<bool, Failure> {
        if self.held.is_some() {
            return Ok(false);
        }
        let now = FileFacts::of(&self.file).map_err(|error| Failure::of(error, "look at it"))?;
        match (now.size.cmp(&self.facts.size), now.time == self.facts.time) {
            (std::cmp::Ordering::Greater, _) => Ok(true),
            (std::cmp::Ordering::Equal, true) => Ok(false),
            (std::cmp::Ordering::Equal, false) => Err(changed("it was rewritten")),
            (std::cmp::Ordering::Less, _) => Err(changed("it became shorter")),
        }
    }
}

/// Opens a file that was met, and checks that it is the one. Whatever stands there now, opening it does not wait.
fn open(folder: &OwnedFd, met: &Met) -> Result<Opened, Failure> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, &*met.entry, flags, Mode::empty());
    let file = file.map_err(|error| when_gone(error, "open it"))?;
    let mut facts = FileFacts::of(&file).map_err(|error| Failure::of(error, "look at it"))?;
    if facts.sort != Sort::File || met.facts.is_some_and(|met| met.id != facts.id) {
        return Err(changed("something else took its place"));
    }
    let mut held = None;
    if facts.stored == 0 && is_unsized(&file) {
        let content = read_unsized(&file)?;
        facts.size = u64::try_from(content.len()).unwrap_or_default();
        held = Some(content);
    }
    Ok(Opened { file, facts, held })
}

/// Asks whether a file that was opened may be read, if it is a source itself: it may be larger than when it was judged.
fn may_read(tally: &mut Tally<'_>, met: &Met, opened: &Opened) -> Result<(), Failure> {
    match met.is_source {
        true => tally.may_read(&met.path(), opened.file.as_fd(), opened.facts.size),
        false => Ok(()),
    }
}

pub(super) fn changed(message: &str) -> Failure {
    Failure::new(FailureKind::Changed, format!("{message} while it was read"))
}

/// Returns the failure of a file that was listed: that it is gone is none, and a link where it was is a change.
fn when_gone(error: Errno, action: &str) -> Failure {
    match error {
        Errno::NOENT => Failure::new(FailureKind::Vanished, "it went away before it was opened"),
        Errno::LOOP | Errno::NXIO => changed("something else took its place"),
        error => Failure::of(error, action),
    }
}

fn is_unsized(file: &OwnedFd) -> bool {
    let Ok(system) = rustix::fs::fstatfs(file) else {
        return false;
    };
    u64::try_from(system.f_type).is_ok_and(|magic| UNSIZED.contains(&magic))
}

/// Reads a file to its end, whatever its size is said to be.
fn read_unsized(file: &OwnedFd) -> Result<Vec<u8>, Failure> {
    let mut content = Vec::new();
    let mut room = vec![0; 64 * 1024];
    loop {
        let read = retried(|| rustix::io::read(file, &mut *room));
        let count = read.map_err(|error| Failure::of(error, "read it"))?;
        if count == 0 {
            return Ok(content);
        }
        content.extend_from_slice(room.get(..count).unwrap_or_default());
        if content.len() > limits::UNSIZED {
            let text = format!("it has no size and more than {} bytes", limits::UNSIZED);
            return Err(Failure::new(FailureKind::TooBig, text));
        }
    }
}

/// Returns where the next data of a file begins and ends. Before it is a hole.
fn next_data(opened: &Opened, at: u64) -> Result<(u64, u64), Errno> {
    let size = opened.facts.size;
    if opened.held.is_some() || opened.facts.stored >= size {
        return Ok((at, size));
    }
    facts::next_data(&opened.file, at, size)
}

/// Returns how much of what the receiver has is the same here, and adds that much to a digest.
fn same_part(opened: &Opened, part: &Part, digest: &mut blake3::Hasher) -> Result<u64, Failure> {
    let mut room = vec![0; limits::DATA];
    let mut same: u64 = 0;
    for expected in &part.digests {
        let end = same.saturating_add(part.step).min(part.length);
        if end > opened.facts.size {
            break;
        }
        let (mut longer, mut range) = (digest.clone(), blake3::Hasher::new());
        let mut at = same;
        while at < end {
            let most = usize::try_from(end - at).unwrap_or(usize::MAX).min(room.len());
            let read = opened.read(room.get_mut(..most).unwrap_or_default(), at);
            let count = read.map_err(|error| Failure::of(error, "read it"))?;
            if count == 0 {
                return Ok(same);
            }
            let read = room.get(..count).unwrap_or_default();
            range.update(read);
            longer.update(read);
            at += u64::try_from(count).unwrap_or_default();
        }
        if range.finalize() != *expected {
            break;
        }
        (*digest, same) = (longer, end);
    }
    Ok(same)
}

/// Repeats a call that a signal has interrupted.
fn retried<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
}
