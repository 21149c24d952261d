//! Opening paths that were typed. Links of `/proc` are not followed: those of a process lead to what it has open or
//! mounted, whatever their text says, and what is reached by them may have the path of another file here.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    fs::{CWD, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags},
    io::Errno,
};

use crate::facts::{FileFacts, Sort};

/// The links on the way of one path (path_resolution(7)).
const LINKS: usize = 40;

/// Opens what a path that was typed leads to, from a folder that relative paths begin at. Links are followed, but for
/// those of `/proc` that lead into a process (`RESOLVE_NO_MAGICLINKS`, openat2(2)).
///
/// # Errors
/// The error of the system; `ELOOP` also of such a link.
pub fn open_typed(start: impl AsFd, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC;
    let within = ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(&start, path, flags, Mode::empty(), within) {
        // The kernel lacks openat2, or what filters its calls forbids it.
        Err(Errno::NOSYS | Errno::PERM) => by_hand(start.as_fd(), path, flags, LINKS),
        opened => opened,
    }
}

/// Opens a path that has no link in it.
///
/// # Errors
/// The error of the system; `ELOOP` of a link.
pub(super) fn open_plain(path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC;
    let within = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(CWD, path, flags, Mode::empty(), within) {
        Err(Errno::NOSYS | Errno::PERM) => by_hand(CWD, path, flags, 0),
        opened => opened,
    }
}

/// Opens a path name by name, through at most so many links.
fn by_hand(
    start: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    mut links: usize,
) -> Result<OwnedFd, Errno> {
    if path.is_empty() {
        return Err(Errno::NOENT);
    }
    let look = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = root_of(path)?;
    let mut names = names(path);
    while let Some(name) = names.pop() {
        let is_last = names.is_empty();
        let folder = at.as_ref().map_or(start, AsFd::as_fd);
        let found = rustix::fs::openat(folder, &*name, look, Mode::empty())?;
        let sort = FileFacts::of(&found)?.sort;
        if sort == Sort::Link && !(is_last && flags.contains(OFlags::NOFOLLOW)) {
            links = links.checked_sub(1).ok_or(Errno::LOOP)?;
            if rustix::fs::fstatfs(&found)?.f_type == PROC_SUPER_MAGIC {
                return Err(Errno::LOOP);
            }
            let target = rustix::fs::readlinkat(&found, c"", Vec::new())?.into_bytes();
            at = root_of(&target)?.or(at);
            names.extend(self::names(&target));
            continue;
        }
        if !is_last {
            at = Some(found);
            continue;
        }
        if flags.contains(OFlags::PATH) && !flags.contains(OFlags::DIRECTORY) {
            return Ok(found);
        }
        // What took its place meanwhile is no link that is followed.
        return rustix::fs::openat(folder, &*name, flags | OFlags::NOFOLLOW, Mode::empty());
    }
    Err(Errno::NOENT)
}

/// Opens the root if a path begins there.
fn root_of(path: &[u8]) -> Result<Option<OwnedFd>, Errno> {
    if !path.starts_with(b"/") {
        return Ok(None);
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, c"/", flags, Mode::empty()).map(Some)
}

