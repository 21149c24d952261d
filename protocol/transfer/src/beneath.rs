//! Folders beneath a root. Each is reached from the descriptor of the one above it and never through a link, whether
//! the kernel walks a path of several names (`openat2`) or we do, name by name.

use std::{
    cell::RefCell,
    collections::VecDeque,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    rc::Rc,
    sync::Arc,
};

use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags},
    io::Errno,
};

use crate::{
    facts::{FileFacts, FileId, Sort},
    failure::{Failure, FailureKind},
    limits,
};

/// The bytes of a path that a system call takes, with its NUL.
const PATH_MAX: usize = 4_096;

/// How a path of several names is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// `openat2(2)` keeps within the root.
    Kernel,
    /// Name by name, where the kernel or what filters its calls lacks `openat2`.
    ByHand,
}

impl Way {
    /// Returns the kernel's way if it has one.
    pub(crate) fn of_this_host() -> Self {
        let found = open_by_kernel(CWD, b".", OFlags::PATH | OFlags::DIRECTORY);
        if found.is_ok() { Self::Kernel } else { Self::ByHand }
    }
}

/// What a folder is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Its names are read.
    Listing,
    /// Names in it are used, which needs no permission to read it.
    Passing,
}

/// A folder beneath a root. It is known by its descriptor, or by its name in the folder above it and by what it was
/// when it was first opened.
#[derive(Debug)]
pub(crate) struct Folder {
    parent: Option<Rc<Folder>>,
    name: Vec<u8>,
    depth: usize,
    id: FileId,
    open: RefCell<Option<Arc<OwnedFd>>>,
}

impl Folder {
    /// Returns a folder that stays open.
    pub(crate) fn root(descriptor: Arc<OwnedFd>, id: FileId, name: &[u8]) -> Rc<Self> {
        let open = RefCell::new(Some(descriptor));
        Rc::new(Self { parent: None, name: name.to_vec(), depth: 0, id, open })
    }

    /// Returns how many folders lie between this one and its root.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    pub(crate) fn id(&self) -> FileId {
        self.id
    }

    /// Returns its path with one name more, which begins with the name of its root. A name that is empty is left out.
    pub(crate) fn path(&self, last: &[u8]) -> Vec<u8> {
        let mut names = vec![last];
        let mut folder = Some(self);
        while let Some(one) = folder {
            names.push(&one.name);
            folder = one.parent.as_deref();
        }
        names.reverse();
        names.retain(|name| !name.is_empty());
        names.join(&b'/')
    }
}

/// Opens folders, and keeps as many open as may be.
#[derive(Debug)]
pub(crate) struct Folders {
    way: Way,
    purpose: Purpose,
    open: VecDeque<Rc<Folder>>,
}

impl Folders {
    pub(crate) fn new(way: Way, purpose: Purpose) -> Self {
        Self { way, purpose, open: VecDeque::new() }
    }

    /// Opens a folder by its name in another.
    ///
    /// # Errors
    /// There is none of that name: what stands there may be a link, which is `unsafe_path`.
    pub(crate) fn enter(
        &mut self,
        parent: &Rc<Folder>,
        name: &[u8],
    ) -> Result<Rc<Folder>, Failure> {
        let above = self.open(parent)?;
        let opened = self.open_path(&above, name);
        let descriptor = opened.map_err(|error| refusal(error, &above, name))?;
        let facts = FileFacts::of(&descriptor).map_err(|error| Failure::of(error, "look at it"))?;
        let folder = Rc::new(Folder {
            parent: Some(Rc::clone(parent)),
            name: name.to_vec(),
            depth: parent.depth + 1,
            id: facts.id,
            open: RefCell::new(None),
        });
        self.keep(&folder, Arc::new(descriptor));
        Ok(folder)
    }

    /// Returns the descriptor of a folder, which is opened again if it was closed.
    ///
    /// # Errors
    /// It is not there any more, or another one is (`changed`).
    pub(crate) fn open(&mut self, folder: &Rc<Folder>) -> Result<Arc<OwnedFd>, Failure> {
        if let Some(descriptor) = &*folder.open.borrow() {
            return Ok(Arc::clone(descriptor));
        }
        // The names on the way from the nearest folder that is open.
        let mut names = Vec::new();
        let mut above = folder;
        let mut descriptor = loop {
            if let Some(descriptor) = &*above.open.borrow() {
                break Arc::clone(descriptor);
            }
            names.push(&*above.name);
            above = above.parent.as_ref().ok_or_else(gone)?;
        };
        while !names.is_empty() {
            let path = next_path(&mut names);
            let opened = self.open_path(&descriptor, &path);
            descriptor = Arc::new(opened.map_err(|error| refusal(error, &descriptor, &path))?);
        }
        let facts = FileFacts::of(&descriptor).map_err(|error| Failure::of(error, "look at it"))?;
        if facts.id != folder.id {
            return Err(gone());
        }
        self.keep(folder, Arc::clone(&descriptor));
        Ok(descriptor)
    }

