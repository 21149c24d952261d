//! Finding the roots of a transfer, in the process that looks.
#![expect(
    clippy::disallowed_methods,
    reason = "a thread `files` or `digests`, a helper, and programs that serve nobody"
)]

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path, sync::Arc};

use rcmd_certs::text::printable;
use rcmd_transfer::{
    Destination, DestinationKind, Failure, FailureKind, Landing, SourceParts, TransferSource,
    is_pattern, open_typed, settled,
};
use rustix::{
    fd::{AsFd as _, BorrowedFd, OwnedFd},
    fs::{AtFlags, CWD, FileType, OFlags, fstat, statat},
};

use super::{
    FindRoots, PlaceKind, ROOTS, Root, RootFailure, WantedRoots,
    expand::{expand, kind_at},
};
use crate::process::{look::path_of, plan::Handed};

/// Finds the roots of an order. May wait for the file system.
///
/// # Errors
/// If there is no such place, none of the paths to be read leads anywhere, or they lead to more
/// than a transfer may have.
pub(in crate::process::look) fn find_roots(
    order: &FindRoots,
) -> Result<(Vec<Root>, Vec<OwnedFd>), RootFailure> {
    let mut found = Finding::default();
    match order.wanted {
        WantedRoots::Place { is_itself, has_several } => {
            let path = order.paths.first().map(Vec::as_slice).unwrap_or_default();
            let landing = Landing { is_itself, has_several };
            let root = found.place(&order.home, path, landing);
            found.roots.push(root.map_err(|failure| told(path, &failure))?);
        }
        WantedRoots::Sources { is_literal } => {
            for path in &order.paths {
                let Err(failure) = found.sources(&order.home, path, is_literal) else { continue };
                // What is too much as a whole is no matter of one path.
                if failure.kind == FailureKind::TooBig {
                    return Err(told(path, &failure));
                }
                found.lose(path.clone(), &failure).map_err(|failure| told(path, &failure))?;
            }
        }
    }
    let Finding { roots, folders, .. } = found;
    match roots.first() {
        Some(Root::Lost { path, why }) if roots.iter().all(|root| root.folder().is_none()) => {
            Err(RootFailure { message: with_path(path, &why.message), ..why.clone() })
        }
        _ => Ok((roots, folders)),
    }
}

/// Returns a failure that is the answer to the whole order, with the path.
fn told(path: &[u8], failure: &Failure) -> RootFailure {
    let message = with_path(path, &failure.message);
    RootFailure { kind: failure.kind.name().to_owned(), message }
}

fn with_path(path: &[u8], message: &str) -> String {
    format!("{}: {message}", printable(&String::from_utf8_lossy(path)))
}

/// The roots that were found so far.
#[derive(Default)]
struct Finding {
    roots: Vec<Root>,
    folders: Vec<OwnedFd>,
    /// The folders that only names in them are used of, by device and inode.
    parents: Vec<(usize, (u64, u64))>,
}

impl Finding {
    fn add(&mut self, root: Root) -> Result<(), Failure> {
        if self.roots.len() >= ROOTS {
            let text = format!("the paths lead to more than {ROOTS} files and folders");
            return Err(Failure::new(FailureKind::TooBig, text));
        }
        self.roots.push(root);
        Ok(())
    }

    /// Adds a path that leads nowhere.
    fn lose(&mut self, path: Vec<u8>, failure: &Failure) -> Result<(), Failure> {
        let (kind, message) = (failure.kind.name().to_owned(), failure.message.clone());
        self.add(Root::Lost { path, why: RootFailure { kind, message } })
    }

    fn place(&mut self, home: &Path, path: &[u8], landing: Landing) -> Result<Root, Failure> {
        let (start, path) = begin(home, path)?;
        let (folder, kind) = Destination::at(&start, &path, landing)?.into_parts();
        let kind = match kind {
            DestinationKind::Inside => PlaceKind::Inside,
            DestinationKind::Itself => PlaceKind::Itself,
            DestinationKind::Named(name) => PlaceKind::Named(name),
            DestinationKind::NewFolder(name) => PlaceKind::NewFolder(name),
        };
        let name = match &kind {
            PlaceKind::Inside | PlaceKind::Itself => None,
            PlaceKind::Named(name) | PlaceKind::NewFolder(name) => Some(name.as_slice()),
        };
        let is_home = is_home(home, folder.as_fd(), name);
        Ok(Root::Place { folder: self.keep(folder, false)?, kind, is_home })
    }

