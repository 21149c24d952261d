//! What is to be run, found and complete: nothing is looked up after it.

use std::{ffi::OsString, path::PathBuf, sync::Arc};

use rustix::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use serde::{Deserialize, Serialize};

use super::program::Sealed;

/// A process that can be started as it stands here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The program's file, absolute. With a bare name and an environment of its own the standard
    /// library would leave posix_spawn(3) and fork.
    pub program: PathBuf,
    /// The program's name as it sees it.
    pub arg0: OsString,
    /// Its arguments after that.
    pub args: Vec<OsString>,
    /// Its whole environment; `RCMD_JOB`, by which its tree is known, is in it.
    pub env: Vec<(OsString, OsString)>,
    /// The folder it starts in, absolute.
    pub cwd: PathBuf,
    /// That folder as it was judged, which is entered whatever `cwd` leads to by then; without it the
    /// path is.
    pub folder: Option<Folder>,
    /// True when the folder and the program were found by way of folders of root and of the server's own
    /// account alone, on local file systems: nobody else can make their use wait.
    pub trusted: bool,
    /// The job it belongs to.
    pub job: String,
    /// True for a pipe as standard input; else it is `/dev/null`.
    pub stdin: bool,
    /// The copy in memory that `program` names, if it is one: it must live until the exec.
    pub sealed: Option<Sealed>,
    /// The user and groups it runs as; none for the server's own.
    pub credentials: Option<Credentials>,
    /// True when no program of it may gain privileges by its file (no_new_privs, prctl(2)).
    pub no_new_privs: bool,
}

/// A folder that was opened (O_PATH, open(2)): to be entered, and never read.
#[derive(Clone, Debug)]
pub struct Folder(Arc<OwnedFd>);

impl Folder {
    /// Wraps an open folder.
    pub fn new(descriptor: OwnedFd) -> Self {
        Self(Arc::new(descriptor))
    }

    /// Returns its descriptor's number, of use as long as this is held.
    pub(super) fn number(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Returns a path by which this process, or a child that still has its descriptors, reaches it.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl PartialEq for Folder {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Folder {}

/// A user with exactly these groups.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Credentials {
    /// Real, effective, saved and file system user ID.
    pub uid: u32,
    /// Real, effective, saved and file system group ID.
    pub gid: u32,
    /// All supplementary groups.
    pub groups: Vec<u32>,
}
