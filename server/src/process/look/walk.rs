//! A path followed by descriptors, name by name: what is there is known before anything is opened, and
//! who could change it is noted on the way.
#![expect(
    clippy::disallowed_methods,
    reason = "a thread `files` or `digests`, a helper, and programs that serve nobody"
)]

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::Read as _,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    fs::{
        Access, AtFlags, CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, Stat,
        accessat, fstat, fstatfs, open, openat, openat2, readlinkat,
    },
    io::Errno,
};

use super::mounts::Mounts;
use crate::process::program::{self, Script, Writable};

/// Links on the way to one file (path_resolution(7)).
const LINKS: usize = 40;
/// Folders of PATH that are looked into.
pub(super) const FOLDERS: usize = 256;
/// Interpreters that are scripts themselves (execve(2): four, and the file).
const SCRIPTS: usize = 5;

/// How far a look may go.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reach<'a> {
    /// Through folders of root and of the server's own account, on local file systems: nobody can make
    /// it wait there.
    Trusted(&'a Mounts),
    /// Anywhere. It may wait for ever, so that only a process that can be killed looks so.
    Anywhere,
}

/// Why a look came to no end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    /// It leads out of its reach.
    OutOfReach,
    /// The system says so.
    Errno(Errno),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

/// What a path leads to, opened by O_PATH: nothing was read, and no device woken.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) descriptor: OwnedFd,
    /// Its path without links.
    pub(super) path: PathBuf,
    pub(super) stat: Stat,
}

impl Place {
    fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    pub(super) fn is_file(&self) -> bool {
        self.kind() == FileType::RegularFile
    }

    pub(super) fn is_folder(&self) -> bool {
        self.kind() == FileType::Directory
    }

    /// Checks that this process may execute the file, or enter the folder.
    pub(super) fn check_execute(&self) -> Result<(), Errno> {
        accessat(CWD, by_descriptor(&self.descriptor), Access::EXEC_OK, AtFlags::EACCESS)
    }

    /// Opens a regular file to be read, and nothing else; who holds a lease on it is not waited for.
    pub(super) fn open(&self) -> Result<File, Errno> {
        if !self.is_file() {
            return Err(Errno::INVAL);
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(open(by_descriptor(&self.descriptor), flags, Mode::empty())?.into())
    }

    /// Returns its first bytes, as many as the kernel looks at (execve(2)); none of what is no file, or
    /// can't be read.
    pub(super) fn head(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(program::HEAD);
        if let Ok(file) = self.open() {
            let _ = file.take(program::HEAD as u64).read_to_end(&mut head);
        }
        head
    }
}

fn by_descriptor(descriptor: impl AsFd) -> String {
    format!("/proc/self/fd/{}", descriptor.as_fd().as_raw_fd())
}

/// Follows paths, and notes who could change what lies on them.
pub(super) struct Walk<'a> {
    pub(super) reach: Reach<'a>,
    /// Whom the program will run as: what it could change is no finding.
    pub(super) uid: u32,
    /// The first finding.
    pub(super) writable: Option<Writable>,
}

