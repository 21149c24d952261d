//! Starting a process, by one of two ways.
//!
//! *Portable*: the standard library starts it by posix_spawn(3), which shares the server's memory
//! until the exec instead of copying its page tables, as long as the program's path is absolute and
//! nothing asks for code between fork and exec: no `pre_exec`, `uid`, `gid` or `groups`. A process
//! group and a folder it can set (`posix_spawn_file_actions_addchdir_np`, glibc 2.29). It also gives
//! SIGPIPE its default back; the signal mask and the other signals are inherited as [`super::own`]
//! left them.
//!
//! *Of our own* (`raw`): where the server has cgroups, and for another user or with no_new_privs
//! everywhere, since posix_spawn has neither. Without a cgroup the tree of such a command is swept as
//! any other.

use std::{
    fs::File,
    io,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    sync::Arc,
};

use rustix::{
    fd::{AsFd as _, OwnedFd},
    io::ioctl_fionbio,
    pipe::{PipeFlags, pipe_with},
    process::Pid,
};
use tokio::{net::unix::pipe, process::ChildStdin};

use super::{
    cgroup::{Cgroups, Lease},
    children::{self, Leader},
    error::SpawnError,
    plan::Plan,
    raw::{Failed, Image, Stack, Stage},
    spawner::Spawner,
};

/// A process that was started, and the server's ends of its pipes.
pub(super) struct Spawned {
    pub(super) leader: Leader,
    pub(super) pidfd: Option<OwnedFd>,
    pub(super) cgroup: Option<Arc<Lease>>,
    pub(super) stdin: Option<ChildStdin>,
    pub(super) stdout: pipe::Receiver,
    pub(super) stderr: pipe::Receiver,
}

/// Starts a process and returns when it has executed its program, or could not.
pub(super) async fn spawn(
    spawner: &Spawner,
    cgroups: Option<&Arc<Cgroups>>,
    plan: &Plan,
) -> Result<Spawned, SpawnError> {
    // Whatever can fail for want of descriptors does so before anything runs.
    let lacking = |error| {
        SpawnError::of_resources(plan, &error).unwrap_or_else(|| SpawnError::of(plan, error))
    };
    let (stdin, child_stdin) = input(plan.stdin).map_err(lacking)?;
    let (stdout, child_stdout) = output().map_err(lacking)?;
    let (stderr, child_stderr) = output().map_err(lacking)?;
    let fds = [child_stdin, child_stdout, child_stderr];
    let own_way = cgroups.is_some() || plan.identity.is_some() || plan.no_new_privs;
    let (leader, pidfd, cgroup) = if own_way {
        let image = Image::new(plan, fds).map_err(lacking)?;
        let cgroups = cgroups.cloned();
        let born = spawner.run(move |stack| raw(&image, cgroups.as_ref(), stack)).await;
        let (leader, pidfd, cgroup) = born
            .unwrap_or_else(|| Err(gone()))
            .map_err(|failed| SpawnError::at(plan, failed.stage, failed.error))?;
        (leader, Some(pidfd), cgroup)
    } else {
        let mut command = command(plan, fds);
        let born = spawner.run(move |_| {
            // The handle is dropped: it neither kills nor waits.
            children::start(|| Ok((Pid::from_child(&command.spawn()?), ())))
        });
        let (leader, ()) = born
            .await
            .unwrap_or_else(|| Err(gone().error))
            .map_err(|error| SpawnError::of(plan, error))?;
        (leader, None, None)
    };
    Ok(Spawned { leader, pidfd, cgroup, stdin, stdout, stderr })
}

fn raw(
    image: &Image,
    cgroups: Option<&Arc<Cgroups>>,
    stack: &mut Stack,
) -> Result<(Leader, OwnedFd, Option<Arc<Lease>>), Failed> {
    let at_clone = |error| Failed { stage: Stage::Clone, error };
    let (lease, folder) = cgroups.map(Cgroups::lease).transpose().map_err(at_clone)?.unzip();
    let (leader, pidfd) = children::start(|| {
        let born = image.start(folder.as_ref().map(OwnedFd::as_fd), stack)?;
        Ok::<_, Failed>((born.pid, born.pidfd))
    })?;
    Ok((leader, pidfd, lease.map(Arc::new)))
}

/// The threads live as long as anybody who could ask them, so that this is never seen.
fn gone() -> Failed {
    Failed { stage: Stage::Clone, error: io::Error::other("the threads that start are gone") }
}

fn command(plan: &Plan, fds: [OwnedFd; 3]) -> Command {
    let [stdin, stdout, stderr] = fds.map(Stdio::from);
    let mut command = Command::new(&plan.program);
    command
        .arg0(&plan.arg0)
        .args(&plan.args)
        .env_clear()
        .envs(plan.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&plan.cwd)
        .process_group(0)
        .stdin(stdin)
        .stdout(stdout)
        .stderr(stderr);
    command
}

fn input(wanted: bool) -> io::Result<(Option<ChildStdin>, OwnedFd)> {
    if !wanted {
        return Ok((None, File::open("/dev/null")?.into()));
    }
    let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((Some(ChildStdin::from_std(ours.into())?), theirs))
}

fn output() -> io::Result<(pipe::Receiver, OwnedFd)> {
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
    ioctl_fionbio(&ours, true)?;
    Ok((pipe::Receiver::from_owned_fd_unchecked(ours)?, theirs))
}
