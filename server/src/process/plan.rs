//! Plans: all that a start needs, found and complete, so that nothing is looked up after it.

use std::{any::Any, ffi::OsString, path::PathBuf, sync::Arc};

use rustix::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use serde::{Deserialize, Serialize};

use super::{
    ids::{Gid, Uid},
    program::Sealed,
};

/// A process that can be started without looking anything up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The absolute path of the program's file. With a bare name and an environment, the standard
    /// library would use fork instead of posix_spawn(3).
    pub program: PathBuf,
    /// The name by which the program is called: its first argument.
    pub arg0: OsString,
    /// The arguments after that.
    pub args: Vec<OsString>,
    /// The whole environment. It includes `RCMD_JOB`, by which the tree is known.
    pub env: Vec<(OsString, OsString)>,
    /// The absolute path of the folder it starts in.
    pub cwd: PathBuf,
    /// The folder as it was judged, which is entered wherever `cwd` leads by then. Without it,
    /// `cwd` is entered.
    pub folder: Option<Folder>,
    /// True if the folder and the program were found only through folders of root and of the
    /// server's own account, on local file systems: nobody else can make their use wait.
    pub trusted: bool,
    /// The ID of its job.
    pub job: String,
    /// True if standard input is a pipe; otherwise it is `/dev/null`.
    pub stdin: bool,
    /// The open file that is executed wherever `program` leads by then: a copy in memory, or the
    /// server's own program. It must live until the exec.
    pub sealed: Option<Sealed>,
    /// What a process of the server's own program is handed over. Without it, a process has
    /// standard input, output and error alone.
    pub handed: Option<Handed>,
    /// The user and groups that it runs as; `None` for the server's own.
    pub credentials: Option<Credentials>,
    /// True if no program that it executes may gain privileges through its file (no_new_privs,
    /// prctl(2)).
    pub no_new_privs: bool,
}

/// What a process of the server's own program gets beside standard input, output and error: a
/// socket to the server as descriptor [`Handed::SOCKET`], and folders behind it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Handed {
    /// The folders, in the order of their descriptors.
    pub folders: Vec<Folder>,
    /// What the server writes to the socket first.
    pub order: Arc<[u8]>,
}

impl Handed {
    /// The descriptor of the socket. That of the first folder is the next.
    pub const SOCKET: RawFd = 3;
    /// The maximum number of folders.
    pub const FOLDERS: usize = 32;
}

/// An open folder (O_PATH, open(2)), to be entered or handed over, and never read by the server.
#[derive(Clone, Debug)]
pub struct Folder {
    descriptor: Arc<OwnedFd>,
    /// The room that was taken for it, held as long as the descriptor.
    _held: Option<Arc<dyn Any + Send + Sync>>,
}

impl Folder {
    /// Wraps an open folder.
    pub fn new(descriptor: OwnedFd) -> Self {
        Self::counted(descriptor, None)
    }

    /// Wraps an open folder, with the room that was taken for it.
    pub fn counted(descriptor: OwnedFd, held: Option<Arc<dyn Any + Send + Sync>>) -> Self {
        Self { descriptor: Arc::new(descriptor), _held: held }
    }

    /// Returns the number of its descriptor, which is valid as long as this is held.
    pub(super) fn number(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }

    /// Returns a path to it for this process, or for a child that still has its descriptors.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.descriptor.as_raw_fd()))
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl PartialEq for Folder {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.descriptor, &other.descriptor)
    }
}

impl Eq for Folder {}

/// A user with exactly these groups.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Credentials {
    /// The real, effective, saved and file system user ID.
    pub uid: Uid,
    /// The real, effective, saved and file system group ID.
    pub gid: Gid,
    /// All supplementary groups.
    pub groups: Vec<Gid>,
}
