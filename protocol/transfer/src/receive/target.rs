//! The file that content is written to before it has its name.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt as _,
    },
};

use rustix::{
    fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, RenameFlags, Timestamps},
    io::Errno,
};

use crate::{
    facts::{
        FileFacts, SET_ID, Sort, acl,
        attributes::{self, proc_path},
    },
    failure::{Failure, FailureKind},
    name,
};

/// How many partial files are made for one that nobody else locks.
const PARTIALS: usize = 16;
/// A file of at least this many bytes is compared with the free space before it is written.
const WORTH_ASKING: u64 = 1024 * 1024;

/// Where content is written to.
#[derive(Debug)]
pub(super) enum Target {
    /// A file without a name, which is gone with its descriptor.
    Unnamed(File),
    /// A file under a name of ours. It is locked while it is written.
    Partial { file: File, name: Vec<u8> },
    /// The file that is there.
    InPlace(File),
}

impl Target {
    pub(super) fn file(&self) -> &File {
        match self {
            Self::Unnamed(file) | Self::Partial { file, .. } | Self::InPlace(file) => file,
        }
    }

    pub(super) fn write(&self, content: &[u8], at: u64) -> Result<(), Failure> {
        let written = self.file().write_all_at(content, at);
        written.map_err(|error| Failure::of_io(&error, "write it"))
    }

    /// Removes what has a name of ours.
    pub(super) fn remove(&self, folder: &OwnedFd) {
        if let Self::Partial { name, .. } = self {
            // Nothing more can be done; the next transfer tries again.
            let _ = rustix::fs::unlinkat(folder, &**name, AtFlags::empty());
        }
    }
}

/// Makes targets and gives them their names, in whichever way the system has.
#[derive(Debug)]
pub(super) struct Maker {
    /// Files without names can be made and named.
    has_unnamed: bool,
    /// A descriptor can be linked as it is, without `/proc`.
    links_descriptors: bool,
}

impl Maker {
    pub(super) fn new() -> Self {
        let flags = AtFlags::empty();
        let has_proc = rustix::fs::statat(CWD, c"/proc/self/fd", flags).is_ok();
        Self { has_unnamed: has_proc, links_descriptors: true }
    }

    /// Makes a file that nobody else can open.
    pub(super) fn make(
        &mut self,
        folder: &OwnedFd,
        name: &[u8],
        is_large: bool,
    ) -> Result<Target, Failure> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let private = Mode::RUSR | Mode::WUSR;
        if self.has_unnamed && !is_large {
            match rustix::fs::openat(folder, c".", flags | OFlags::TMPFILE, private) {
                Ok(file) => return Ok(Target::Unnamed(file.into())),
                Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {
                    self.has_unnamed = false;
                }
                Err(error) => return Err(Failure::of(error, "write in the folder")),
            }
        }
        for _ in 0..PARTIALS {
            let partial = name::new_partial(name)?;
            let flags = flags | OFlags::CREATE | OFlags::EXCL;
            let file = rustix::fs::openat(folder, &*partial, flags, private);
            let file = file.map_err(|error| Failure::of(error, "write in the folder"))?;
            // Another transfer takes no file that is locked. Where there are no locks it takes none at all.
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) => {
                    // Whoever looks at it, or has taken it, was faster. It is empty.
                    let _ = rustix::fs::unlinkat(folder, &*partial, AtFlags::empty());
                }
                _ => return Ok(Target::Partial { file: file.into(), name: partial }),
            }
        }
        Err(Failure::new(FailureKind::Io, "others lock each file that is made for it"))
    }

    /// Puts a file under its name. What stands there is replaced only if it is a file or a link.
    pub(super) fn put(
        &mut self,
        folder: &OwnedFd,
        target: &Target,
        name: &[u8],
        is_new: bool,
    ) -> Result<(), Failure> {
        let named = |error| Failure::of(error, "give it its name");
        match target {
            Target::InPlace(_) => Ok(()),
            Target::Unnamed(file) => self.link(folder, file, name, is_new),
            Target::Partial { name: partial, .. } => {
                if is_new {
                    let flags = RenameFlags::NOREPLACE;
                    match rustix::fs::renameat_with(folder, &**partial, folder, name, flags) {
                        Err(Errno::EXIST | Errno::INVAL | Errno::NOSYS) => {}
                        done => return done.map_err(named),
                    }
                }
                check_replaceable(folder, name)?;
                rustix::fs::renameat(folder, &**partial, folder, name).map_err(named)
            }
        }
    }

    /// Links an open file under one more name.
    pub(super) fn link(
        &mut self,
        folder: &OwnedFd,
        file: impl AsFd,
        name: &[u8],
        is_new: bool,
    ) -> Result<(), Failure> {
        let named = |error| Failure::of(error, "give it its name");
        if is_new {
            match self.link_descriptor(folder, &file, name) {
                Err(Errno::EXIST) => {}
                done => return done.map_err(named),
            }
        }
        check_replaceable(folder, name)?;
        let partial = name::new_partial(name)?;
        self.link_descriptor(folder, &file, &partial).map_err(named)?;
        rustix::fs::renameat(folder, &*partial, folder, name).map_err(|error| {
            let _ = rustix::fs::unlinkat(folder, &*partial, AtFlags::empty());
            named(error)
        })
    }

    fn link_descriptor(
        &mut self,
        folder: &OwnedFd,
        file: impl AsFd,
        name: &[u8],
    ) -> Result<(), Errno> {
        let file = file.as_fd();
        if self.links_descriptors {
            // It takes a capability, or a kernel of 2024 and the account that has opened it.
            match rustix::fs::linkat(file, c"", folder, name, AtFlags::EMPTY_PATH) {
                Err(Errno::NOENT | Errno::INVAL | Errno::PERM) => self.links_descriptors = false,
                done => return done,
            }
        }
        rustix::fs::linkat(CWD, proc_path(file), folder, name, AtFlags::SYMLINK_FOLLOW)
    }
}