/// Returns the names in a path, the first one last. A slash at its end stands for the folder itself.
fn names(path: &[u8]) -> Vec<Vec<u8>> {
    let end: &[u8] = if path.ends_with(b"/") { b"." } else { b"" };
    let names = path.split(|byte| *byte == b'/').chain([end]);
    let mut names: Vec<_> = names.filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect();
    names.reverse();
    names
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        os::{
            fd::AsRawFd as _,
            unix::{ffi::OsStrExt as _, fs::symlink},
        },
        path::Path,
    };

    use super::*;

    /// Opens a path in both ways, which must agree, and returns which file it is.
    fn opened(start: &File, path: impl AsRef<Path>, flags: OFlags) -> Result<FileFacts, Errno> {
        let path = path.as_ref().as_os_str().as_bytes();
        let facts = |opened: Result<OwnedFd, Errno>| opened.and_then(FileFacts::of);
        let by_kernel = facts(open_typed(start, path, flags));
        let by_hand = facts(by_hand(start.as_fd(), path, flags, LINKS));
        let of = |facts: &Result<FileFacts, Errno>| facts.map(|facts| (facts.id, facts.sort));
        assert_eq!(of(&by_kernel), of(&by_hand), "{path:?} {flags:?}");
        by_kernel
    }

    #[test]
    fn a_path_leads_where_the_system_says_in_both_ways() {
        let place = tempfile::tempdir().expect("a folder");
        let path = |name: &str| place.path().join(name);
        fs::create_dir_all(path("a/b")).expect("made");
        fs::write(path("a/b/f"), b"x").expect("written");
        symlink("a/b/", path("to")).expect("linked");
        symlink(path("to/f"), path("a/f")).expect("linked");
        symlink("circle", path("circle")).expect("linked");
        let start = File::open(place.path()).expect("opened");
        let id =
            |name: &str| FileFacts::of(File::open(path(name)).expect("opened")).map(|of| of.id);
        for (typed, file) in [
            ("to", "a/b"),
            ("to/", "a/b"),
            ("a/f", "a/b/f"),
            ("to/../f", "a/b/f"),
            (".", "."),
            ("./a//b/.", "a/b"),
        ] {
            let found = opened(&start, typed, OFlags::PATH);
            assert_eq!(found.map(|of| of.id), id(file), "{typed}");
        }
        assert!(opened(&start, path("a/f"), OFlags::RDONLY).is_ok());
        assert!(opened(&start, "/", OFlags::RDONLY | OFlags::DIRECTORY).is_ok());
        let link = opened(&start, "a/f", OFlags::PATH | OFlags::NOFOLLOW);
        assert_eq!(link.map(|of| of.sort), Ok(Sort::Link));
        for (typed, error) in [
            ("no", Errno::NOENT),
            ("", Errno::NOENT),
            ("a/f/x", Errno::NOTDIR),
            ("circle", Errno::LOOP),
        ] {
            assert_eq!(opened(&start, typed, OFlags::PATH).map(drop), Err(error), "{typed}");
        }
        let folder = OFlags::RDONLY | OFlags::DIRECTORY;
        assert_eq!(opened(&start, "a/b/f", folder).map(drop), Err(Errno::NOTDIR));
    }

    #[test]
    fn a_link_that_leads_into_a_process_is_not_followed_in_either_way() {
        let place = tempfile::tempdir().expect("a folder");
        let start = File::open(place.path()).expect("opened");
        let open = format!("fd/{}", start.as_raw_fd());
        let links = ["root", "cwd", "exe", &open, &format!("{open}/")].map(str::to_owned);
        for (count, link) in links.iter().enumerate() {
            let whole = format!("/proc/self/{link}");
            let linked = place.path().join(count.to_string());
            symlink(&whole, &linked).expect("linked");
            let below = Path::new(&whole).join(".");
            for typed in [Path::new(&whole), &below, &linked] {
                let error = opened(&start, typed, OFlags::PATH).map(drop);
                assert_eq!(error, Err(Errno::LOOP), "{typed:?}");
            }
        }
    }

    #[test]
    fn a_plain_path_has_no_link_in_it() {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().canonicalize().expect("a path");
        fs::create_dir(path.join("a")).expect("made");
        symlink("a", path.join("to")).expect("linked");
        let bytes = |name: &str| path.join(name).into_os_string().into_encoded_bytes();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        for (name, is_plain) in [("a", true), ("to", false), ("to/.", false)] {
            let found = open_plain(&bytes(name), flags);
            assert_eq!(found.is_ok(), is_plain, "{name}");
            assert_eq!(by_hand(CWD, &bytes(name), flags, 0).is_ok(), is_plain, "{name}");
        }
    }
}
