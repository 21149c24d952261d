//! Folders that a transfer makes, and how a later one knows those that were not finished.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, XattrFlags};

use super::target;
use crate::{
    facts::{FileFacts, FileId},
    failure::{Failure, FailureKind},
    list,
};

/// The mode of a folder that is just made. Nobody else may enter it.
const NEW: u32 = 0o1700;
/// The mode of a folder while entries for it come. The setuid bit of a folder means nothing, and with the sticky bit of
/// one that nobody else may enter it is a mark that nobody makes by hand.
const MARKED: u32 = 0o5700;
const SET_GID: u32 = 0o2000;
/// The attribute of a folder that is not finished, where others may give it another name: under that it would get the
/// rights of another.
const PLACE: &str = "user.rcmd.unfinished";

/// Makes a folder.
pub(super) fn make(above: &OwnedFd, name: &[u8]) -> Result<(), Failure> {
    let made = rustix::fs::mkdirat(above, name, Mode::from_raw_mode(NEW));
    made.map_err(|error| Failure::of(error, "make the folder"))
}

/// Marks a folder that was just made as not finished.
pub(super) fn mark(folder: &OwnedFd, facts: &FileFacts) -> Result<(), Failure> {
    target::set_mode(folder, MARKED | facts.mode & SET_GID)
}

/// Returns whether a folder of this mode was made by a transfer that did not finish it. It may have inherited the setgid
/// bit.
pub(super) fn is_unfinished(mode: u32) -> bool {
    mode & !SET_GID == MARKED
}

/// Notes in a folder that is not finished where it was made. Without that no later transfer finishes it.
pub(super) fn bind(folder: &OwnedFd, above: FileId, name: &[u8]) {
    let _ = rustix::fs::fsetxattr(folder, PLACE, &place(above, name), XattrFlags::empty());
}

/// Returns whether a folder was made where it is, as far as it was noted.
pub(super) fn is_bound(folder: &OwnedFd, above: FileId, name: &[u8]) -> bool {
    // A number and a name.
    let mut room = [0; 20 + 1 + 255];
    let noted = rustix::fs::fgetxattr(folder, PLACE, &mut room[..]);
    noted.is_ok_and(|count| room.get(..count) == Some(&place(above, name)))
}

/// Removes what was noted.
pub(super) fn unbind(folder: &OwnedFd) {
    let _ = rustix::fs::fremovexattr(folder, PLACE);
}

fn place(above: FileId, name: &[u8]) -> Vec<u8> {
    [above.inode().to_string().as_bytes(), b"/", name].concat()
}

/// Checks that a folder is the one that was just made in another, as far as its mount, owner and mode tell, and that
/// nothing is in it: whoever owns the folder above can put another in its place before it is entered, and would have
/// what goes into it, or lets others read it or what is in it.
///
/// # Errors
/// `changed`.
pub(super) fn check(above: &OwnedFd, folder: &OwnedFd, account: u32) -> Result<FileFacts, Failure> {
    let facts =
        |folder| FileFacts::of(folder).map_err(|error| Failure::of(error, "look at the folder"));
    let (above_facts, facts) = (facts(above)?, facts(folder)?);
    // A default access list may take bits of the owner away; nothing gives any to others.
    let is_unfinished = facts.mode & 0o1077 == NEW & 0o1077;
    let is_new = facts.owner.0 == account && is_unfinished;
    let inside =
        list::names(folder, 0, 1).map_err(|error| Failure::of(error, "read the folder"))?;
    if inside.names.is_empty()
        && facts.is_on_mount_of(&above_facts)
        && (is_new || !keeps_owners(above))
    {
        return Ok(facts);
    }
    Err(Failure::new(FailureKind::Changed, "another folder took the place of the new one"))
}

/// Returns whether what this account makes in a folder is its own there, with the mode that it says, which not all file
/// systems know.
fn keeps_owners(folder: &OwnedFd) -> bool {
    // vfat, exfat, ntfs3, FUSE, cifs, smb2, 9p, NFS, vboxsf.
    const OTHERS: [u64; 9] = [
        0x4d44,
        0x2011_bab0,
        0x7366_746e,
        0x6573_5546,
        0xff53_4d42,
        0xfe53_4d42,
        0x0102_1997,
        0x6969,
        0x786f_4256,
    ];
    let known = rustix::fs::fstatfs(folder).ok();
    let magic = known.and_then(|system| u64::try_from(system.f_type).ok());
    magic.is_none_or(|magic| !OTHERS.contains(&(magic & 0xffff_ffff)))
}

#[cfg(test)]
mod tests;
