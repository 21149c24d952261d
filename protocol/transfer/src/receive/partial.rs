//! Parts of files that an earlier transfer left, and what the sender needs to know to go on with them.

use std::{
    fs::File,
    io::{self, Read as _, Write},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::FileExt as _,
    },
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};

use super::{Offer, Pending, Receiver, place::State, target};
use crate::{
    beneath::opened_anew,
    facts::{FileFacts, Sort},
    failure::{Failure, FailureKind},
    limits, list, name,
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
        let (file, name) = match &pending.found {
            Some(_) if self.options.in_place && !self.offers_in_place => return None,
            Some(found) if self.options.in_place => {
                let file = target::open_for_writing(&open, &pending.name, Some(found)).ok()?;
                let size = FileFacts::of(&file).ok()?.size;
                let path = pending.place.path(&pending.name);
                self.tally.may_read(&path, file.as_fd(), size).ok()?;
                (file, None)
            }
            _ if size >= limits::LARGE => {
                let (file, name) = find(&open, &pending.name, self.account)?;
                (file, Some(name))
            }
            _ => return None,
        };
        let there = FileFacts::of(&file).ok()?.size.min(size);
        let step = (there / limits::RANGES + 1).next_multiple_of(limits::RANGE);
        // The digest of a short range could be guessed: byte by byte, with lengths of the sender's choice.
        let length = there - there.checked_rem(step).unwrap_or(there);
        if length == 0 && name.is_none() {
            return None;
        }
        let digests = digests(&file, length, step).ok()?;
        pending.offer = Some(Offer { file, name, length, step });
        self.offers += 1;
        (length > 0).then_some(ToSender::Resume { index, length, step, digests })
    }
}

/// Finds the partial file of a file that nobody writes. Those that are too old are removed.
fn find(folder: &OwnedFd, name: &[u8], account: u32) -> Option<(File, Vec<u8>)> {
    let prefix = name::partial_prefix(name);
    // That of a destination may be one of `O_PATH`.
    let listed = opened_anew(folder).ok()?;
    let mut from = Some(0);
    let mut looked = 0;
    while let Some(place) = from {
        let found = list::names(&listed, place, limits::LISTED_AT_LEAST * 64).ok()?;
        from = found.next;
        for partial in found.names.iter().filter(|name| name::is_partial(name)) {
            looked += 1;
            if looked > limits::PARTIALS {
                return None;
            }
            let Some((file, facts)) = open_partial(folder, partial, account) else {
                continue;
            };
            if is_stale(&facts) {
                let _ = rustix::fs::unlinkat(folder, &**partial, AtFlags::empty());
            } else if partial.starts_with(&prefix) && facts.size > 0 {
                // An empty one is of no use, and may be one that is only just made and not locked yet.
                return Some((file, partial.clone()));
            }
        }
    }
    None
}

/// Opens a partial file that is this account's own and that nobody writes.
pub(super) fn open_partial(
    folder: &OwnedFd,
    partial: &[u8],
    account: u32,
) -> Option<(File, FileFacts)> {
    let flags =
        OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, partial, flags, Mode::empty()).ok()?;
    let facts = FileFacts::of(&file).ok()?;
    let is_ours = facts.sort == Sort::File
        && facts.names == 1
        && facts.owner.0 == account
        && facts.mode & 0o7177 == 0;
    if !is_ours || rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return None;
    }
    // Whoever had the lock before may have given it its name, or removed it.
    let is_there = FileFacts::at(folder, partial).is_ok_and(|now| now.id == facts.id);
    is_there.then(|| (file.into(), facts))
}

/// Returns whether a partial file is too old for its transfer to be taken up again.
pub(super) fn is_stale(facts: &FileFacts) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    now.saturating_sub(facts.time.seconds) > limits::PARTIAL_AGE
}

/// Returns the digests of each `step` bytes of a file.
fn digests(file: &File, length: u64, step: u64) -> io::Result<Vec<[u8; 32]>> {
    let mut room = vec![0; limits::DATA];
    let mut digests = Vec::new();
    let mut at = 0;
    while at < length {
        let end = at.saturating_add(step).min(length);
        let mut digest = blake3::Hasher::new();
        while at < end {
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

/// Returns the digest of a file that is there, or nothing if it is another one by now.
pub(super) fn digest_of(
    folder: &OwnedFd,
    name: &[u8],
    found: &FileFacts,
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
