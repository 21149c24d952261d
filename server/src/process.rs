//! Running programs on this host: from a request to a plan, from a plan to a process, to its end.
//!
//! | module | holds |
//! | --- | --- |
//! | [`resolve`](mod@resolve), [`plan`] | what is to be run, found on this host |
//! | [`program`] | the file that would be executed, and who could change it |
//! | [`account`], [`name_service`], [`environment`] | whom it runs as, and what it is given |
//! | [`self_setup`] | the server's own process, from which commands inherit |
//! | `spawn`, `launcher`, `workers` | the start, in two ways, on threads of its own |
//! | [`io`](mod@io) | the server's ends of its input and output |
//! | `exit`, [`error`] | seeing the end; why there was no start |
//! | `cgroup` | the cgroup of each command, where the host has them |
//! | `children` | which children are commands, and which are orphans |
//! | `tree`, `proc_fs` | all processes that came of a command, found and killed |
//!
//! A process that ends is not reaped at once: as long as it is not, its pid and its process group
//! are nobody else's, and may be signalled. The server adopts what loses its parent
//! (PR_SET_CHILD_SUBREAPER, prctl(2)) and reaps it. A command that ends normally leaves running what
//! holds none of its pipes: a daemon that it started on purpose, as with ssh.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rcmd_protocol::signal::Signal;
use serde::Deserialize;
use tokio::{
    runtime::Handle,
    signal::unix::{SignalKind, signal},
    time::{Duration, Instant, sleep},
};

pub mod account;
mod cgroup;
mod children;
pub mod environment;
pub mod error;
mod exit;
mod file_threads;
pub mod io;
mod launcher;
pub mod name_service;
pub mod plan;
mod proc_fs;
pub mod program;
pub mod resolve;
pub mod self_setup;
mod signal;
mod spawn;
#[cfg(test)]
mod tests;
mod workers;
mod tree {
    pub(super) mod reaper;
    pub(super) mod search;
}

pub use self::{
    account::Account,
    cgroup::TreeLimits,
    error::SpawnError,
    exit::ProcessExit,
    file_threads::FileThreads,
    io::{ReadEnd, WriteEnd},
    name_service::Accounts,
    plan::{Credentials, Plan},
    program::{Program, Sealed, Writable, examine},
    resolve::{Resolved, resolve},
    self_setup::{descriptor_limit, prepare_self},
    tree::reaper::Tree,
    tree::search::TreeKill,
};
use self::{
    cgroup::{Cgroups, Lease},
    children::Registration,
    exit::Watch,
    signal::kernel_signal,
    spawn::{Failure, Spawned},
    tree::reaper::TreeReaper,
    workers::Workers,
};

/// Time from the end of some child until orphans are reaped: many end together, and none of them
/// is in a hurry.
const REAP_DELAY: Duration = Duration::from_millis(100);

/// Looks without finding anything after which nothing is left: at the moment of an exec, the mark of a
/// process can't be read.
const REMAINS_CALM: u32 = 3;
/// Time between two such looks, longer than an exec takes.
const REMAINS_PAUSE: Duration = Duration::from_millis(10);

/// Starts processes, and looks after those that lose their parents.
///
/// All children of the server must be started here: others are taken for orphans.
#[derive(Clone, Debug)]
pub struct Processes {
    reaper: TreeReaper,
    spawner: Workers,
    cgroups: Option<Arc<Cgroups>>,
}

/// How processes are started and their trees held.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Spawn {
    /// With cgroups where they can be had, else portably.
    #[default]
    Auto,
    /// Each command in a cgroup of its own, or not at all.
    Cgroup,
    /// Without cgroups: a tree is found in `/proc`.
    Portable,
}

/// A process that was started.
///
/// One that is dropped before it is reaped is killed with its process group.
#[derive(Debug)]
pub struct Process {
    /// Its standard input, if the plan wants one.
    pub stdin: Option<WriteEnd>,
    /// Its standard output.
    pub stdout: Option<ReadEnd>,
    /// Its standard error.
    pub stderr: Option<ReadEnd>,
    registration: Registration,
    watch: Watch,
    tree: Tree,
    cgroup: Option<Arc<Lease>>,
}

/// How commands would be started; nothing is made to find out. Gives the cgroup below which theirs
/// would be, or why there would be none, if they are not ruled out.
///
/// # Errors
/// When there are no cgroups and must be.
pub fn probe(
    way: Spawn,
    limits: &TreeLimits,
) -> std::io::Result<Result<PathBuf, Option<std::io::Error>>> {
    match way {
        Spawn::Portable => Ok(Err(None)),
        Spawn::Cgroup => cgroup::probe(limits).map(Ok),
        Spawn::Auto => Ok(cgroup::probe(limits).map_err(Some)),
    }
}

