//! What is to be run, down to the last byte.

use std::{ffi::OsString, path::PathBuf};

/// What is to be run. Nothing in it is looked up or interpreted any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The program's file, absolute.
    pub program: PathBuf,
    /// What the program is told it is called.
    pub arg0: OsString,
    /// Its arguments after that.
    pub args: Vec<OsString>,
    /// Its whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// The folder it starts in.
    pub cwd: PathBuf,
    /// The job, as it stands in `RCMD_JOB`, by which the tree is found again.
    pub job: String,
    /// Whether it has a pipe for standard input; else that is empty.
    pub stdin: bool,
}
