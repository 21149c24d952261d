//! Starting a process in one of two ways, and giving a start up.
//!
//! The *portable* way (`portable`) uses `tokio::process`. The server's *own* way (`launcher`) is
//! used where the server has cgroups, and otherwise for what the portable way can't do: another
//! user, no_new_privs, a copy of a program, and a folder or program on whose file system somebody
//! else could make the start wait. Without a cgroup, the tree of such a command is searched like
//! any other.
//!
//! The launcher makes a child on a thread of its own, because that takes system calls on files (the
//! cgroup's folder); the thread does not wait for the child. The runtime waits for the child to
//! execute its program, up to [`Starter::patience`]: entering a folder and executing a program may
//! wait for a file system that never answers.

mod failure;
mod portable;

use std::{
    io,
    os::unix::net::UnixStream as StdUnixStream,
    sync::{Arc, OnceLock},
    time::Duration,
};

use rcmd_protocol::outcome::WireError;
use rustix::{
    fd::{AsFd as _, OwnedFd},
    process::{Signal, pidfd_send_signal},
};
use tokio::{net::UnixStream, runtime::Handle, time::timeout};
use tokio_util::sync::CancellationToken;

pub(super) use self::failure::Failure;
use super::{
    cgroup::{Cgroups, Lease},
    children::{self, Registration},
    error::SpawnError,
    exit::Watch,
    io::{ReadEnd, WriteEnd, no_input},
    launcher::{self, Cloned, Failed, Launch, PATIENCE, Place, Places},
    plan::Plan,
    proc_fs,
};
use crate::workers::Workers;

/// The number of threads that make children, so that starts from many processors wait for none of
/// them.
pub(super) const THREADS: usize = 4;
/// The time that a failed child has to end, which it does without another step.
const ENDING: Duration = Duration::from_secs(1);

/// The starter of processes.
#[derive(Clone, Debug)]
pub(super) struct Starter {
    workers: Workers,
    /// The threads of the portable way. They wait until a program executes, so the launcher has
    /// others.
    portable: Workers,
    /// The runtime that watches the started processes.
    pub(super) runtime: Handle,
    places: Places,
    cgroups: Option<Arc<Cgroups>>,
    pub(super) patience: Duration,
}

/// A started process, and the server's ends of its pipes.
pub(super) struct Spawned {
    pub(super) registration: Registration,
    /// The process's pidfd; `None` if it must be opened by the process ID.
    pub(super) pidfd: Option<OwnedFd>,
    pub(super) cgroup: Option<Arc<Lease>>,
    pub(super) stdin: Option<WriteEnd>,
    pub(super) stdout: ReadEnd,
    pub(super) stderr: ReadEnd,
    pub(super) socket: Option<UnixStream>,
}

impl Starter {
    /// Starts the threads that start processes.
    ///
    /// # Errors
    /// If the host can't start a thread.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(super) fn new(cgroups: Option<Arc<Cgroups>>) -> io::Result<Self> {
        let workers = Workers::start("spawner", THREADS)?;
        Ok(Self {
            workers,
            portable: Workers::start("starter", THREADS)?,
            runtime: Handle::current(),
            places: Places::default(),
            cgroups,
            patience: PATIENCE,
        })
    }

    /// Starts a process, after `first` has been called on the thread that starts it. Returns when
    /// the process executes its program, has failed to, or was called off.
    ///
    /// # Errors
    /// The reason why there is no process to supervise.
    ///
    /// # Cancel safety
    /// If the future is dropped, a child that has not executed its program is killed.
    pub(super) async fn spawn(
        &self,
        plan: &Plan,
        identity: &str,
        off: &CancellationToken,
        first: impl FnOnce() -> Result<(), WireError> + Send + 'static,
    ) -> Result<Spawned, Failure> {
        // Taken first, so that a start that waits for its place holds nothing.
        let place = self.places.take(identity, self.patience);
        let place = match off.run_until_cancelled(place).await {
            Some(place) => place.ok_or_else(|| SpawnError::Crowded(plan.program.clone()))?,
            None => return Err(SpawnError::CalledOff(plan.program.clone()).into()),
        };
        // All that can fail for lack of descriptors is done before anything runs.
        let lacking = |error| SpawnError::at(plan, Failed::at_clone(error));
        let (stdin, child_stdin) = match plan.stdin {
            true => WriteEnd::pipe().map(|(ours, theirs)| (Some(ours), theirs)),
            false => no_input().map(|theirs| (None, theirs)),
        }
        .map_err(lacking)?;
        let (stdout, child_stdout) = ReadEnd::pipe().map_err(lacking)?;
        let (stderr, child_stderr) = ReadEnd::pipe().map_err(lacking)?;
        let fds = [child_stdin, child_stdout, child_stderr];
        if self.cgroups.is_none() && portable::can_start(plan) {
            let start = (plan, fds, place, first);
            let started = portable::start(&self.portable, &self.runtime, start, self.patience, off);
            let registration = started.await?;
            let (pidfd, cgroup, socket) = (None, None, None);
            return Ok(Spawned { registration, pidfd, cgroup, stdin, stdout, stderr, socket });
        }
        let sockets = plan.handed.as_ref().map(|_| socket_pair()).transpose().map_err(lacking)?;
        let (socket, child_socket) = sockets.unzip();
        let launch = Launch::new(plan, fds, child_socket).map_err(lacking)?;
        let (cgroups, fate) = (self.cgroups.clone(), Arc::new(OnceLock::new()));
        let own = Arc::clone(&fate);
        let begun = self.workers.run(move || {
            first().map_err(|failure| Some(Box::new(failure)))?;
            own.set(Fate::Begun).map_err(|_| None)?;
            Ok(begin(launch, cgroups.as_ref(), place))
        });
        let mut begun = Box::pin(begun);
        let in_time = off.run_until_cancelled(timeout(self.patience, &mut begun)).await;
        let why = match in_time {
            None => SpawnError::CalledOff(plan.program.clone()),
            Some(_) => SpawnError::Stuck(plan.program.clone()),
        };
        let begun = match in_time {
            Some(Ok(begun)) => begun,
            _ if fate.set(Fate::GivenUp).is_ok() => return Err(why.into()),
            // The thread is making the child, which takes no waiting.
            _ => begun.await,
        };
        // The threads live as long as any handle of them.
        let gone = || Ok(Err(io::Error::other("the threads that start programs have ended")));
        let begun = match begun.unwrap_or_else(gone) {
            Ok(begun) => begun.map_err(lacking)?,
            Err(Some(failure)) => return Err(SpawnError::First(failure).into()),
            Err(None) => return Err(why.into()),
        };
        let executed = begun.executed(plan, self.patience, off).await;
        let Starting { registration, pidfd, lease, .. } = executed?;
        let (pidfd, cgroup) = (Some(pidfd), lease.map(Arc::new));
        Ok(Spawned { registration, pidfd, cgroup, stdin, stdout, stderr, socket })
    }

    /// Returns whether no start of an identity holds a place.
    #[cfg(test)]
    pub(super) fn has_no_starts_of(&self, identity: &str) -> bool {
        self.places.are_free(identity)
    }

    /// Runs a task on one of the threads in place of a start.
    #[cfg(test)]
    pub(super) fn occupy(&self, task: impl FnOnce() + Send + 'static) {
        self.workers.submit(task);
    }
}

