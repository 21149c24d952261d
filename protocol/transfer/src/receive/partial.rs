//! Parts of files that an earlier transfer left, and what the sender needs to know to go on with them.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, Write},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::FileExt as _,
    },
    rc::{Rc, Weak},
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::{
    fs::{AtFlags, FlockOperation, Mode, OFlags},
    io::Errno,
};

use super::{
    Receiver,
    pending::{Offer, OfferedPart, Pending},
    place::{Place, State},
    sticky, target,
};
use crate::{
    beneath::opened_anew,
    facts::{FileFacts, Sort},
    failure::{Failure, FailureKind},
    limits, list, name,
    transfer::Cancel,
    wire::ToSender,
};

impl<W: Write> Receiver<'_, W> {
    /// Looks for a part of a file, and returns what is said of it. Whatever fails here only means that the file comes
    /// as a whole.
    pub(super) fn offer(
        &mut self,
        index: u64,
        size: u64,
        pending: &mut Pending,
    ) -> Option<ToSender> {
        let State::There(folder) = &pending.place.state else {
            return None;
        };
        if size == 0 || self.offers >= limits::OFFERS {
            return None;
        }
        let open = self.folders.open(folder).ok()?;
        let (file, part) = match &pending.found {
            Some(_) if self.options.in_place && !self.offers_in_place => return None,
            Some(found) if self.options.in_place => {
                let file = target::open_for_writing(&open, &pending.name, Some(found)).ok()?;
                let size = FileFacts::of(&file).ok()?.size;
                let path = pending.place.path(&pending.name);
                self.tally.may_read(&path, file.as_fd(), size).ok()?;
                (file, OfferedPart::InPlace)
            }
            _ if size >= limits::LARGE => {
                self.parts.look_in(&pending.place, &open, self.account);
                self.parts.find(&open, &pending.name, self.account)?
            }
            _ => return None,
        };
        let there = FileFacts::of(&file).ok()?.size.min(size);
        let step = (there / limits::RANGES + 1).next_multiple_of(limits::RANGE);
        // The digest of a short range could be guessed: byte by byte, with lengths of the sender's choice.
        let length = there - there.checked_rem(step).unwrap_or(there);
        if length == 0 && !matches!(part, OfferedPart::Own(_)) {
            if let OfferedPart::Copied(Some(name)) = part {
                remove(&open, &name);
            }
            return None;
        }
        let digests = digests(&file, length, step, &self.cancel).ok()?;
        pending.offer = Some(Offer { file, part, length, step });
        self.offers += 1;
        (length > 0).then_some(ToSender::Resume { index, length, step, digests })
    }

    /// Withdraws a part that was offered, of a file that fails before its content has begun.
    pub(super) fn withdraw(&mut self, place: &Place, offer: &Offer) {
        self.offers = self.offers.saturating_sub(1);
        if let OfferedPart::Own(name) | OfferedPart::Copied(Some(name)) = &offer.part
            && let State::There(folder) = &place.state
            && let Ok(open) = self.folders.open(folder)
        {
            remove(&open, name);
        }
    }
}

/// The partial files of the folder that the last large file came into. It is listed once for all that come into it in a
/// row: each may be one of many thousands.
#[derive(Default)]
pub(super) struct Parts {
    place: Weak<Place>,
    /// Others may put files there under any name, which they may have open.
    is_shared: bool,
    /// The groups that what is made there may have.
    groups: [u32; 2],
    names: Vec<Vec<u8>>,
}

