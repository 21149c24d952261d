//! Starting a process by `tokio::process`, which uses posix_spawn(3).
//!
//! The child shares the server's memory until the exec, instead of copying its page tables, as long
//! as the program's path is absolute and nothing asks for code between fork and exec: no
//! `pre_exec`, `uid`, `gid` or `groups`. posix_spawn(3) can set a process group and a folder
//! (`posix_spawn_file_actions_addchdir_np`, glibc 2.29). It also resets SIGPIPE to its default; the
//! signal mask and the other signals are inherited as [`self_setup`](crate::process::self_setup)
//! left them.
//!
//! The calling thread waits until the program executes, and until then the child has the server's
//! descriptors. Therefore only a [trusted](Plan::trusted) plan is started in this way, where only a
//! fault of the host itself can keep a file system from answering. Even then the start is given up
//! in time.
#![expect(clippy::disallowed_methods, reason = "a thread `starter`")]

use std::{
    fs::{self, File},
    io::{self, Read as _},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rcmd_protocol::outcome::WireError;
use rustix::{
    fd::OwnedFd,
    fs::{Access, Mode, OFlags, access, open},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
    thread::gettid,
};
use tokio::{
    process::Command,
    runtime::Handle,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use crate::{
    process::{
        children::{self, Registration, Started, TokioChild},
        error::SpawnError,
        launcher::{Failed, Place, Seen, Stage},
        plan::{Folder, Plan},
        proc_fs,
    },
    workers::Workers,
};

/// The time that a child which is given up has to end.
const ENDING: Duration = Duration::from_secs(1);
/// The time between two attempts to end it: it may not have been made yet.
const AGAIN: Duration = Duration::from_millis(20);

/// Returns whether a plan can be started in this way: posix_spawn(3) can't hand descriptors over
/// that the server keeps to itself.
pub(super) fn can_start(plan: &Plan) -> bool {
    let needs_launcher = plan.credentials.is_some()
        || plan.no_new_privs
        || plan.sealed.is_some()
        || plan.handed.is_some();
    plan.trusted && !needs_launcher
}

/// Starts a process on one of the threads, which calls `first` before. Returns when the process
/// executes its program, has failed to, or is given up: after `patience`, or when `off` is
/// cancelled. `runtime` watches the process.
///
/// # Errors
/// The reason why there is no process to supervise.
///
/// # Cancel safety
/// If the future is dropped, a started process is killed.
pub(super) async fn start(
    threads: &Workers,
    runtime: &Handle,
    (plan, fds, place, first): (
        &Plan,
        [OwnedFd; 3],
        Place,
        impl FnOnce() -> Result<(), WireError> + Send + 'static,
    ),
    patience: Duration,
    off: &CancellationToken,
) -> Result<Registration, Failure> {
    let path = || plan.program.clone();
    let mut command = command(plan, fds);
    // The path of the folder contains its descriptor's number, so the descriptor is held.
    let held = (runtime.clone(), plan.job.clone(), plan.program.clone(), folder(plan));
    let attempt = Attempt::default();
    let state = Arc::clone(&attempt.0);
    let mut started = Box::pin(threads.run(move || {
        let ((runtime, job, program, (folder, _folder)), _place) = (held, place);
        first()?;
        let spawned = state.begin().map_err(Failed::at_clone).and_then(|()| {
            let spawned = spawn(&mut command, &runtime, &job);
            state.end();
            spawned.map_err(|error| seen(&program, &folder, error))
        });
        Ok::<_, WireError>(spawned)
    }));
    let in_time = off.run_until_cancelled(timeout(patience, &mut started)).await;
    let why = match in_time {
        Some(Ok(started)) => {
            let gone = || {
                Ok(Err(Failed::at_clone(io::Error::other(
                    "the threads that start programs have ended",
                ))))
            };
            let started = started.unwrap_or_else(gone);
            let started = started.map_err(|failure| SpawnError::First(Box::new(failure)))?;
            let failed = |failed| SpawnError::at(plan, failed);
            let (registration, unwatched) = started.map_err(failed)?;
            return match unwatched {
                Some(error) => Err(Failure::Unwatched(registration, error)),
                None => Ok(registration),
            };
        }
        Some(Err(_)) => SpawnError::Stuck(path()),
        None => SpawnError::CalledOff(path()),
    };
    let until = Instant::now() + ENDING;
    while Instant::now() < until {
        attempt.give_up();
        let Ok(started) = timeout_at(Instant::now() + AGAIN, &mut started).await else { continue };
        if let Some(Ok(Ok((registration, _)))) = started
            && proc_fs::stat(registration.leader().pid()).is_none_or(|stat| stat.has_executed)
        {
            return Err(Failure::Late(registration, None));
        }
        break;
    }
    Err(why.into())
}

/// A start on a thread that waits for it. Dropping this gives the start up.
#[derive(Debug, Default)]
struct Attempt(Arc<State>);

#[derive(Debug, Default)]
struct State(Mutex<Stand>);

/// The progress of a start.
#[derive(Clone, Copy, Debug, Default)]
enum Stand {
    #[default]
    Queued,
    /// This thread makes the child, and waits until the child executes its program.
    On(Pid),
    /// The start has succeeded, has failed, or was given up before it began.
    Over,
}

impl State {
    fn stand(&self) -> MutexGuard<'_, Stand> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the start for the calling thread, which makes the child.
    ///
    /// # Errors
    /// If the start was given up before.
    fn begin(&self) -> io::Result<()> {
        let mut stand = self.stand();
        match *stand {
            Stand::Over => Err(io::ErrorKind::TimedOut.into()),
            Stand::Queued | Stand::On(_) => {
                *stand = Stand::On(gettid());
                Ok(())
            }
        }
    }

    /// Ends the start, because the thread may begin another now.
    fn end(&self) {
        *self.stand() = Stand::Over;
    }
}

impl Attempt {
    /// Kills the child unless it has executed its program. Where the kernel does not list the
    /// children of threads (CONFIG_PROC_CHILDREN), nothing is killed.
    fn give_up(&self) {
        let mut stand = self.0.stand();
        let Stand::On(thread) = *stand else {
            *stand = Stand::Over;
            return;
        };
        for pid in proc_fs::children_of_thread(thread).unwrap_or_default() {
            // The descriptor is opened first, because it refers to one process for ever.
            let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
            if proc_fs::stat(pid).is_some_and(|stat| !stat.has_executed) {
                let _ = pidfd_send_signal(&pidfd, Signal::KILL);
            }
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// Starts a command. Also returns the error if the runtime does not watch the process: `spawn`
/// fails after the program was started if the runtime shuts down or has no room left.
///
/// # Errors
/// The reason why nothing has run.
fn spawn(
    command: &mut Command,
    runtime: &Handle,
    job: &str,
) -> io::Result<(Registration, Option<io::Error>)> {
    children::start_and_wait(|| {
        let spawned = {
            // The threads that start processes do not belong to the runtime.
            let _entered = runtime.enter();
            // If the runtime lacks a driver, tokio panics when the program is already running.
            let spawn = catch_unwind(AssertUnwindSafe(|| command.spawn()));
            spawn.unwrap_or_else(|_| Err(io::Error::other("the runtime can't watch processes")))
        };
        let spawned = spawned.and_then(|child| {
            // A child has no ID once it is reaped, and it was not reaped yet.
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

/// Returns the stage at which a start has failed, and what can be seen of its program.
/// posix_spawn(3) reports only a number.
fn seen(program: &Path, folder: &Path, error: io::Error) -> Failed {
    if let Err(errno) = access(folder, Access::EXISTS | Access::EXEC_OK) {
        return Failed { stage: Stage::Folder, error: errno.into(), seen: Seen::default() };
    }
    let obstacle = access(program, Access::EXEC_OK).err().map(Errno::raw_os_error);
    let is_file = fs::metadata(program).is_ok_and(|metadata| metadata.is_file());
    let head = is_file.then(|| head(program)).and_then(Result::ok).unwrap_or_default();
    Failed { stage: Stage::Exec, error, seen: Seen::new(obstacle, head) }
}

fn head(program: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(open(program, flags, Mode::empty())?);
    let mut head = Vec::new();
    file.take(Seen::HEAD).read_to_end(&mut head)?;
    Ok(head)
}

/// Returns the path of a plan's folder, and the descriptor that must be held while the path is
/// used.
fn folder(plan: &Plan) -> (PathBuf, Option<Folder>) {
    let path = plan.folder.as_ref().map_or_else(|| plan.cwd.clone(), Folder::path);
    (path, plan.folder.clone())
}

/// Returns the command of a plan, with our own pipes: those that tokio makes would be available
/// only after the start, too late to fail for lack of descriptors.
fn command(plan: &Plan, fds: [OwnedFd; 3]) -> Command {
    let [stdin, stdout, stderr] = fds.map(Stdio::from);
    let mut command = Command::new(&plan.program);
    command
        .arg0(&plan.arg0)
        .args(&plan.args)
        .env_clear()
        .envs(plan.env.iter().map(|(name, value)| (name, value)))
        .current_dir(folder(plan).0)
        .process_group(0)
        .stdin(stdin)
        .stdout(stdout)
        .stderr(stderr);
    command
}
