//! Starting a process.
//!
//! The standard library starts it by posix_spawn(3), which shares the server's memory until the exec
//! instead of copying its page tables, as long as the program's path is absolute and nothing asks
//! for code between fork and exec: no `pre_exec`, `uid`, `gid` or `groups`. A process group and a
//! folder it can set (`posix_spawn_file_actions_addchdir_np`, glibc 2.29). It also gives SIGPIPE its
//! default back; the signal mask and the other signals are inherited as [`super::own`] left them.

use std::{
    io,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

use rustix::{
    fd::OwnedFd,
    pipe::{PipeFlags, pipe_with},
    process::Pid,
};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

use super::{
    children::{self, Leader},
    error::SpawnError,
    plan::Plan,
};

/// A process that was started, and the server's ends of its pipes.
pub(super) struct Spawned {
    pub(super) leader: Leader,
    pub(super) stdin: Option<ChildStdin>,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

/// Starts a process and returns when it has executed its program, or could not.
pub(super) fn spawn(plan: &Plan) -> Result<Spawned, SpawnError> {
    // Whatever can fail for want of descriptors does so before anything runs.
    let pipes = |error| {
        SpawnError::of_resources(plan, &error).unwrap_or_else(|| SpawnError::of(plan, error))
    };
    let (stdin, child_stdin) = input(plan.stdin).map_err(pipes)?;
    let (stdout, child_stdout) = output(ChildStdout::from_std).map_err(pipes)?;
    let (stderr, child_stderr) = output(ChildStderr::from_std).map_err(pipes)?;
    let mut command = Command::new(&plan.program);
    command
        .arg0(&plan.arg0)
        .args(&plan.args)
        .env_clear()
        .envs(plan.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&plan.cwd)
        .process_group(0)
        .stdin(child_stdin)
        .stdout(child_stdout)
        .stderr(child_stderr);
    let leader = children::start(|| {
        // The handle is dropped: it neither kills nor waits.
        let child = command.spawn().map_err(|error| SpawnError::of(plan, error))?;
        Ok::<_, SpawnError>(pid_of(&child))
    })?;
    Ok(Spawned { leader, stdin, stdout, stderr })
}

fn pid_of(child: &std::process::Child) -> Pid {
    Pid::from_child(child)
}

fn input(wanted: bool) -> io::Result<(Option<ChildStdin>, Stdio)> {
    if !wanted {
        return Ok((None, Stdio::null()));
    }
    let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((Some(ChildStdin::from_std(ours.into())?), theirs.into()))
}

fn output<S: From<OwnedFd>, T>(from_std: fn(S) -> io::Result<T>) -> io::Result<(T, Stdio)> {
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((from_std(ours.into())?, theirs.into()))
}
