//! The reasons why a command could not be started.

use std::{ffi::OsString, io, path::PathBuf};

use rcmd_protocol::outcome::{ErrorKind, WireError};
use rustix::io::Errno;

use super::{
    account::AccountError,
    environment::EnvironmentError,
    ids::Uid,
    launcher::{Failed, PATIENCE, PLACES, Seen, Stage},
    look::{LookError, roots::RootFailure},
    plan::Plan,
    tree::Survivor,
};

/// The reason why a command could not be started. Nothing has run, except with [`SpawnError::Late`]
/// and [`SpawnError::Unwatched`]. Names are shown with control bytes escaped.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// No folder of PATH has such a program.
    #[error("no program {name:?} in PATH, which is {path:?}")]
    NotInPath {
        /// The name that was asked for.
        name: OsString,
        /// The value of PATH.
        path: OsString,
    },
    /// There is no such file.
    #[error("{0:?} does not exist")]
    NotFound(PathBuf),
    /// The file can't be executed.
    #[error("{path:?} can't be executed: {why}")]
    NotExecutable {
        /// The file.
        path: PathBuf,
        /// The reason why it can't be executed.
        why: Obstacle,
    },
    /// The arguments and the environment are larger than the kernel permits (execve(2)).
    #[error("the arguments and the environment are too large for {0:?}")]
    TooBig(PathBuf),
    /// The working folder can't be entered.
    #[error("the folder {path:?} can't be entered: {error}")]
    NoSuchDir {
        /// The folder.
        path: PathBuf,
        /// The error of the kernel.
        error: io::Error,
    },
    /// The host is out of a resource.
    #[error("the host has no {what} left to run {path:?}: {error}")]
    Resources {
        /// The program.
        path: PathBuf,
        /// The resource.
        what: &'static str,
        /// The error of the kernel.
        error: io::Error,
    },
    /// The child had not executed its program in time, and was killed: it never will.
    #[error("{0:?} was not executing after {limit} s and was given up", limit = PATIENCE.as_secs())]
    Stuck(PathBuf),
    /// The start was called off before the child had executed its program, and the child was
    /// killed: it never will.
    #[error("{0:?} was given up before it was executing")]
    CalledOff(PathBuf),
    /// The child executed its program just when it was given up, and was killed.
    #[error("{path:?} was executing only when it had been given up, and was killed")]
    Late {
        /// The program.
        path: PathBuf,
        /// The processes that it started and that could not be killed.
        left: Vec<Survivor>,
    },
    /// The program was executing before the server found that it can't watch it, and was killed.
    #[error("{path:?} was started, but the server could not watch it and killed it: {error}")]
    Unwatched {
        /// The program.
        path: PathBuf,
        /// The error of the runtime.
        error: io::Error,
        /// The processes that it started and that could not be killed.
        left: Vec<Survivor>,
    },
    /// Too many starts of the identity have not executed their programs.
    #[error("{0:?} was not started: {limit} starts of this identity are not executing yet", limit = PLACES)]
    Crowded(PathBuf),
    /// The process could not become the user that it had to run as.
    #[error("cannot change to user {uid}: {what}: {error}")]
    Credentials {
        /// The user ID.
        uid: Uid,
        /// The step that failed.
        what: &'static str,
        /// The error of the kernel.
        error: io::Error,
    },
    /// The account is unknown, or commands may not run as it.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The environment can't be made.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// The host could not be looked at.
    #[error(transparent)]
    Look(#[from] LookError),
    /// The request names no program: it is one for files.
    #[error("a transfer of files names no program")]
    NoProgram,
    /// The paths of a transfer lead nowhere, or to more than it may have.
    #[error("{message}")]
    NoRoot {
        /// The kind of error.
        kind: ErrorKind,
        /// What happened, with the path.
        message: String,
    },
    /// The step before the start has failed.
    #[error("{0}")]
    First(Box<WireError>),
}