    /// Finds what a path means to be read.
    fn sources(&mut self, home: &Path, path: &[u8], is_literal: bool) -> Result<(), Failure> {
        let (start, rest) = begin(home, path)?;
        let has_pattern = !is_literal && rest.split(|byte| *byte == b'/').any(is_pattern);
        if !has_pattern {
            return self.source(&start, &rest, true);
        }
        let found = expand(start.as_fd(), &rest, ROOTS)?;
        if found.is_empty() {
            let text = "no name matches; with --literal, *, ? and [ stand for themselves";
            return Err(Failure::new(FailureKind::NoSuchFile, text));
        }
        for path in found {
            // What is no link is used by its name in a folder that others share, which takes no
            // descriptor of its own.
            let kind = kind_at(start.as_fd(), &path, OFlags::NOFOLLOW);
            let is_link = kind == Some(FileType::Symlink);
            match self.source(&start, &path, is_link) {
                Err(failure) if failure.kind == FailureKind::TooBig => return Err(failure),
                Err(failure) => self.lose(path, &failure)?,
                Ok(()) => {}
            }
        }
        Ok(())
    }

    fn source(&mut self, start: &OwnedFd, path: &[u8], follows: bool) -> Result<(), Failure> {
        let parts = TransferSource::at(start, path, follows)?.into_parts();
        let SourceParts { folder, entry, name } = parts;
        let size = entry.as_ref().map_or(0, |entry| size(folder.as_fd(), entry));
        let folder = self.keep(folder, entry.is_some())?;
        self.add(Root::Source { folder, entry, name, size })
    }

    /// Keeps a folder, and returns its number. A folder of which only names are used is kept once.
    ///
    /// What is kept was opened by the path that the descriptor found has, which is what the server
    /// judges: the path of one from elsewhere, another mount namespace say, is that of another
    /// folder here.
    fn keep(&mut self, found: Arc<OwnedFd>, is_parent: bool) -> Result<usize, Failure> {
        let folder = settled(&*found)?;
        drop(found);
        let stat = fstat(&folder).map_err(|errno| {
            let error = std::io::Error::from(errno);
            Failure::new(FailureKind::Io, format!("cannot look at its folder: {error}"))
        })?;
        // The types of these fields differ between architectures.
        #[allow(clippy::unnecessary_cast, trivial_numeric_casts)]
        let id = (stat.st_dev as u64, stat.st_ino as u64);
        if let Some((number, _)) = self.parents.iter().find(|(_, known)| is_parent && *known == id)
        {
            return Ok(*number);
        }
        let number = self.folders.len();
        if number >= Handed::FOLDERS {
            let text = format!("the paths lead to more than {} folders", Handed::FOLDERS);
            return Err(Failure::new(FailureKind::TooBig, text));
        }
        self.folders.push(folder);
        if is_parent {
            self.parents.push((number, id));
        }
        Ok(number)
    }
}

/// Returns whether a folder, or what goes by a name in it, is the root of the host, the account's home or another's, or
/// above one.
fn is_home(home: &Path, folder: BorrowedFd<'_>, name: Option<&[u8]>) -> bool {
    let Ok(mut path) = path_of(folder) else {
        return true;
    };
    path.extend(name.map(OsStr::from_bytes));
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let own = open_typed(CWD, home.as_os_str().as_bytes(), flags);
    let own = own.ok().and_then(|home| path_of(home.as_fd()).ok());
    let parts: Vec<_> = path.iter().skip(1).map(OsStr::as_bytes).collect();
    let is_by_name = matches!(
        &parts[..],
        [] | [b"home" | b"root" | b"Users"] | [b"home" | b"Users", _] | [b"var", b"root"]
    );
    is_by_name || own.is_some_and(|home| home.starts_with(&path))
}

fn size(folder: BorrowedFd<'_>, entry: &[u8]) -> u64 {
    let stat = statat(folder, entry, AtFlags::SYMLINK_NOFOLLOW);
    let file =
        stat.ok().filter(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
    file.and_then(|stat| u64::try_from(stat.st_size).ok()).unwrap_or(0)
}

/// Returns the folder that a path begins in, and the path from there.
fn begin(home: &Path, path: &[u8]) -> Result<(OwnedFd, Vec<u8>), Failure> {
    let (start, rest): (&Path, &[u8]) = match path {
        [b'/', ..] => (Path::new("/"), path),
        b"~" => (home, b"."),
        [b'~', b'/', rest @ ..] => {
            let first = rest.iter().position(|byte| *byte != b'/');
            (home, first.and_then(|first| rest.get(first..)).unwrap_or(b"./"))
        }
        path => (home, path),
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let opened = open_typed(CWD, start.as_os_str().as_bytes(), flags);
    let opened = opened.map_err(|errno| {
        let error = std::io::Error::from(errno);
        let text = format!("the home {} cannot be entered: {error}", start.display());
        Failure::new(FailureKind::NoSuchFile, text)
    })?;
    Ok((opened, rest.to_vec()))
}