    /// Closes a folder, so that it is opened anew when it is used again. That which a transfer begins with stays open.
    pub(crate) fn close(&mut self, folder: &Folder) {
        if folder.parent.is_some() {
            folder.open.replace(None);
        }
    }

    /// Keeps a descriptor, and closes the oldest if there are too many.
    fn keep(&mut self, folder: &Rc<Folder>, descriptor: Arc<OwnedFd>) {
        folder.open.replace(Some(descriptor));
        self.open.push_back(Rc::clone(folder));
        if self.open.len() > limits::OPEN_FOLDERS
            && let Some(oldest) = self.open.pop_front()
        {
            oldest.open.replace(None);
        }
    }

    /// Opens a folder by names that lead downwards, none of which may be a link.
    fn open_path(&self, above: &OwnedFd, path: &[u8]) -> Result<OwnedFd, Errno> {
        let open = |flags| match self.way {
            Way::Kernel => open_by_kernel(above, path, flags),
            Way::ByHand => open_by_hand(above, path, flags),
        };
        match open(OFlags::RDONLY | OFlags::DIRECTORY) {
            Err(Errno::ACCESS) if self.purpose == Purpose::Passing => {
                open(OFlags::PATH | OFlags::DIRECTORY)
            }
            opened => opened,
        }
    }
}

/// Opens a folder once more, to read its names: that moves a place which all have in common who share a descriptor.
///
/// # Errors
/// It may not be read.
pub(crate) fn opened_anew(folder: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::openat(folder, c".", flags, Mode::empty()) {
        // Reading it takes no permission to pass it.
        Err(Errno::ACCESS) => {
            let path = format!("/proc/self/fd/{}", folder.as_raw_fd());
            rustix::fs::open(path, flags, Mode::empty())
        }
        opened => opened,
    }
}

/// Takes names off the end of a list, as many as one system call takes, and returns them as a path.
fn next_path(names: &mut Vec<&[u8]>) -> Vec<u8> {
    let mut path = Vec::new();
    while let Some(name) = names.last() {
        if !path.is_empty() && path.len() + 1 + name.len() >= PATH_MAX {
            break;
        }
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        names.pop();
    }
    path
}

fn open_by_kernel(above: impl AsFd, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(above, path, flags, Mode::empty(), within)
}

fn open_by_hand(above: impl AsFd, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let passing = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut names = path.split(|byte| *byte == b'/').peekable();
    let mut held: Option<OwnedFd> = None;
    while let Some(name) = names.next() {
        if matches!(name, b"" | b"..") {
            return Err(Errno::XDEV);
        }
        let flags = if names.peek().is_some() { passing } else { flags };
        let folder = held.as_ref().map_or(above.as_fd(), OwnedFd::as_fd);
        let is_link = || FileFacts::at(folder, name).is_ok_and(|facts| facts.sort == Sort::Link);
        let next = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
            Err(Errno::NOTDIR) if is_link() => Err(Errno::LOOP),
            next => next,
        };
        held = Some(next?);
    }
    held.ok_or(Errno::NOENT)
}

fn gone() -> Failure {
    Failure::new(FailureKind::Changed, "a folder on the way to it became another")
}

/// Returns why a folder could not be opened: a link on the way is told from a file.
fn refusal(error: Errno, above: &OwnedFd, path: &[u8]) -> Failure {
    let error = match error {
        Errno::NOTDIR => {
            let again = open_by_hand(above, path, OFlags::PATH | OFlags::DIRECTORY);
            again.err().unwrap_or(error)
        }
        error => error,
    };
    if error == Errno::LOOP {
        return Failure::new(FailureKind::UnsafePath, "a link stands where a folder should be");
    }
    Failure::of(error, "enter the folder")
}

#[cfg(test)]
mod tests;
