//! Checks of who could change what a path leads to: the owners of folders and links on the way, and the users
//! who may write into those folders.
#![expect(
    clippy::disallowed_methods,
    reason = "the thread `upkeep`, the authority's thread, programs before they serve and those that serve nobody"
)]

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
};

use super::FileError;

/// The most links on the way, as in the kernel (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// The sticky bit of a folder: only the owner of an entry may rename or remove it.
const STICKY: u32 = 0o1000;

/// Checks the mode and the owner of a file, a folder or a link: it belongs to root or this process's user, and
/// nobody else may change it.
///
/// # Errors
/// [`FileError`] naming it and what to type.
pub(super) fn check(path: &Path, found: &fs::Metadata) -> Result<(), FileError> {
    check_owner(path, found)?;
    let mode = found.mode() & 0o7777;
    let shared = mode & 0o022 != 0 && !found.is_symlink();
    // In a sticky folder, nobody can change the entries of others.
    if shared && !(found.is_dir() && mode & STICKY != 0) {
        return Err(FileError::Writable { path: path.to_owned(), mode });
    }
    Ok(())
}

/// Checks that root or this process's user owns it.
///
/// # Errors
/// [`FileError::Owner`] when another user owns it.
pub(super) fn check_owner(path: &Path, found: &fs::Metadata) -> Result<(), FileError> {
    let (own, owner) = (rustix::process::geteuid().as_raw(), found.uid());
    if owner == own || owner == 0 {
        return Ok(());
    }
    Err(FileError::Owner { path: path.to_owned(), owner, own })
}

/// Checks every folder and link on the way to `path`, and `path` itself. A part that does not exist yet can be
/// made only by users who passed the checks.
///
/// # Errors
/// [`FileError`] naming what somebody else could change.
pub(super) fn check_way(path: &Path) -> Result<(), FileError> {
    let whole = std::path::absolute(path).map_err(FileError::io("read", path))?;
    let mut rest: Vec<OsString> = parts(&whole);
    let (mut at, mut links) = (PathBuf::from("/"), 0);
    check(&at, &look(&at)?)?;
    while let Some(part) = rest.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        let found = match look(&next) {
            Err(FileError::Missing(_)) => return Ok(()),
            found => found?,
        };
        check(&next, &found)?;
        if !found.is_symlink() {
            at = next;
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            let source = std::io::Error::from_raw_os_error(rustix::io::Errno::LOOP.raw_os_error());
            return Err(FileError::io("read", &next)(source));
        }
        let target = fs::read_link(&next).map_err(FileError::io("read", &next))?;
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        rest.extend(parts(&target));
    }
    Ok(())
}

fn look(path: &Path) -> Result<fs::Metadata, FileError> {
    fs::symlink_metadata(path).map_err(FileError::io("read", path))
}

/// Returns the names in a path, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().rev().filter_map(name).collect()
}
