//! Why a command could not be started.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use rcmd_protocol::outcome::{ErrorKind, WireError};
use rustix::{
    fs::{Access, AtFlags, CWD, accessat},
    io::Errno,
};

use super::{account::AccountError, environment::EnvironmentError, launcher::Stage, plan::Plan};

/// Why a command could not be started. Nothing has run, but for [`SpawnError::Unwatched`]. Names are
/// shown with control bytes escaped.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// No folder of PATH has such a program.
    #[error("no program {name:?} in PATH, which is {path:?}")]
    NotInPath {
        /// As it was asked for.
        name: OsString,
        /// Where it was looked for.
        path: OsString,
    },
    /// There is no such file.
    #[error("{0:?} does not exist")]
    NotFound(PathBuf),
    /// There is such a file, and it can't be executed.
    #[error("{path:?} can't be executed: {why}")]
    NotExecutable {
        /// The file.
        path: PathBuf,
        /// What keeps it from that.
        why: Obstacle,
    },
    /// Arguments and environment are larger than the kernel takes (execve(2)).
    #[error("the arguments and the environment are too large for {0:?}")]
    TooBig(PathBuf),
    /// The working folder can't be entered.
    #[error("the folder {path:?} can't be entered: {error}")]
    NoSuchDir {
        /// The folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The host is out of something.
    #[error("the host has no {what} left to run {path:?}: {error}")]
    Resources {
        /// The program.
        path: PathBuf,
        /// What is missing.
        what: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
    /// The program was running before the server found that it can't see its end, and was killed.
    #[error("{path:?} was started, but the server could not watch it and killed it: {error}")]
    Unwatched {
        /// The program.
        path: PathBuf,
        /// Why it could not be watched.
        error: io::Error,
    },
    /// The process could not become the user that it was to run as.
    #[error("user {uid} can't be become: {what}: {error}")]
    Credentials {
        /// The user's number.
        uid: u32,
        /// What failed.
        what: &'static str,
        /// Why.
        error: io::Error,
    },
    /// The user may not run anything here, or is unknown.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The environment can't be made.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
}

/// What keeps a file from being executed.
#[derive(Debug, thiserror::Error)]
pub enum Obstacle {
    /// It is a folder, a device or another thing that is no program.
    #[error("it is no regular file")]
    NoFile,
    /// Its mode, a folder above it, or the mount forbids it.
    #[error("permission denied")]
    Denied,
    /// It is neither a program for this machine nor a script that names its interpreter.
    #[error("it is no program of this machine and has no #! line")]
    Format,
    /// The interpreter of a script, or the loader of a program, does not exist.
    #[error("{}", missing(.0))]
    Interpreter(Option<PathBuf>),
    /// Anything else.
    #[error("{0}")]
    Other(io::Error),
}

fn missing(interpreter: &Option<PathBuf>) -> String {
    match interpreter {
        Some(path) => format!("its interpreter {path:?} does not exist"),
        None => "its loader does not exist".to_owned(),
    }
}

impl SpawnError {
    /// Returns what the kernel's answer means for this plan. It is ENOENT for a program, its interpreter
    /// and the folder alike, so that this looks which it was.
    pub(super) fn of(plan: &Plan, error: io::Error) -> Self {
        if let Some(error) = Self::of_resources(plan, &error) {
            return error;
        }
        let path = plan.program.clone();
        let not_executable = |why| Self::NotExecutable { path: path.clone(), why };
        if let Err(error) = enter(&plan.cwd) {
            return error;
        }
        match Errno::from_io_error(&error) {
            Some(Errno::TOOBIG) => Self::TooBig(path),
            Some(Errno::NOENT) if path.exists() => {
                not_executable(Obstacle::Interpreter(interpreter(&path)))
            }
            Some(Errno::NOENT | Errno::NOTDIR) => Self::NotFound(path),
            Some(Errno::NOEXEC) => not_executable(Obstacle::Format),
            Some(Errno::ACCESS | Errno::PERM) => not_executable(Obstacle::Denied),
            _ => not_executable(Obstacle::Other(error)),
        }
    }

    /// Returns what an error at some stage of a start means.
    pub(super) fn at(plan: &Plan, stage: Stage, error: io::Error) -> Self {
        let what = match stage {
            Stage::Folder => return Self::NoSuchDir { path: plan.cwd.clone(), error },
            Stage::Clone | Stage::Session | Stage::Descriptors => {
                let path = plan.program.clone();
                return Self::of_resources(plan, &error).unwrap_or(Self::Resources {
                    path,
                    what: "room for a process",
                    error,
                });
            }
            Stage::Exec => return Self::of(plan, error),
            Stage::Privileges => "giving up capabilities",
            Stage::Groups => "setgroups",
            Stage::Group => "setresgid",
            Stage::User => "setresuid",
            Stage::Regained => "it could become root again",
        };
        let uid = plan.credentials.as_ref().map_or(0, |credentials| credentials.uid);
        Self::Credentials { uid, what, error }
    }

    /// Returns what an error means when the kernel was asked for no more than descriptors, if it is one
    /// of them.
    pub(super) fn of_resources(plan: &Plan, error: &io::Error) -> Option<Self> {
        let errno = Errno::from_io_error(error)?;
        let what = match errno {
            Errno::MFILE | Errno::NFILE => "file descriptors",
            Errno::AGAIN => "processes",
            Errno::NOMEM | Errno::NOSPC => "memory",
            _ => return None,
        };
        Some(Self::Resources { path: plan.program.clone(), what, error: errno.into() })
    }

    /// Returns whether the program may have done something before it ended: its outcome is unknown
    /// then.
    pub fn may_have_run(&self) -> bool {
        matches!(self, Self::Unwatched { .. })
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unwatched { .. } => ErrorKind::Lost,
            Self::NotInPath { .. } | Self::NotFound(_) => ErrorKind::NotFound,
            Self::NotExecutable { .. } => ErrorKind::NotExecutable,
            Self::TooBig(_) => ErrorKind::TooBig,
            Self::NoSuchDir { .. } => ErrorKind::NoSuchDir,
            Self::Resources { .. } => ErrorKind::Resources,
            Self::Environment(_) => ErrorKind::Usage,
            Self::Credentials { .. } => ErrorKind::Resources,
            Self::Account(error) => error.kind(),
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::NotInPath { .. } => {
                "Name the program by its whole path; a builtin or a line for the shell needs --shell."
            }
            Self::NotFound(_) => "Check the path on the host; `ls -l` there shows what exists.",
            Self::NotExecutable { why, .. } => match why {
                Obstacle::NoFile => "Name a program in it.",
                Obstacle::Denied => "Set its mode with `chmod +x`, and look for a noexec mount.",
                Obstacle::Format => {
                    "Add a #! line such as #!/bin/sh, or run it by the shell with --shell."
                }
                Obstacle::Interpreter(_) => "Install what it names, or correct its #! line.",
                Obstacle::Other(_) => "Try the same on the host itself.",
            },
            Self::TooBig(_) => "Send the data on standard input or in a file.",
            Self::NoSuchDir { .. } => "Name another folder with --cwd.",
            Self::Resources { what: "file descriptors", .. } => {
                "Raise LimitNOFILE of the server's unit, or try again later."
            }
            Self::Resources { .. } => "Try again later, or look what fills the host.",
            Self::Unwatched { .. } => {
                "It may have begun its work: see what it did before you run it again."
            }
            Self::Credentials { .. } => {
                "The server needs CAP_SETUID, CAP_SETGID and CAP_SETPCAP; look at its unit or container."
            }
            Self::Account(error) => error.hint(),
            Self::Environment(EnvironmentError::NoSetting(_)) => "Write NAME=VALUE.",
            Self::Environment(EnvironmentError::Reserved(_)) => "Choose another name.",
        }
    }
}

impl From<SpawnError> for WireError {
    fn from(error: SpawnError) -> Self {
        let failure = Self::new(error.kind(), error.to_string()).hint(error.hint());
        match error {
            SpawnError::Resources { .. } | SpawnError::Account(AccountError::Slow) => {
                failure.retry_after_ms(1000)
            }
            _ => failure,
        }
    }
}

/// Checks that a process could start in this folder.
pub(super) fn enter(path: &Path) -> Result<(), SpawnError> {
    let entered = match path.metadata() {
        Ok(found) if !found.is_dir() => Err(Errno::NOTDIR.into()),
        Ok(_) => accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).map_err(io::Error::from),
        Err(error) => Err(error),
    };
    entered.map_err(|error| SpawnError::NoSuchDir { path: path.to_owned(), error })
}

/// The interpreter that a script names (execve(2), "Interpreter scripts").
fn interpreter(path: &Path) -> Option<PathBuf> {
    let mut head = Vec::new();
    File::open(path).ok()?.take(256).read_to_end(&mut head).ok()?;
    let line = head.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    let name = line.trim_ascii_start().split(|byte| matches!(byte, b' ' | b'\t')).next()?;
    Some(Path::new(std::ffi::OsStr::from_bytes(name)).to_owned())
}
