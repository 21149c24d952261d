//! From what was typed to descriptors: the sources and the destination of `cp`. Links in what was typed are followed;
//! nothing below it is, nor is a link of `/proc` that leads into a process.

mod pattern;
mod settled;
mod way;

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use rustix::{fs::OFlags, io::Errno};

pub use pattern::{is_pattern, matches};
pub use settled::settled;
pub use way::open_typed;

use self::{settled::path_of, way::open_plain};
use crate::{
    destination::Destination,
    facts::{FileFacts, Sort},
    failure::{Failure, FailureKind},
    source::TransferSource,
};

impl TransferSource {
    /// Returns what a path that was typed leads to, from a folder that relative paths begin at.
    ///
    /// With `follows` a link at its end is followed, else it is the source itself. One that ends in a slash is always
    /// followed, and is a folder. At the destination it has the last name of the path as it was typed, else that of
    /// the folder that it is; the root has none, and needs one from the caller by way of [`folder`](Self::folder).
    ///
    /// # Errors
    /// `no_such_file` and the like: it leads nowhere.
    pub fn at(start: impl AsFd, path: &[u8], follows: bool) -> Result<Self, Failure> {
        let start = start.as_fd();
        let (above, last) = split(path);
        if !follows && let Some(last) = last {
            let folder = open(start, above, OFlags::PATH | OFlags::DIRECTORY)?;
            let facts = FileFacts::at(&folder, last);
            facts.map_err(|error| Failure::of(error, "find it"))?;
            return Self::entry(Arc::new(folder), last);
        }
        let found = open(start, path, OFlags::PATH)?;
        let facts = FileFacts::of(&found).map_err(|error| Failure::of(error, "look at it"))?;
        if path.ends_with(b"/") && facts.sort != Sort::Folder {
            return Err(Failure::new(FailureKind::NoSuchFile, "it is no folder"));
        }
        let (folder, entry) = parent(&found)?;
        let source = match (entry, facts.sort) {
            (_, Sort::Folder) => {
                let folder = open(start, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
                check_same(&folder, &found)?;
                let own = entry_name(path).or_else(|| entry_of(&found));
                let own = own.ok_or_else(|| no_name("the root has no name of its own"))?;
                return Self::folder(folder, &own);
            }
            (Some(entry), _) => Self::entry(Arc::new(folder), &entry)?,
            (None, _) => return Err(no_name("it has no name")),
        };
        match last {
            Some(last) => source.under(last),
            None => Ok(source),
        }
    }
}

/// How a path that was typed says where sources go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Landing {
    /// The path is the place of the one source, whatever is there.
    pub is_itself: bool,
    /// There are several sources.
    pub has_several: bool,
}

impl Destination {
    /// Returns the place that a path that was typed means, from a folder that relative paths begin at: as `cp` does, a
    /// folder that is there is gone into, and a path that leads nowhere is the place of the one source.
    ///
    /// # Errors
    /// `no_such_file`: the folder that it would be in is missing, it is a link that leads nowhere, or several sources
    /// have no folder. `exists`: it is neither a file nor a folder, or a file for several sources.
    pub fn at(start: impl AsFd, path: &[u8], landing: Landing) -> Result<Self, Failure> {
        let start = start.as_fd();
        let found = match open(start, path, OFlags::PATH) {
            Ok(found) => found,
            Err(failure) if failure.kind == FailureKind::NoSuchFile => {
                return Self::new_at(start, path, landing);
            }
            Err(failure) => return Err(failure),
        };
        let facts = FileFacts::of(&found).map_err(|error| Failure::of(error, "look at it"))?;
        match facts.sort {
            Sort::Folder if landing.is_itself => Self::itself(reopened(start, path, found)?),
            Sort::Folder => Self::inside(reopened(start, path, found)?),
            _ if landing.has_several || path.ends_with(b"/") => {
                Err(Failure::new(FailureKind::Exists, "what is there is no folder"))
            }
            Sort::Special | Sort::Link => {
                let text = "a device, a pipe or a socket stands there";
                Err(Failure::new(FailureKind::Exists, text))
            }
            Sort::File => match parent(&found)? {
                (folder, Some(entry)) => Self::named(folder, &entry),
                (_, None) => Err(no_name("the file has no name")),
            },
        }
    }