/// Makes a symbolic link, which takes the place of a file or another link.
pub(super) fn make_link(
    folder: &OwnedFd,
    target: &[u8],
    name: &[u8],
    is_new: bool,
) -> Result<(), Failure> {
    let made = |error| Failure::of(error, "make the link");
    if is_new {
        match rustix::fs::symlinkat(target, folder, name) {
            Err(Errno::EXIST) => {}
            done => return done.map_err(made),
        }
    }
    check_replaceable(folder, name)?;
    let partial = name::new_partial(name)?;
    rustix::fs::symlinkat(target, folder, &*partial).map_err(made)?;
    rustix::fs::renameat(folder, &*partial, folder, name).map_err(|error| {
        let _ = rustix::fs::unlinkat(folder, &*partial, AtFlags::empty());
        made(error)
    })
}

/// Checks that a name stands for nothing, a file or a link.
///
/// # Errors
/// `exists`.
pub(super) fn check_replaceable(folder: &OwnedFd, name: &[u8]) -> Result<(), Failure> {
    match FileFacts::at(folder, name) {
        Ok(facts) => replaceable(facts.sort),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(Failure::of(error, "look at what is there")),
    }
}

/// Checks that what is there may be replaced by a file or a link.
///
/// # Errors
/// `exists`.
pub(super) fn replaceable(sort: Sort) -> Result<(), Failure> {
    let text = match sort {
        Sort::File | Sort::Link => return Ok(()),
        Sort::Folder => "a folder stands there",
        Sort::Special => "a device, a pipe or a socket stands there",
    };
    Err(Failure::new(FailureKind::Exists, text))
}

/// Opens what has a name, to set what it has. It is not followed, and opening it does not wait.
pub(super) fn open_entry(folder: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let reading = flags | OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    match rustix::fs::openat(folder, name, reading, Mode::empty()) {
        Err(Errno::ACCESS) => rustix::fs::openat(folder, name, flags | OFlags::PATH, Mode::empty()),
        opened => opened,
    }
}