impl Processes {
    /// Makes the server the one that orphans come to; [`Processes::reap_orphans`] is to run too.
    ///
    /// With cgroups, what earlier servers left in theirs is killed. Gives why there are none, if
    /// they were not ruled out.
    ///
    /// # Errors
    /// When the kernel refuses, has no thread to give, or there are no cgroups and must be.
    pub fn new(way: Spawn, limits: &TreeLimits) -> std::io::Result<(Self, Option<std::io::Error>)> {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let (cgroups, why) = match way {
            Spawn::Portable => (None, None),
            Spawn::Auto | Spawn::Cgroup => match Cgroups::new(limits) {
                Ok(cgroups) => (Some(Arc::new(cgroups)), None),
                Err(error) if way == Spawn::Auto => (None, Some(error)),
                Err(error) => return Err(error),
            },
        };
        let (reaper, spawner) = (TreeReaper::start()?, Workers::start()?);
        Ok((Self { reaper, spawner, cgroups }, why))
    }

    /// The folder of the commands' cgroups, and what each of them gets as its limits: file and
    /// content.
    pub fn cgroups(&self) -> Option<(&Path, &[(&'static str, String)])> {
        self.cgroups.as_ref().map(|cgroups| (cgroups.base(), cgroups.limits()))
    }

    /// Reaps orphans as they end. Returns only when the runtime has no signals to give.
    ///
    /// # Cancel safety
    /// It may be dropped and begun again: what ended meanwhile is reaped with the next that ends.
    pub async fn reap_orphans(self) {
        let Ok(mut ended) = signal(SignalKind::child()) else { return };
        while ended.recv().await.is_some() {
            sleep(REAP_DELAY).await;
            self.reaper.reap();
            if let Some(cgroups) = self.cgroups.clone() {
                self.spawner.run(move |_| cgroups.collect()).await;
            }
        }
    }

    /// Kills what is left of a job whose server was killed: what bears its mark, and all below, until
    /// nothing was found a few times running. False when something still lives after that long.
    ///
    /// What has cleared its environment and lost its parents is not found; see `process/tree/search.rs`.
    pub async fn kill_remains(&self, job: &str, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut calm = 0;
        loop {
            calm = if self.reaper.kill_marked(job).await == 0 { calm + 1 } else { 0 };
            if calm == REMAINS_CALM {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            sleep(REMAINS_PAUSE).await;
        }
    }

    /// Starts a process. It returns when the program is executing, which takes some 50 microseconds,
    /// and milliseconds when many start at once.
    ///
    /// # Errors
    /// Why nothing runs.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time.
    ///
    /// # Cancel safety
    /// What had started by then is killed when its end is looked for: it is not to be dropped.
    pub async fn spawn(&self, plan: &Plan) -> Result<Process, SpawnError> {
        self.spawn_watched_by(plan, &Handle::current()).await
    }

    /// Starts a process that this runtime watches, as [`Processes::spawn`] does.
    async fn spawn_watched_by(&self, plan: &Plan, runtime: &Handle) -> Result<Process, SpawnError> {
        let tree = |registration: &Registration, cgroup| {
            self.reaper.tree(registration.leader(), &plan.job, cgroup, &self.spawner)
        };
        match spawn::spawn(&self.spawner, self.cgroups.as_ref(), plan, runtime).await {
            Ok(Spawned { registration, pidfd, cgroup, stdin, stdout, stderr }) => Ok(Process {
                stdin,
                stdout: Some(stdout),
                stderr: Some(stderr),
                watch: Watch::new(registration.leader().pid(), pidfd),
                tree: tree(&registration, cgroup.clone()),
                registration,
                cgroup,
            }),
            Err(Failure::NotStarted(error)) => Err(error),
            Err(Failure::Unwatched(registration, error)) => {
                tree(&registration, None).kill().await;
                Err(SpawnError::Unwatched { path: plan.program.clone(), error })
            }
        }
    }
}

impl Process {
    /// Its pid, and the number of its process group.
    pub fn pid(&self) -> i32 {
        self.registration.leader().pid().as_raw_pid()
    }

    /// Waits for it to end, without reaping it. What it started may still run.
    ///
    /// # Cancel safety
    /// Nothing is lost, and it gives the same again until [`Process::reap`].
    pub async fn exited(&self) -> ProcessExit {
        self.watch.ended().await
    }

    /// How it has ended, if it has: without waiting, and without reaping it.
    pub fn has_exited(&self) -> Option<ProcessExit> {
        self.watch.has_ended()
    }

    /// Signals its process group. Once it is reaped, or if the group is empty, nothing happens.
    pub fn signal_group(&self, signal: Signal) {
        let _ = self.registration.leader().signal(kernel_signal(signal));
    }

    /// Its tree, to be ended.
    pub fn tree(&self) -> Tree {
        self.tree.clone()
    }

    /// Reaps it: last, because its pid and group are not its own afterwards. If it has not ended, it
    /// is reaped when it has, as an orphan.
    pub fn reap(&mut self) {
        self.registration.release();
        // The tree may still be held by whoever wanted to end it; the last one gives it back.
        self.cgroup = None;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Before its pipes close, which it could take for the end of its input.
        let leader = self.registration.leader();
        if leader.is_ours() {
            let _ = leader.signal(rustix::process::Signal::KILL);
            self.cgroup.iter().for_each(|cgroup| _ = cgroup.kill());
        }
        self.reap();
    }
}
