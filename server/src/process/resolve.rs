//! From a request to a plan: the folder, the environment and the program, found on this host.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
};

use rcmd_protocol::{frame::Mode, request::Request};
use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::{
    account::Account,
    environment::{self, Environment, Sources},
    error::{Obstacle, SpawnError, enter},
    plan::Plan,
};

/// A request with all it speaks of found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolved {
    /// What would run.
    pub plan: Plan,
    /// What the client should know although it is no error.
    pub note: Option<String>,
}

/// Finds what a request speaks of. It waits for the file system.
///
/// # Errors
/// When the folder can't be entered, the program is not found or can't be executed, or a setting of
/// the environment can't be made.
pub fn resolve(
    request: &Request,
    account: &Account,
    path: &str,
    job: &str,
    peer: &str,
) -> Result<Resolved, SpawnError> {
    let (cwd, note) = folder(request, account)?;
    let sources = Sources { account, path, job, peer, request: request.env() };
    let env = environment::build(&sources, environment::inherited())?;
    let mut words = request.args().iter().map(|word| OsString::from_vec(word.clone()));
    let (program, arg0, args) = match request.mode() {
        Mode::Shell => {
            let shell = account.login_shell()?.to_owned();
            executable(&shell)?;
            let arg0 = shell.file_name().unwrap_or(shell.as_os_str()).to_owned();
            (shell, arg0, ["-c".into()].into_iter().chain(words).collect())
        }
        Mode::Exec => {
            let arg0 = words.next().unwrap_or_default();
            (find(&arg0, &env, &cwd)?, arg0, words.collect())
        }
    };
    let plan = Plan {
        program,
        arg0,
        args,
        env,
        cwd,
        folder: None,
        job: job.to_owned(),
        stdin: request.stdin(),
        sealed: None,
        credentials: account.credentials.clone(),
        no_new_privs: false,
    };
    Ok(Resolved { plan, note })
}

/// The folder of the request, relative to the home; else the home, or `/` with a note about it.
fn folder(request: &Request, account: &Account) -> Result<(PathBuf, Option<String>), SpawnError> {
    let home = &account.home;
    if let Some(cwd) = request.cwd() {
        let cwd = home.join(OsStr::from_bytes(cwd));
        enter(&cwd)?;
        return Ok((cwd, None));
    }
    match enter(home) {
        Ok(()) => Ok((home.clone(), None)),
        Err(error) => Ok((PathBuf::from("/"), Some(format!("{error}; started in / instead")))),
    }
}

/// Finds a program as execvp(3) does, on the child's PATH and from its folder, but for two things:
/// an empty element of PATH, which would mean that folder and is mostly an accident, is passed over,
/// and a file without a `#!` line is not given to the shell.
fn find(name: &OsStr, env: &Environment, cwd: &Path) -> Result<PathBuf, SpawnError> {
    if name.as_bytes().contains(&b'/') {
        let program = cwd.join(name);
        return executable(&program).map(|()| program);
    }
    let path = environment::get(env, "PATH").unwrap_or_default();
    let not_found = || SpawnError::NotInPath { name: name.to_owned(), path: path.to_owned() };
    if name.is_empty() {
        return Err(not_found());
    }
    let mut obstacle = None;
    for element in path.as_bytes().split(|&byte| byte == b':').filter(|e| !e.is_empty()) {
        let program = cwd.join(OsStr::from_bytes(element)).join(name);
        match executable(&program) {
            Ok(()) => return Ok(program),
            Err(error @ SpawnError::NotExecutable { .. }) => _ = obstacle.get_or_insert(error),
            Err(_) => {}
        }
    }
    Err(obstacle.unwrap_or_else(not_found))
}

fn executable(program: &Path) -> Result<(), SpawnError> {
    let not_executable = |why| SpawnError::NotExecutable { path: program.to_owned(), why };
    match program.metadata() {
        Ok(found) if !found.is_file() => return Err(not_executable(Obstacle::NoFile)),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return Err(not_executable(Obstacle::Denied));
        }
        Err(_) => return Err(SpawnError::NotFound(program.to_owned())),
    }
    accessat(CWD, program, Access::EXEC_OK, AtFlags::EACCESS)
        .map_err(|_| not_executable(Obstacle::Denied))
}