/// The reason why a file can't be executed.
#[derive(Debug, thiserror::Error)]
pub enum Obstacle {
    /// The file is a folder, a device or another file that is not regular.
    #[error("it is not a regular file")]
    NoFile,
    /// The mode of the file or of a folder above it, or the mount, forbids it.
    #[error("permission denied")]
    Denied,
    /// The file is neither a program for this machine nor a script that names its interpreter.
    #[error("it is not a program for this machine and has no #! line")]
    Format,
    /// The interpreter of a script, or the loader of a program, does not exist.
    #[error("{}", missing(.0))]
    Interpreter(Option<PathBuf>),
    /// The interpreter of a script can't be executed.
    #[error("its interpreter {0:?} can't be executed: permission denied")]
    InterpreterDenied(PathBuf),
    /// Any other error.
    #[error("{0}")]
    Other(io::Error),
}

fn missing(interpreter: &Option<PathBuf>) -> String {
    match interpreter {
        Some(path) => format!("its interpreter {path:?} does not exist"),
        None => "its loader does not exist, or the program itself was removed".to_owned(),
    }
}

/// Returns what the host lacks when a system call of any kind fails with this error, if it lacks
/// something.
pub(super) fn lacking(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::MFILE | Errno::NFILE => Some("file descriptors"),
        Errno::NOMEM => Some("memory"),
        _ => None,
    }
}

impl SpawnError {
    /// Returns the error for the failure of a start of this plan.
    pub(super) fn at(plan: &Plan, failed: Failed) -> Self {
        let Failed { stage, error, seen } = failed;
        if let Some(error) = Self::of_resources(plan, &error) {
            return error;
        }
        let path = plan.program.clone();
        let what = match stage {
            Stage::Folder => return Self::NoSuchDir { path: plan.cwd.clone(), error },
            Stage::Clone | Stage::Session | Stage::Descriptors => {
                return Self::Resources { path, what: "room for a process", error };
            }
            Stage::Exec => return Self::of_exec(path, error, &seen),
            Stage::Keyring => "a session keyring of its own",
            Stage::Privileges => "giving up capabilities",
            Stage::Groups => "setgroups",
            Stage::Group => "setresgid",
            Stage::User => "setresuid",
            Stage::Regained => "it could become root again",
        };
        let uid = plan.credentials.as_ref().map_or(Uid::ROOT, |credentials| credentials.uid);
        Self::Credentials { uid, what, error }
    }

    /// Returns the error for a failure of execve(2). The kernel returns the same error for a
    /// program and for its interpreter; the findings of the child show which of them is meant.
    fn of_exec(path: PathBuf, error: io::Error, seen: &Seen) -> Self {
        let is_itself = seen.obstacle.is_some();
        let why = match Errno::from_io_error(&error) {
            Some(Errno::TOOBIG) => return Self::TooBig(path),
            Some(Errno::NOENT | Errno::NOTDIR) if is_itself => return Self::NotFound(path),
            Some(Errno::NOENT) => Obstacle::Interpreter(seen.interpreter()),
            Some(Errno::NOTDIR) => return Self::NotFound(path),
            Some(Errno::NOEXEC) => Obstacle::Format,
            Some(Errno::ACCESS | Errno::PERM) => match seen.interpreter() {
                Some(interpreter) if !is_itself => Obstacle::InterpreterDenied(interpreter),
                _ => Obstacle::Denied,
            },
            _ => Obstacle::Other(error),
        };
        Self::NotExecutable { path, why }
    }

    /// Returns the error for a lack of resources, if the failure is one.
    fn of_resources(plan: &Plan, error: &io::Error) -> Option<Self> {
        let errno = Errno::from_io_error(error)?;
        let what = match errno {
            Errno::AGAIN => "processes",
            Errno::NOSPC => "memory",
            errno => lacking(errno)?,
        };
        Some(Self::Resources { path: plan.program.clone(), what, error: errno.into() })
    }

    /// Returns the error for a root that was not found.
    pub(super) fn of_root(failure: RootFailure) -> Self {
        let RootFailure { kind, message } = failure;
        Self::NoRoot { kind: ErrorKind::parse(&kind).unwrap_or(ErrorKind::NoSuchFile), message }
    }

