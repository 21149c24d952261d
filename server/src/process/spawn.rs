//! Starting a process, by one of two ways.
//!
//! *Portable*: `tokio::process` starts it by posix_spawn(3), which shares the server's memory until
//! the exec instead of copying its page tables, as long as the program's path is absolute and nothing
//! asks for code between fork and exec: no `pre_exec`, `uid`, `gid` or `groups`. A process group and a
//! folder it can set (`posix_spawn_file_actions_addchdir_np`, glibc 2.29). It also gives SIGPIPE its
//! default back; the signal mask and the other signals are inherited as [`super::self_setup`] left
//! them.
//!
//! *Of our own* (`launcher`): where the server has cgroups, and for another user or with no_new_privs
//! everywhere, since posix_spawn has neither. Without a cgroup the tree of such a command is swept as
//! any other.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    process::Stdio,
    sync::Arc,
};

use rustix::{
    fd::{AsFd as _, OwnedFd},
    process::Pid,
};
use tokio::{process::Command, runtime::Handle};

use super::{
    cgroup::{Cgroups, Lease},
    children::{self, Registration, Started, TokioChild},
    error::SpawnError,
    io::{ReadEnd, WriteEnd, no_input},
    launcher::{Failed, Image, Stack, Stage},
    plan::Plan,
    workers::Workers,
};

/// A process that was started, and the server's ends of its pipes.
pub(super) struct Spawned {
    pub(super) registration: Registration,
    pub(super) pidfd: Option<OwnedFd>,
    pub(super) cgroup: Option<Arc<Lease>>,
    pub(super) stdin: Option<WriteEnd>,
    pub(super) stdout: ReadEnd,
    pub(super) stderr: ReadEnd,
}

/// Why there is no process to supervise.
pub(super) enum Failure {
    /// Nothing has run.
    NotStarted(SpawnError),
    /// The program runs, and the runtime can't watch it. It is to be killed.
    Unwatched(Registration, io::Error),
}

impl From<SpawnError> for Failure {
    fn from(error: SpawnError) -> Self {
        Self::NotStarted(error)
    }
}

/// Starts a process and returns when it has executed its program, or could not. `runtime` watches it.
pub(super) async fn spawn(
    spawner: &Workers<Stack>,
    cgroups: Option<&Arc<Cgroups>>,
    plan: &Plan,
    runtime: &Handle,
) -> Result<Spawned, Failure> {
    // Whatever can fail for want of descriptors does so before anything runs.
    let lacking = |error| {
        SpawnError::of_resources(plan, &error).unwrap_or_else(|| SpawnError::of(plan, error))
    };
    let (stdin, child_stdin) = match plan.stdin {
        true => WriteEnd::pipe().map(|(ours, theirs)| (Some(ours), theirs)),
        false => no_input().map(|theirs| (None, theirs)),
    }
    .map_err(lacking)?;
    let (stdout, child_stdout) = ReadEnd::pipe().map_err(lacking)?;
    let (stderr, child_stderr) = ReadEnd::pipe().map_err(lacking)?;
    let fds = [child_stdin, child_stdout, child_stderr];
    let own_way = cgroups.is_some() || plan.credentials.is_some() || plan.no_new_privs;
    let (registration, pidfd, cgroup) = if own_way {
        let image = Image::new(plan, fds).map_err(lacking)?;
        let cgroups = cgroups.cloned();
        let started = spawner.run(move |stack| launch(&image, cgroups.as_ref(), stack)).await;
        let (registration, pidfd, cgroup) = started
            .unwrap_or_else(|| Err(gone()))
            .map_err(|failed| SpawnError::at(plan, failed.stage, failed.error))?;
        (registration, Some(pidfd), cgroup)
    } else {
        let mut command = command(plan, fds);
        let (runtime, job) = (runtime.clone(), plan.job.clone());
        let started = spawner.run(move |_| portable(&mut command, &runtime, &job));
        let (registration, unwatched) = started
            .await
            .unwrap_or_else(|| Err(gone().error))
            .map_err(|error| SpawnError::of(plan, error))?;
        if let Some(error) = unwatched {
            return Err(Failure::Unwatched(registration, error));
        }
        (registration, None, None)
    };
    Ok(Spawned { registration, pidfd, cgroup, stdin, stdout, stderr })
}

/// Starts a command by `tokio::process`. Returns why the runtime does not watch it, if it does not:
/// `spawn` fails after the program was started when the runtime shuts down or has no room left.
///
/// # Errors
/// Why nothing has run.
fn portable(
    command: &mut Command,
    runtime: &Handle,
    job: &str,
) -> io::Result<(Registration, Option<io::Error>)> {
    children::start(|| {
        let spawned = {
            // The threads that start processes are none of the runtime's.
            let _entered = runtime.enter();
            // tokio panics where the runtime lacks a driver, when the program runs already.
            let spawn = catch_unwind(AssertUnwindSafe(|| command.spawn()));
            spawn.unwrap_or_else(|_| Err(io::Error::other("the runtime can't watch processes")))
        };
        let spawned = spawned.and_then(|child| {
            // It has none once it is reaped, which nobody has done yet.
            let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
            let pid = id.ok_or_else(|| io::Error::other("the process has no pid"))?;
            Ok(Started { pid, child: Some(TokioChild::new(child)) })
        });
        match spawned {
            Ok(started) => Ok((started, None)),
            Err(error) => match children::find_started(job) {
                Some(pid) => Ok((Started { pid, child: None }, Some(error))),
                None => Err(error),
            },
        }
    })
}

/// Starts a command by the launcher of our own, in a cgroup if there are any.
fn launch(
    image: &Image,
    cgroups: Option<&Arc<Cgroups>>,
    stack: &mut Stack,
) -> Result<(Registration, OwnedFd, Option<Arc<Lease>>), Failed> {
    let at_clone = |error| Failed { stage: Stage::Clone, error };
    let (lease, folder) = cgroups.map(Cgroups::lease).transpose().map_err(at_clone)?.unzip();
    let (registration, pidfd) = children::start(|| {
        let cloned = image.start(folder.as_ref().map(OwnedFd::as_fd), stack)?;
        Ok::<_, Failed>((Started { pid: cloned.pid, child: None }, cloned.pidfd))
    })?;
    Ok((registration, pidfd, lease.map(Arc::new)))
}

/// The threads live as long as anybody who could ask them, so that this is never seen.
fn gone() -> Failed {
    Failed { stage: Stage::Clone, error: io::Error::other("the threads that start are gone") }
}

/// Returns the command of a plan, with our own pipes: those that tokio makes could be had only after
/// the start, when it is too late to fail for want of descriptors.
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
