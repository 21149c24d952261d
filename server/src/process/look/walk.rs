//! Following a path by descriptors, name by name: the kind of each file is known before it is
//! opened, and the users who could change it are noted on the way.
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
use crate::process::{
    ids::Uid,
    program::{self, Script, Writable},
};

/// The maximum number of links on the way to one file (path_resolution(7)).
const LINKS: usize = 40;
/// The maximum number of folders of PATH that are searched.
pub(super) const FOLDERS: usize = 256;
/// The maximum number of interpreters that are scripts themselves (execve(2): four, and the file).
const SCRIPTS: usize = 5;

/// The reach of a look.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reach<'a> {
    /// The folders of root and of the server's own account on local file systems alone, where
    /// nobody can make the look wait.
    Trusted(&'a Mounts),
    /// All folders. The look may wait for ever, so it must be made in a process that can be killed.
    Anywhere,
}

/// The reason why a look was stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    /// The path leads out of the look's reach.
    OutOfReach,
    /// The kernel has returned an error.
    Errno(Errno),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

/// A file at the end of a path, opened with O_PATH: nothing was read, and no device was activated.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) descriptor: OwnedFd,
    /// The path without links.
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

    /// Opens a regular file for reading, and no other kind. Does not wait for the holder of a lease
    /// on it.
    pub(super) fn open(&self) -> Result<File, Errno> {
        if !self.is_file() {
            return Err(Errno::INVAL);
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(open(by_descriptor(&self.descriptor), flags, Mode::empty())?.into())
    }

    /// Returns the first bytes, as many as the kernel reads (execve(2)). Returns none if it is not
    /// a regular file or can't be read.
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

/// The role of a place on a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    /// The path leads through it.
    Folder,
    /// The path ends there.
    File,
}

/// A walk that follows paths, and notes who could change the files and folders on them.
pub(super) struct Walk<'a> {
    pub(super) reach: Reach<'a>,
    /// The user ID that the program will run as; that this user could change a file is not a
    /// finding.
    pub(super) uid: Uid,
    /// The first finding.
    pub(super) writable: Option<Writable>,
}

impl Walk<'_> {
    fn found(&mut self, writable: Writable) {
        self.writable.get_or_insert(writable);
    }

    /// Follows an absolute path to its end, and checks each folder on the way.
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
                self.note(&place, if waiting.is_empty() { Role::File } else { Role::Folder });
                continue;
            }
            links += 1;
            if links > LINKS {
                return Err(Errno::LOOP.into());
            }
            let target = readlinkat(&next.descriptor, "", Vec::new())?;
            let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
            // Links of proc lead each process to another place, not to the path in their text
            // (proc(5)).
            if fstatfs(&next.descriptor)?.f_type == PROC_SUPER_MAGIC {
                let why = "it leads to another file for each process";
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
        self.note(&place, Role::Folder);
        Ok(place)
    }

    /// Opens the next name on the way; `path` is its whole path.
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
                    // The kernel lacks openat2, or a sandbox forbids it.
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

    /// Notes who may write to a file or folder, other than root and the user that the program will
    /// run as. With an ACL the group bits of the mode are its mask (acl(5)), so they cover it too.
    /// The sticky bit of a folder keeps others from replacing a file, but not from making a new one
    /// on the path.
    fn note(&mut self, place: &Place, role: Role) {
        let Stat { st_uid, st_gid, st_mode, .. } = place.stat;
        let whom = if ![Uid::ROOT, self.uid].contains(&Uid::from_raw(st_uid)) {
            format!("its owner, user {st_uid}")
        } else if st_mode & 0o002 != 0 {
            "everybody".to_owned()
        } else if st_mode & 0o020 != 0 {
            format!("its group, {st_gid}")
        } else {
            return;
        };
        let what = match role {
            Role::File => "the file",
            Role::Folder => "the folder",
        };
        self.found(Writable::By { what: what.into(), path: place.path.clone(), whom });
    }

    /// Follows a path that may not exist. A failure to look at it is a finding.
    fn try_follow(&mut self, path: &Path) -> Result<Option<Place>, Stop> {
        match self.follow(path) {
            Ok(place) => Ok(Some(place)),
            Err(Stop::OutOfReach) => Err(Stop::OutOfReach),
            // A missing file can't run; who could create it was checked at the folder.
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

    /// Follows the `#!` lines of a script with this head.
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
        let why = "its interpreters are scripts without end".into();
        self.found(Writable::Open { path: script, why });
        Ok(())
    }

    /// Follows `#!/usr/bin/env NAME`: the program that env(1) finds counts as well.
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
            // Others who may write to an earlier folder could put a program there, which is noted
            // too.
            let Some(found) = self.try_follow(&candidate)?.filter(Place::is_file) else { continue };
            if Script::parse(&found.head()).is_some() {
                let why = "the program that env starts is itself a script".into();
                self.found(Writable::Open { path: found.path, why });
            }
            return Ok(());
        }
        self.found(open("env finds no such program"));
        Ok(())
    }
}

/// Returns whether only root and the server's own account, or a group that root permits, can change
/// what a folder contains.
fn is_trusted(folder: &Stat) -> bool {
    let own = rustix::process::geteuid().as_raw();
    [0, own].contains(&folder.st_uid) && folder.st_mode & 0o002 == 0
}

/// Returns the path of an open file from the kernel, without asking the file system (proc(5)).
pub fn path_of(descriptor: BorrowedFd<'_>) -> Result<PathBuf, Errno> {
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
