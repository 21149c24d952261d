//! What is to be run, found and complete: nothing is looked up after it.

use std::{ffi::OsString, path::PathBuf};

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

/// A user with exactly these groups.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// Real, effective, saved and file system user ID.
    pub uid: u32,
    /// Real, effective, saved and file system group ID.
    pub gid: u32,
    /// All supplementary groups.
    pub groups: Vec<u32>,
}