    /// Returns whether the program may have done something before it ended, so that its outcome is
    /// unknown.
    pub fn may_have_run(&self) -> bool {
        matches!(self, Self::Late { .. } | Self::Unwatched { .. })
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::Late { .. } | Self::Unwatched { .. } => ErrorKind::Lost,
            Self::Crowded(_) | Self::CalledOff(_) => ErrorKind::Busy,
            Self::Stuck(_) => ErrorKind::Resources,
            Self::NotInPath { .. } | Self::NotFound(_) => ErrorKind::NotFound,
            Self::NotExecutable { .. } => ErrorKind::NotExecutable,
            Self::TooBig(_) => ErrorKind::TooBig,
            Self::NoSuchDir { .. } => ErrorKind::NoSuchDir,
            Self::Resources { .. } => ErrorKind::Resources,
            Self::Environment(_) | Self::NoProgram => ErrorKind::Usage,
            Self::NoRoot { kind, .. } => *kind,
            Self::Credentials { .. } => ErrorKind::Resources,
            Self::Account(error) => error.kind(),
            Self::Look(error) => error.kind(),
            Self::First(failure) => failure.kind,
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::NotInPath { .. } => {
                "Name the program by its whole path; a builtin or a line for the shell needs --shell."
            }
            Self::NotFound(_) => "Check the path on the host; `ls -l` there shows what exists.",
            Self::NotExecutable { why, .. } => match why {
                Obstacle::NoFile => {
                    "Name a program; this path is a folder, a device or another special file."
                }
                Obstacle::Denied => "Set its mode with `chmod +x`, and check for a noexec mount.",
                Obstacle::Format => {
                    "Add a #! line such as #!/bin/sh, or run it by the shell with --shell."
                }
                Obstacle::Interpreter(_) => "Install the interpreter, or correct the #! line.",
                Obstacle::InterpreterDenied(_) => {
                    "Set the mode of the interpreter with `chmod +x`, or name another in the #! line."
                }
                Obstacle::Other(_) => "Try to run it on the host itself.",
            },
            Self::TooBig(_) => "Send the data on standard input or in a file.",
            Self::NoSuchDir { .. } => "Name another folder with --cwd.",
            Self::Resources { what: "file descriptors", .. } => {
                "Raise LimitNOFILE of the server's unit, or try again later."
            }
            Self::Resources { .. } => "Try again later, or check what uses up the host.",
            Self::Stuck(_) => {
                "The file system of the program or of its folder does not answer: see `findmnt -T` on the host."
            }
            Self::CalledOff(_) => "Nothing ran.",
            Self::Late { .. } | Self::Unwatched { .. } => {
                "It may have started: check what it did before you run it again."
            }
            Self::Crowded(_) => {
                "Nothing ran; look on the host for a file system that does not answer."
            }
            Self::Credentials { .. } => {
                "The server needs CAP_SETUID, CAP_SETGID and CAP_SETPCAP; look at its unit or container."
            }
            Self::Account(error) => error.hint(),
            Self::Look(error) => error.hint(),
            Self::First(_) | Self::NoProgram => "Nothing ran.",
            Self::NoRoot { kind: ErrorKind::TooBig, .. } => {
                "Nothing was transferred; name the folder that holds them, and choose with --include."
            }
            Self::NoRoot { kind: ErrorKind::NoSuchFile, .. } => {
                "Nothing was transferred. `rcmd-client ls HOST:FOLDER` lists what is in a folder."
            }
            Self::NoRoot { kind: ErrorKind::Permission, .. } => {
                "Nothing was transferred. -l USER names another user of the host."
            }
            Self::NoRoot { .. } => "Nothing was transferred. `rcmd-client ls` shows what is there.",
            Self::Environment(EnvironmentError::NoSetting(_)) => "Write NAME=VALUE.",
            Self::Environment(EnvironmentError::Reserved(_)) => "Choose another name.",
        }
    }
}

impl From<SpawnError> for WireError {
    fn from(error: SpawnError) -> Self {
        if let SpawnError::First(failure) = error {
            return *failure;
        }
        let failure = Self::new(error.kind(), error.to_string()).hint(error.hint());
        match error {
            SpawnError::Resources { .. }
            | SpawnError::Crowded(_)
            | SpawnError::Account(AccountError::Slow)
            | SpawnError::Look(_) => failure.retry_after_ms(1000),
            _ => failure,
        }
    }
}
