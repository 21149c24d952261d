//! From a request to a plan: the program on the command's own PATH, its folder, its environment.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
};

use rcmd_protocol::{
    frame::Mode,
    outcome::{ErrorKind, Failure},
    request::Request,
};
use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::{account::Account, plan::Plan};

/// A plan, and what the user should know of how it came about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolved {
    /// What is to be run.
    pub plan: Plan,
    /// Such as a home folder that is missing.
    pub note: Option<String>,
}

/// Variables of the server's own that commands see.
fn is_inherited(name: &OsStr) -> bool {
    name == "LANG" || name == "TZ" || name.as_bytes().starts_with(b"LC_")
}

/// Finds what a request speaks of on this host.
///
/// # Errors
/// `no_such_dir`, `not_found` or `not_executable`, with what to do.
pub fn resolve(
    request: &Request,
    account: &Account,
    path: &str,
    job: &str,
    peer: &str,
) -> Result<Resolved, Failure> {
    let (cwd, note) = folder(request, account)?;
    let env = environment(request, account, path, job, peer);
    let mut args = request.args.iter().map(|arg| OsString::from_vec(arg.clone()));
    let (program, arg0, args) = match request.mode {
        Mode::Exec => {
            let name = args.next().unwrap_or_default();
            let search = env.iter().rev().find(|(name, _)| name == "PATH").map(|(_, path)| path);
            let program = find(&name, search.map_or(OsStr::new(""), |path| path), &cwd)?;
            (program, name, args.collect())
        }
        Mode::Shell => {
            let arg0 = account.shell.file_name().unwrap_or(account.shell.as_os_str()).to_owned();
            let args = std::iter::once(OsString::from("-c")).chain(args).collect();
            (account.shell.clone(), arg0, args)
        }
    };
    let plan = Plan { program, arg0, args, env, cwd, job: job.to_owned(), stdin: request.stdin };
    Ok(Resolved { plan, note })
}

fn folder(request: &Request, account: &Account) -> Result<(PathBuf, Option<String>), Failure> {
    let Some(cwd) = &request.cwd else {
        if account.home.is_absolute() && enter(&account.home).is_ok() {
            return Ok((account.home.clone(), None));
        }
        let note = format!("the home folder {} can't be entered; started in /", account.home.display());
        return Ok((PathBuf::from("/"), Some(note.escape_debug().to_string())));
    };
    let cwd = account.home.join(OsStr::from_bytes(cwd));
    enter(&cwd).map_err(|error| no_such_dir(&cwd, &error))?;
    Ok((cwd, None))
}

pub(super) fn enter(folder: &Path) -> std::io::Result<()> {
    if !std::fs::metadata(folder)?.is_dir() {
        return Err(std::io::ErrorKind::NotADirectory.into());
    }
    Ok(accessat(CWD, folder, Access::EXEC_OK, AtFlags::EACCESS)?)
}

pub(super) fn no_such_dir(folder: &Path, error: &std::io::Error) -> Failure {
    Failure::new(ErrorKind::NoSuchDir, format!("the folder {folder:?} can't be entered: {error}"))
        .hint("Nothing ran; give --cwd a folder that exists on the host.")
}

fn environment(
    request: &Request,
    account: &Account,
    path: &str,
    job: &str,
    peer: &str,
) -> Vec<(OsString, OsString)> {
    let mut env: Vec<(OsString, OsString)> =
        std::env::vars_os().filter(|(name, _)| is_inherited(name)).collect();
    let mut set = |name: &OsStr, value: OsString| match env.iter_mut().find(|(n, _)| n == name) {
        Some((_, old)) => *old = value,
        None => env.push((name.to_owned(), value)),
    };
    set(OsStr::new("HOME"), account.home.clone().into());
    set(OsStr::new("USER"), account.name.clone());
    set(OsStr::new("LOGNAME"), account.name.clone());
    set(OsStr::new("SHELL"), account.shell.clone().into());
    set(OsStr::new("PATH"), path.into());
    for setting in &request.env {
        let at = setting.iter().position(|&byte| byte == b'=').unwrap_or(setting.len());
        let (name, value) = setting.split_at(at);
        let value = value.get(1..).unwrap_or_default();
        set(OsStr::from_bytes(name), OsString::from_vec(value.to_vec()));
    }
    // Last, so that nobody sets them: the tree is found again by the one.
    set(OsStr::new("RCMD_JOB"), job.into());
    set(OsStr::new("RCMD_PEER"), peer.into());
    env
}

/// Finds a program as execvp(3) does, in the command's own PATH and folder.
fn find(name: &OsStr, path: &OsStr, cwd: &Path) -> Result<PathBuf, Failure> {
    if name.as_bytes().contains(&b'/') {
        let program = cwd.join(name);
        return runnable(&program).map(|()| program.clone()).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
                not_found(format!("{program:?} does not exist"))
            }
            _ => not_executable(&program, &error.to_string()),
        });
    }
    let mut denied = None;
    for folder in path.as_bytes().split(|&byte| byte == b':') {
        // An empty entry means the current folder, which is an accident waiting to happen.
        if folder.is_empty() {
            continue;
        }
        let program = cwd.join(OsStr::from_bytes(folder)).join(name);
        match runnable(&program) {
            Ok(()) => return Ok(program),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                denied.get_or_insert((program, error));
            }
            Err(_) => {}
        }
    }
    match denied {
        Some((program, error)) => Err(not_executable(&program, &error.to_string())),
        None => Err(not_found(format!("there is no {name:?} in the command's PATH, {path:?}"))),
    }
}

fn runnable(program: &Path) -> std::io::Result<()> {
    if !std::fs::metadata(program)?.is_file() {
        return Err(std::io::ErrorKind::PermissionDenied.into());
    }
    Ok(accessat(CWD, program, Access::EXEC_OK, AtFlags::EACCESS)?)
}

fn not_found(message: String) -> Failure {
    Failure::new(ErrorKind::NotFound, message)
        .hint("Name the program with its folder, or set PATH with --env.")
}

pub(super) fn not_executable(program: &Path, why: &str) -> Failure {
    Failure::new(ErrorKind::NotExecutable, format!("{program:?} can't be executed: {why}"))
        .hint("Check its permissions and its #! line on the host.")
}