impl Walk<'_> {
    fn found(&mut self, writable: Writable) {
        self.writable.get_or_insert(writable);
    }

    /// Follows an absolute path to its end, looking at each folder on the way.
    pub(super) fn follow(&mut self, path: &Path) -> Result<Place, Stop> {
        let mut place = self.root()?;
        let mut waiting: Vec<OsString> = names(path).rev().collect();
        let mut links = 0;
        while let Some(name) = waiting.pop() {
            if !place.is_folder() {
                return Err(Errno::NOTDIR.into());
            }
            if name == ".." {
                let path = place.path.parent().unwrap_or(Path::new("/")).to_owned();
                place = self.step(&place, OsStr::new(".."), path)?;
                continue;
            }
            let next = self.step(&place, &name, place.path.join(&name))?;
            if next.kind() != FileType::Symlink {
                place = next;
                self.note(&place, waiting.is_empty());
                continue;
            }
            links += 1;
            if links > LINKS {
                return Err(Errno::LOOP.into());
            }
            let target = readlinkat(&next.descriptor, "", Vec::new())?;
            let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
            // They lead each process to another place, and not where they say (proc(5)).
            if fstatfs(&next.descriptor)?.f_type == PROC_SUPER_MAGIC {
                let why = "it leads each process to another place";
                self.found(Writable::Open { path: next.path, why: why.into() });
            }
            if target.is_absolute() {
                place = self.root()?;
            }
            waiting.extend(names(&target).rev());
        }
        Ok(place)
    }

    fn root(&mut self) -> Result<Place, Stop> {
        if let Reach::Trusted(mounts) = self.reach
            && !mounts.is_local(Path::new("/"))
        {
            return Err(Stop::OutOfReach);
        }
        let descriptor = open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let stat = fstat(&descriptor)?;
        let place = Place { descriptor, path: PathBuf::from("/"), stat };
        self.note(&place, false);
        Ok(place)
    }

    /// Opens the next name on the way, of which `path` is the path.
    fn step(&self, from: &Place, name: &OsStr, path: PathBuf) -> Result<Place, Stop> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = from.descriptor.as_fd();
        let descriptor = match self.reach {
            Reach::Anywhere => openat(folder, name, flags, Mode::empty())?,
            Reach::Trusted(mounts) => {
                if !is_trusted(&from.stat) {
                    return Err(Stop::OutOfReach);
                }
                match openat2(folder, name, flags, Mode::empty(), ResolveFlags::NO_XDEV) {
                    Ok(descriptor) => descriptor,
                    Err(Errno::XDEV) if mounts.is_local(&path) => {
                        openat(folder, name, flags, Mode::empty())?
                    }
                    // A kernel without it, or a profile that forbids it.
                    Err(Errno::XDEV | Errno::NOSYS | Errno::PERM | Errno::AGAIN) => {
                        return Err(Stop::OutOfReach);
                    }
                    Err(errno) => return Err(errno.into()),
                }
            }
        };
        let stat = fstat(&descriptor)?;
        Ok(Place { descriptor, path, stat })
    }

    /// Notes who may write to a file or folder, beside root and the user it will run as. With an ACL the
    /// bits of the group are its mask (acl(5)), so that they speak for it too. A sticky folder keeps
    /// others from replacing a file, and not from making one where a path leads.
    fn note(&mut self, place: &Place, is_last: bool) {
        let Stat { st_uid, st_gid, st_mode, .. } = place.stat;
        let whom = if ![0, self.uid].contains(&st_uid) {
            format!("its owner, user {st_uid}")
        } else if st_mode & 0o002 != 0 {
            "everybody".to_owned()
        } else if st_mode & 0o020 != 0 {
            format!("its group, {st_gid}")
        } else {
            return;
        };
        let what = if is_last { "the file" } else { "the folder" };
        self.found(Writable::By { what: what.into(), path: place.path.clone(), whom });
    }

    /// Follows a path that need not be there: what can't be looked at is a finding.
    fn try_follow(&mut self, path: &Path) -> Result<Option<Place>, Stop> {
        match self.follow(path) {
            Ok(place) => Ok(Some(place)),
            Err(Stop::OutOfReach) => Err(Stop::OutOfReach),
            // What is missing can't run; who could put it there was seen at the folder.
            Err(Stop::Errno(Errno::NOENT | Errno::NOTDIR)) => Ok(None),
            Err(Stop::Errno(Errno::LOOP)) => {
                let why = "too many links".into();
                self.found(Writable::Open { path: path.to_owned(), why });
                Ok(None)
            }
            Err(Stop::Errno(errno)) => {
                let error = std::io::Error::from(errno).to_string();
                self.found(Writable::Unknown { path: path.to_owned(), error });
                Ok(None)
            }
        }
    }

    /// Follows the `#!` lines of a script that begins so.
    pub(super) fn interpreters(
        &mut self,
        script: &Path,
        head: &[u8],
        cwd: &Path,
        search: &OsStr,
    ) -> Result<(), Stop> {
        let mut script = script.to_owned();
        let mut named = Script::parse(head);
        for _ in 0..SCRIPTS {
            let Some(Script { interpreter, argument }) = named else { return Ok(()) };
            let Some(found) = self.try_follow(&cwd.join(&interpreter))? else { return Ok(()) };
            if program::is_env(&interpreter) || program::is_env(&found.path) {
                return self.env(&script, &argument, cwd, search);
            }
            named = Script::parse(&found.head());
            script = found.path;
        }
        let why = "its interpreters are scripts, without end".into();
        self.found(Writable::Open { path: script, why });
        Ok(())
    }

    /// `#!/usr/bin/env NAME`: the program that is looked up by env(1) counts as well.
    fn env(
        &mut self,
        script: &Path,
        argument: &[u8],
        cwd: &Path,
        search: &OsStr,
    ) -> Result<(), Stop> {
        let open = |why: &'static str| Writable::Open { path: script.to_owned(), why: why.into() };
        let name = match program::word_of_env(argument) {
            Ok(name) => name,
            Err(why) => {
                self.found(open(why));
                return Ok(());
            }
        };
        let candidates: Vec<_> = if name.as_os_str().as_bytes().contains(&b'/') {
            vec![cwd.join(name)]
        } else {
            let folders = search.as_bytes().split(|&byte| byte == b':').map(OsStr::from_bytes);
            folders.take(FOLDERS).map(|folder| cwd.join(folder).join(name)).collect()
        };
        for candidate in candidates {
            // Who may write to a folder that comes before could put one there, which is noted too.
            let Some(found) = self.try_follow(&candidate)?.filter(Place::is_file) else { continue };
            if Script::parse(&found.head()).is_some() {
                let why = "what env starts is a script itself".into();
                self.found(Writable::Open { path: found.path, why });
            }
            return Ok(());
        }
        self.found(open("env finds no such program"));
        Ok(())
    }
}

/// Returns whether nobody but root and the server's own account can change what a folder holds, but for
/// a group that root lets in.
fn is_trusted(folder: &Stat) -> bool {
    let own = rustix::process::geteuid().as_raw();
    [0, own].contains(&folder.st_uid) && folder.st_mode & 0o002 == 0
}

/// Returns the path of what is open, as the kernel has it, without asking the file system (proc(5)).
pub(super) fn path_of(descriptor: BorrowedFd<'_>) -> Result<PathBuf, Errno> {
    let path = readlinkat(CWD, by_descriptor(descriptor), Vec::new())?;
    Ok(PathBuf::from(OsString::from_vec(path.into_bytes())))
}

/// Returns the names in a path, without `.`.
fn names(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    })
}