/// Opens the file that is there, to write over it. It may have further names, wherever they are: to keep them one file
/// is what writing in place is for.
pub(super) fn open_for_writing(
    folder: &OwnedFd,
    name: &[u8],
    found: Option<&FileFacts>,
) -> Result<File, Failure> {
    let flags =
        OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, name, flags, Mode::empty());
    let file = file.map_err(|error| Failure::of(error, "write over it"))?;
    let facts = FileFacts::of(&file).map_err(|error| Failure::of(error, "look at it"))?;
    if facts.sort != Sort::File || found.is_some_and(|found| found.id != facts.id) {
        return Err(Failure::new(FailureKind::Changed, "another file took its place"));
    }
    Ok(file.into())
}

/// Sets the permission bits of an open file, also of one that was opened by `O_PATH`.
pub(super) fn set_mode(file: impl AsFd, mode: u32) -> Result<(), Failure> {
    let mode = Mode::from_raw_mode(mode);
    let file = file.as_fd();
    let set = match rustix::fs::fchmod(file, mode) {
        Err(Errno::BADF) => rustix::fs::chmodat(CWD, proc_path(file), mode, AtFlags::empty()),
        done => done,
    };
    set.map_err(|error| Failure::of(error, "set its permission bits"))
}

/// Takes the setuid and setgid bits off a file that is about to get another content.
pub(super) fn drop_set_id(file: &File) -> Result<(), Failure> {
    let facts = FileFacts::of(file).map_err(|error| Failure::of(error, "look at it"))?;
    if facts.mode & SET_ID == 0 { Ok(()) } else { set_mode(file, facts.mode & !SET_ID) }
}

/// Sets the times of an open file, also of one that was opened by `O_PATH`.
pub(super) fn set_times(file: impl AsFd, times: &Timestamps) -> Result<(), Failure> {
    let file = file.as_fd();
    let set = match rustix::fs::futimens(file, times) {
        Err(Errno::BADF) => rustix::fs::utimensat(CWD, proc_path(file), times, AtFlags::empty()),
        done => done,
    };
    set.map_err(|error| Failure::of(error, "set its times"))
}

/// Copies to a new file the extended attributes of the one that it will replace, its access list among them, unless it is to
/// have others. Those that say what a program may do, or that its content was judged, are not for new content.
pub(super) fn keep_attributes(
    file: &File,
    folder: &OwnedFd,
    name: &[u8],
    found: &FileFacts,
    (new_list, new_others): (bool, bool),
) -> Result<(), Failure> {
    let kept = |error| Failure::of(error, "keep the attributes of the file that is there");
    if !new_list {
        // The folder may have given it a list that the old file, which is kept instead, has not.
        attributes::remove(file, acl::ACCESS).map_err(kept)?;
    }
    let Ok(old) = open_entry(folder, name) else {
        return Ok(());
    };
    if !FileFacts::of(&old).is_ok_and(|now| now.id == found.id) {
        return Ok(());
    }
    let mut names = if new_others { Vec::new() } else { attributes::names(&old).map_err(kept)? };
    if !new_list {
        names.push(acl::ACCESS.to_vec());
    }
    for name in names {
        if let Some(value) = attributes::get(&old, &name).map_err(kept)? {
            attributes::set(file, &name, &value).map_err(kept)?;
        }
    }
    Ok(())
}

/// Cuts a file, or makes it longer by a hole.
pub(super) fn truncate(file: &File, length: u64) -> Result<(), Failure> {
    let set: io::Result<()> = file.set_len(length);
    set.map_err(|error| Failure::of_io(&error, "set its size"))
}

/// Checks that there is room for so many bytes where a folder lies. A system that does not say is asked by writing.
///
/// # Errors
/// `no_space`.
pub(super) fn check_room(folder: &OwnedFd, wanted: u64) -> Result<(), Failure> {
    if wanted < WORTH_ASKING {
        return Ok(());
    }
    let Some(free) = free_space(folder).filter(|free| *free < wanted) else {
        return Ok(());
    };
    let text = format!("it needs {wanted} bytes, and {free} are free");
    Err(Failure::new(FailureKind::NoSpace, text))
}

/// Returns the bytes that are free for this account where a folder lies, if the system says so.
pub(super) fn free_space(folder: &OwnedFd) -> Option<u64> {
    let system = rustix::fs::fstatvfs(folder).ok()?;
    Some(system.f_bavail.saturating_mul(system.f_frsize))
}
