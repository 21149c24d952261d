//! Whom an entry belongs to. Whether it may be given is found out before anything is written; it is given when all of it
//! is there.

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid},
    io::Errno,
};

use super::target::Target;
use crate::{
    facts::{FileFacts, Sort, attributes::proc_path},
    failure::{Failure, FailureKind},
};

/// A user and a group, each if it is wanted.
pub(super) type WantedOwner = (Option<u32>, Option<u32>);

/// Returns whether a file belongs to whom it is to belong.
pub(super) fn owns((user, group): WantedOwner, now: (u32, u32)) -> bool {
    user.is_none_or(|user| user == now.0) && group.is_none_or(|group| group == now.1)
}

/// Returns whom a new file is to belong to: who is wanted, or else whoever has the file that it replaces.
pub(super) fn of_new((user, group): WantedOwner, found: Option<&FileFacts>) -> WantedOwner {
    let has = found.map(|found| found.owner);
    (user.or(has.map(|(user, _)| user)), group.or(has.map(|(_, group)| group)))
}

/// Returns whether a file would belong to another user than before.
pub(super) fn is_changed((user, _): WantedOwner, found: &FileFacts) -> bool {
    user.is_some_and(|user| user != found.owner.0)
}

/// Finds out whether a new file can be given to its owner, by a file without a name: whoever a part belonged to for a
/// moment could have it open when it is whole. Where there are no such files it is found out when the part is whole.
pub(super) fn try_owner(
    folder: &OwnedFd,
    target: &Target,
    wanted: WantedOwner,
    found: Option<&FileFacts>,
) -> Result<(), Failure> {
    let owner = of_new(wanted, found);
    let own = FileFacts::of(target.file()).map_err(|error| Failure::of(error, "look at it"))?;
    if owns(owner, own.owner) {
        return Ok(());
    }
    let text = match wanted {
        (None, None) => "keep the owner of the file that is there",
        _ => "give it to its owner",
    };
    let tried = match target {
        // The group may stay: it has no rights yet, and back to that of the folder not everybody may give it.
        Target::Unnamed(file) => {
            let has = (owner.0.unwrap_or(own.owner.0), own.owner.1);
            give(file, owner, own.owner).and_then(|()| give(file, (Some(own.owner.0), None), has))
        }
        Target::Partial { .. } | Target::InPlace(_) => {
            let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
            match rustix::fs::openat(folder, c".", flags, Mode::RUSR | Mode::WUSR) {
                Ok(other) => give(other, owner, own.owner),
                Err(_) => Ok(()),
            }
        }
    };
    tried.map_err(|error| Failure::of(error, text))
}

/// Sets the owner of an open file, unless it has it, also one that was opened by `O_PATH`.
pub(super) fn set_owner(file: impl AsFd, wanted: WantedOwner) -> Result<(), Failure> {
    if wanted == (None, None) {
        return Ok(());
    }
    let now = FileFacts::of(&file).map_err(|error| Failure::of(error, "look at it"))?;
    give(file, wanted, now.owner).map_err(|error| Failure::of(error, "give it to its owner"))
}

/// Changes the owner of an open file from that it has now.
fn give(file: impl AsFd, wanted: WantedOwner, now: (u32, u32)) -> Result<(), Errno> {
    let file = file.as_fd();
    let user = wanted.0.filter(|user| *user != now.0).map(Uid::from_raw);
    let group = wanted.1.filter(|group| *group != now.1).map(Gid::from_raw);
    if user.is_none() && group.is_none() {
        return Ok(());
    }
    match rustix::fs::fchown(file, user, group) {
        Err(Errno::BADF) => {
            rustix::fs::chownat(CWD, proc_path(file), user, group, AtFlags::empty())
        }
        done => done,
    }
}

/// Sets the owner of a link. What else took its place meanwhile keeps its own.
pub(super) fn set_link_owner(
    folder: &OwnedFd,
    name: &[u8],
    wanted: WantedOwner,
) -> Result<(), Failure> {
    if wanted == (None, None) {
        return Ok(());
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let link = rustix::fs::openat(folder, name, flags, Mode::empty());
    let link = link.map_err(|error| Failure::of(error, "look at the link"))?;
    let facts = FileFacts::of(&link).map_err(|error| Failure::of(error, "look at the link"))?;
    if facts.sort != Sort::Link {
        return Err(Failure::new(
            FailureKind::Changed,
            "something else took the place of the link",
        ));
    }
    let (user, group) = (wanted.0.map(Uid::from_raw), wanted.1.map(Gid::from_raw));
    let set = rustix::fs::chownat(&link, c"", user, group, AtFlags::EMPTY_PATH);
    set.map_err(|error| Failure::of(error, "give the link to its owner"))
}