    /// Returns a place that is not there yet.
    fn new_at(start: BorrowedFd<'_>, path: &[u8], landing: Landing) -> Result<Self, Failure> {
        let missing = |text: &str| Failure::new(FailureKind::NoSuchFile, text);
        let trimmed = without_slashes(path);
        let (above, Some(last)) = split(trimmed) else {
            return Err(missing("there is no such folder"));
        };
        let folder = open(start, above, OFlags::PATH | OFlags::DIRECTORY);
        let folder = folder.map_err(|failure| without_folder(failure, above))?;
        if FileFacts::at(&folder, last).is_ok() {
            return Err(missing("it is a link that leads nowhere"));
        }
        match (landing.has_several, trimmed.len() < path.len(), landing.is_itself) {
            (true, _, _) => Err(missing("there is no such folder for several sources")),
            (false, true, false) => Self::new_folder(folder, last),
            (false, _, _) => Self::named(folder, last),
        }
    }
}

/// Takes the slashes off the end of a path.
fn without_slashes(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    path.get(..end).unwrap_or_default()
}

/// Splits a path into the folder and the last name. A path that ends in a slash, `.` or `..` has none.
fn split(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    let begin = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let (above, last) = path.split_at(begin);
    let above = if above.is_empty() { &b"."[..] } else { above };
    match last {
        b"" | b"." | b".." => (path, None),
        last => (above, Some(last)),
    }
}

/// Returns the last name of a path that may end in slashes.
fn entry_name(path: &[u8]) -> Option<Vec<u8>> {
    split(without_slashes(path)).1.map(<[u8]>::to_vec)
}

fn open(start: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Failure> {
    open_typed(start, path, flags).map_err(|error| match error {
        Errno::LOOP => {
            let text = "too many links lead to it, or one of /proc that leads into a process";
            Failure::new(FailureKind::UnsafePath, text)
        }
        Errno::NOENT => Failure::new(FailureKind::NoSuchFile, "there is no such file or folder"),
        Errno::NAMETOOLONG => Failure::new(FailureKind::TooBig, "a name in it is too long"),
        error => Failure::of(error, "get there"),
    })
}

/// Says that the folder is missing which something new would be made in.
fn without_folder(failure: Failure, above: &[u8]) -> Failure {
    if failure.kind != FailureKind::NoSuchFile {
        return failure;
    }
    let above = String::from_utf8_lossy(without_slashes(above)).into_owned();
    Failure::new(FailureKind::NoSuchFile, format!("there is no folder `{above}` to make it in"))
}

/// Checks that a folder that was opened by its path once more is the one that was found.
fn check_same(folder: &OwnedFd, found: &OwnedFd) -> Result<(), Failure> {
    let id = |folder: &OwnedFd| FileFacts::of(folder).map(|facts| facts.id).ok();
    if id(folder).is_some() && id(folder) == id(found) {
        return Ok(());
    }
    Err(Failure::new(FailureKind::Changed, "another folder took its place"))
}

/// Opens a folder for reading too, if it may be read, and checks that it is the same.
fn reopened(start: BorrowedFd<'_>, path: &[u8], found: OwnedFd) -> Result<OwnedFd, Failure> {
    match open(start, path, OFlags::RDONLY | OFlags::DIRECTORY) {
        Ok(folder) => check_same(&folder, &found).map(|()| folder),
        // One that may only be passed will do.
        Err(failure) if failure.kind == FailureKind::Permission => Ok(found),
        Err(failure) => Err(failure),
    }
}

/// Returns the folder that an open file is in, and its name there.
fn parent(found: &OwnedFd) -> Result<(OwnedFd, Option<Vec<u8>>), Failure> {
    let path = path_of(found)?;
    let (above, last) = split(&path);
    let folder = open_plain(above, OFlags::PATH | OFlags::DIRECTORY);
    let folder = folder.map_err(|error| Failure::of(error, "find the folder that it is in"))?;
    let Some(last) = last else {
        return Ok((folder, None));
    };
    let own = FileFacts::of(found).map(|facts| facts.id).ok();
    match FileFacts::at(&folder, last) {
        Ok(facts) if Some(facts.id) == own => Ok((folder, Some(last.to_vec()))),
        Ok(_) | Err(Errno::NOENT) => {
            Err(Failure::new(FailureKind::Changed, "something else took its place"))
        }
        Err(error) => Err(Failure::of(error, "look at it")),
    }
}

fn entry_of(found: &OwnedFd) -> Option<Vec<u8>> {
    entry_name(&path_of(found).ok()?)
}

fn no_name(text: &str) -> Failure {
    Failure::new(FailureKind::NoSuchFile, text)
}