/// Makes a socket. Returns the server's end and the process's end.
fn socket_pair() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = StdUnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, theirs.into()))
}

/// The first event of a start on a thread after `first` has returned.
#[derive(Debug)]
enum Fate {
    /// A child is made.
    Begun,
    /// The caller no longer waits for it.
    GivenUp,
}

/// Makes a child, in a cgroup if there are any.
fn begin(launch: Launch, cgroups: Option<&Arc<Cgroups>>, place: Place) -> io::Result<Begun> {
    let (lease, folder) = cgroups.map(Cgroups::lease).transpose()?.unzip();
    let (registration, Cloned { pidfd, image, report, .. }) = children::start(|| {
        let cloned = launch.start(folder.as_ref().map(OwnedFd::as_fd))?;
        Ok::<_, io::Error>((cloned.pid, cloned))
    })?;
    let starting = Starting { registration, pidfd, lease, image, report, place };
    Ok(Begun(Some(starting)))
}

/// A child that may not have executed its program yet. If this is dropped, the start is given up.
struct Begun(Option<Starting>);

struct Starting {
    registration: Registration,
    pidfd: OwnedFd,
    lease: Option<Lease>,
    image: Arc<launcher::Image>,
    report: launcher::Report,
    place: Place,
}

impl Begun {
    /// Waits until the child executes its program.
    ///
    /// # Errors
    /// The reason why it does not.
    async fn executed(
        mut self,
        plan: &Plan,
        patience: Duration,
        off: &CancellationToken,
    ) -> Result<Starting, Failure> {
        let path = || plan.program.clone();
        let Some(starting) = &mut self.0 else { return Err(SpawnError::Stuck(path()).into()) };
        let told = timeout(patience, launcher::told(&mut starting.report));
        let told = off.run_until_cancelled(told).await;
        let why =
            if told.is_none() { SpawnError::CalledOff(path()) } else { SpawnError::Stuck(path()) };
        let Some(starting) = self.0.take() else { return Err(why.into()) };
        match told {
            Some(Ok(Ok(None))) => Ok(starting),
            Some(Ok(Ok(Some(failed)))) => {
                let Starting { registration, pidfd, .. } = starting;
                let watch = Watch::new(registration.leader().pid(), Some(pidfd));
                let _ = timeout(ENDING, watch.ended()).await;
                Err(SpawnError::at(plan, failed).into())
            }
            _ => Err(starting.give_up().unwrap_or_else(|| why.into())),
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let _ = self.0.take().map(Starting::give_up);
    }
}

impl Starting {
    /// Kills the child. Returns a failure with what must be ended if it had executed its program by
    /// then.
    fn give_up(self) -> Option<Failure> {
        let Self { registration, pidfd, lease, image, report, place } = self;
        let _ = pidfd_send_signal(&pidfd, Signal::KILL);
        // Checked after the signal: a child that has not executed a program when it is sent never
        // will.
        let has_executed =
            proc_fs::stat(registration.leader().pid()).is_none_or(|stat| stat.has_executed);
        launcher::keep(image, report, place);
        has_executed.then(|| Failure::Late(registration, lease))
    }
}