impl Parts {
    /// Looks for the partial files of a place, unless they are those that are known, and removes those that are too
    /// old.
    fn look_in(&mut self, place: &Rc<Place>, folder: &OwnedFd, account: u32) {
        if std::ptr::eq(self.place.as_ptr(), Rc::as_ptr(place)) {
            return;
        }
        self.place = Rc::downgrade(place);
        self.names.clear();
        let facts = FileFacts::of(folder).ok();
        self.is_shared = facts.as_ref().is_none_or(|facts| sticky::is_shared(facts, account));
        let group = rustix::process::getegid().as_raw();
        self.groups = [group, facts.map_or(group, |facts| facts.owner.1)];
        // That of a destination may be one of `O_PATH`.
        let Ok(listed) = opened_anew(folder) else {
            return;
        };
        let mut from = Some(0);
        while let Some(at) = from {
            let Ok(found) = list::names(&listed, at, limits::LISTED_AT_LEAST * 64) else {
                break;
            };
            let room = limits::PARTIALS.saturating_sub(self.names.len());
            let partial = found.names.into_iter().filter(|name| name::is_partial(name));
            self.names.extend(partial.take(room));
            from = found.next.filter(|_| self.names.len() < limits::PARTIALS);
        }
        self.names.retain(|name| match open_partial(folder, name, account) {
            Opened::Free(_, facts) if is_stale(&facts) => {
                remove(folder, name);
                false
            }
            _ => true,
        });
    }

    /// Finds a partial file of a file. One that nobody writes is taken, the longest of several; the others are removed.
    /// Of one that another transfer writes, which may wait for a client that was killed, the content is copied; also of
    /// one that somebody else may have made and given this account, and has open still.
    fn find(&self, folder: &OwnedFd, name: &[u8], account: u32) -> Option<(File, OfferedPart)> {
        let prefix = name::partial_prefix(name);
        let mut free: Option<(File, FileFacts, &[u8])> = None;
        let mut busy = None;
        let partials = self.names.iter().map(Vec::as_slice);
        for partial in partials.filter(|partial| partial.starts_with(&prefix)) {
            let (file, facts) = match open_partial(folder, partial, account) {
                Opened::Free(file, facts) => (file, facts),
                Opened::Busy(file) => {
                    busy = Some(file);
                    continue;
                }
                Opened::Foreign => continue,
            };
            let is_longest = free.as_ref().is_none_or(|(_, longest, _)| facts.size > longest.size);
            let removed = if facts.size == 0 {
                // An empty one is of no use, and may be one that is only just made and not locked yet.
                None
            } else if is_longest {
                free.replace((file, facts, partial)).map(|(_, _, name)| name)
            } else {
                Some(partial)
            };
            if let Some(name) = removed {
                remove(folder, name);
            }
        }
        match free {
            Some((file, facts, name)) => {
                let is_made_here = !self.is_shared && self.groups.contains(&facts.owner.1);
                let name = name.to_vec();
                let part = if is_made_here {
                    OfferedPart::Own(name)
                } else {
                    OfferedPart::Copied(Some(name))
                };
                Some((file, part))
            }
            None => busy.map(|file| (file, OfferedPart::Copied(None))),
        }
    }
}

/// Removes a partial file of a folder. Where that fails nothing more can be done; a later transfer tries again.
pub(super) fn remove(folder: &OwnedFd, partial: &[u8]) {
    let _ = rustix::fs::unlinkat(folder, partial, AtFlags::empty());
}

/// A partial file that was opened.
pub(super) enum Opened {
    /// This account's own, which nobody writes; it is locked now.
    Free(File, FileFacts),
    /// This account's own, which another transfer writes.
    Busy(File),
    /// Anything else.
    Foreign,
}

/// Opens a partial file.
pub(super) fn open_partial(folder: &OwnedFd, partial: &[u8], account: u32) -> Opened {
    let flags =
        OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::openat(folder, partial, flags, Mode::empty()) else {
        return Opened::Foreign;
    };
    let Ok(facts) = FileFacts::of(&file) else {
        return Opened::Foreign;
    };
    let is_ours = facts.sort == Sort::File
        && facts.names == 1
        && facts.owner.0 == account
        && facts.mode & 0o7177 == 0;
    if !is_ours {
        return Opened::Foreign;
    }
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Opened::Busy(file.into()),
        Err(_) => return Opened::Foreign,
    }
    // Whoever had the lock before may have given it its name, or removed it.
    match FileFacts::at(folder, partial) {
        Ok(now) if now.id == facts.id => Opened::Free(file.into(), facts),
        _ => Opened::Foreign,
    }
}

/// Returns whether a partial file is too old for its transfer to be taken up again.
pub(super) fn is_stale(facts: &FileFacts) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    now.saturating_sub(facts.time.seconds) > limits::PARTIAL_AGE
}

/// Returns the digests of each `step` bytes of a file. Fails once the transfer is to end.
fn digests(file: &File, length: u64, step: u64, cancel: &Cancel) -> io::Result<Vec<[u8; 32]>> {
    let mut room = vec![0; limits::DATA];
    let mut digests = Vec::new();
    let mut at = 0;
    while at < length {
        let end = at.saturating_add(step).min(length);
        let mut digest = blake3::Hasher::new();
        while at < end {
            if cancel.is_cancelled() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let most = usize::try_from(end - at).unwrap_or(usize::MAX).min(room.len());
            let room = room.get_mut(..most).unwrap_or_default();
            file.read_exact_at(room, at)?;
            digest.update(room);
            at += u64::try_from(most).unwrap_or(end);
        }
        digests.push(digest.finalize().into());
    }
    Ok(digests)
}

/// Copies the beginning of a part that another transfer writes. Its content is compared later, with all of the file.
///
/// # Errors
/// `changed`: it has become shorter; or the system's.
pub(super) fn copy_beginning(from: &File, to: &File, length: u64) -> Result<(), Failure> {
    let mut from = from;
    let copied = from.rewind().and_then(|()| io::copy(&mut from.take(length), &mut &*to));
    match copied {
        Ok(count) if count == length => Ok(()),
        Ok(_) => {
            let text = "the part that was there was taken back by another transfer";
            Err(Failure::new(FailureKind::Changed, text))
        }
        Err(error) => Err(Failure::of_io(&error, "copy the part that is there")),
    }
}

/// Adds the beginning of a file to a digest.
pub(super) fn add_beginning(
    file: &File,
    length: u64,
    digest: &mut blake3::Hasher,
) -> Result<(), Failure> {
    let mut room = vec![0; limits::room_for(length)];
    let mut at = 0;
    while at < length {
        let most = usize::try_from(length - at).unwrap_or(usize::MAX).min(room.len());
        let room = room.get_mut(..most).unwrap_or_default();
        let read = file.read_exact_at(room, at);
        read.map_err(|error| Failure::of_io(&error, "read the part that is there"))?;
        digest.update(room);
        at += u64::try_from(most).unwrap_or(length);
    }
    Ok(())
}

/// Returns the digest of a file that is there, or nothing if it is another one by now, or if the transfer is to end.
pub(super) fn digest_of(
    folder: &OwnedFd,
    name: &[u8],
    found: &FileFacts,
    cancel: &Cancel,
) -> Result<Option<[u8; 32]>, Failure> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, name, flags, Mode::empty());
    let file = match file {
        Ok(file) => file,
        // What cannot be read is written anew.
        Err(error) if FailureKind::of(error) == FailureKind::Permission => return Ok(None),
        Err(error) => return Err(Failure::of(error, "open what is there")),
    };
    if !FileFacts::of(&file).is_ok_and(|now| now.id == found.id) {
        return Ok(None);
    }
    let mut digest = blake3::Hasher::new();
    let mut room = vec![0; limits::room_for(found.size)];
    let mut file = File::from(file).take(found.size.saturating_add(1));
    loop {
        if cancel.is_cancelled() {
            return Ok(None);
        }
        match file.read(&mut room) {
            Ok(0) => return Ok(Some(digest.finalize().into())),
            Ok(count) => {
                digest.update(room.get(..count).unwrap_or_default());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::of_io(&error, "read what is there")),
        }
    }
}
