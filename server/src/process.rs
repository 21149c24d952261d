//! Running programs on this host: from a request to a plan, from a plan to a process, and to its
//! end.
//!
//! | module | holds |
//! | --- | --- |
//! | [`resolve`], [`plan`] | the program to run and its circumstances, found on this host |
//! | [`look`] | finding them, on file systems that may be anybody's |
//! | [`program`] | the file that would be executed, and who could change it |
//! | [`account`], `name_service`, [`environment`] | the account that a process runs as, and its environment |
//! | [`self_setup`] | the server's own process, from which commands inherit |
//! | `spawn`, `launcher` | starting a process, in one of two ways, and giving a start up |
//! | [`io`](mod@io) | the server's ends of a process's input and output |
//! | `exit`, [`error`] | detecting the end; the reasons why a start failed |
//! | [`ids`] | the IDs of users and groups |
//! | `cgroup` | the cgroup of each command, where the host has them |
//! | `children` | which children of the server are commands, and which are orphans |
//! | `tree`, `proc_fs` | finding and killing all processes that came of a command |
//! | `reaper` | clearing up after ended commands: orphans, empty cgroups |
//!
//! A process that ends is not reaped at once. Until it is, its process ID and process group belong
//! to no other process, and may be signalled. The server adopts processes that lose their parent
//! (PR_SET_CHILD_SUBREAPER, prctl(2)) and reaps them. When a command ends normally, processes that
//! hold none of its pipes are left running: daemons that it started on purpose, as with ssh.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use rcmd_protocol::{outcome::WireError, signal::Signal};
use serde::Deserialize;
use tokio::{
    net::UnixStream,
    signal::unix::{SignalKind, signal},
    time::{Duration, Instant, sleep},
};
use tokio_util::sync::CancellationToken;

pub mod account;
mod cgroup;
mod children;
pub mod environment;
pub mod error;
mod exit;
pub mod ids;
pub mod io;
mod launcher;
pub mod look;
mod name_service;
pub mod plan;
mod proc_fs;
pub mod program;
mod reaper;
pub mod resolve;
pub mod self_setup;
mod signal;
mod spawn;
#[cfg(test)]
mod tests;
mod tree;

pub use self::{
    account::Account,
    cgroup::TreeLimits,
    error::SpawnError,
    exit::ProcessExit,
    ids::{Gid, Uid},
    io::{ReadEnd, WriteEnd},
    launcher::Inheritance,
    look::{Found, LookError, Looks},
    plan::{Credentials, Folder, Handed, Plan},
    program::{Digest, OwnProgram, Program, Sealed, Writable},
    resolve::Draft,
    self_setup::{FromManager, PassedSocket, descriptor_limit, own_program, prepare_self},
    signal::SignalSender,
    tree::{Survivor, Tree, TreeKill},
};
use self::{
    cgroup::{Cgroups, Lease},
    children::{Leader, Registration},
    exit::Watch,
    reaper::TreeReaper,
    signal::kernel_signal,
    spawn::{Failure, Spawned, Starter},
    tree::{CgroupKiller, ProcKiller},
};

/// The time from the end of some child until orphans are reaped: many end together, and none is
/// urgent.
const REAP_DELAY: Duration = Duration::from_millis(100);

/// The number of looks in a row that must find nothing: during an exec, the mark of a process can't
/// be read.
const REMAINS_CALM: u32 = 3;
/// The time between two such looks, longer than an exec takes.
const REMAINS_PAUSE: Duration = Duration::from_millis(10);

/// The starter of processes, which also cares for those that lose their parents.
///
/// All children of the server must be started here: others are considered orphans.
#[derive(Clone, Debug)]
pub struct Processes {
    starter: Starter,
    cgroups: Option<Arc<Cgroups>>,
    /// True if commands can leave their cgroups. If the server is not root, its cgroups belong to
    /// the user that its commands run as.
    cgroups_leak: bool,
    /// The killer of what lives in cgroups, if there are any.
    cgroup_killer: Option<CgroupKiller>,
    /// The killer of what is found in `/proc`.
    proc_killer: ProcKiller,
    reaper: TreeReaper,
}

/// The way in which processes are started and their trees are kept track of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Spawn {
    /// Uses cgroups where they are available, and finds trees in `/proc` elsewhere.
    #[default]
    Auto,
    /// Starts each command in a cgroup of its own, and fails if that is impossible.
    Cgroup,
    /// Uses no cgroups: a tree is found in `/proc`.
    Portable,
}

/// A started process.
///
/// If it is dropped before it is reaped, it is killed with its process group.
#[derive(Debug)]
pub struct Process {
    /// The process's standard input, if the plan wants one.
    pub stdin: Option<WriteEnd>,
    /// The process's standard output.
    pub stdout: Option<ReadEnd>,
    /// The process's standard error.
    pub stderr: Option<ReadEnd>,
    /// The server's end of the socket that the process was handed over.
    pub socket: Option<UnixStream>,
    registration: Registration,
    watch: Watch,
    tree: Tree,
    cgroup: Option<Arc<Lease>>,
}

/// Returns the cgroup below which those of the commands would be, or the reason why there would be
/// none; no reason if `way` rules them out. Makes nothing.
///
/// # Errors
/// If cgroups are required and unavailable.
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
    /// Makes the server the parent of orphans; [`Processes::reap_orphans`] must run too.
    ///
    /// With cgroups, processes that earlier servers left in theirs are killed. Also returns the
    /// reason why there are no cgroups, unless `way` rules them out.
    ///
    /// # Errors
    /// If the kernel refuses, a thread can't be started, or cgroups are required and unavailable.
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
        let processes = Self {
            starter: Starter::new(cgroups.clone())?,
            cgroup_killer: cgroups.as_ref().map(|_| CgroupKiller::start()).transpose()?,
            proc_killer: ProcKiller::start()?,
            reaper: TreeReaper::start(cgroups.as_ref().map_or_else(Weak::new, Arc::downgrade))?,
            cgroups,
            cgroups_leak: !rustix::process::geteuid().is_root(),
        };
        Ok((processes, why))
    }

    /// Returns the folder of the commands' cgroups, and the limits that each cgroup gets: file and
    /// content.
    pub fn cgroups(&self) -> Option<(&Path, &[(&'static str, String)])> {
        self.cgroups.as_ref().map(|cgroups| (cgroups.base(), cgroups.limits()))
    }

    /// Reaps orphans as they end. Returns only if the runtime can't receive signals.
    ///
    /// # Cancel safety
    /// Cancel safe: a later call reaps what ended meanwhile when the next child ends.
    pub async fn reap_orphans(self) {
        let Ok(mut ended) = signal(SignalKind::child()) else { return };
        while ended.recv().await.is_some() {
            sleep(REAP_DELAY).await;
            self.reaper.reap();
        }
    }

    /// Kills what is left of a job whose server was killed: the processes that bear its mark, and
    /// all below them, until several looks in a row find none. Returns false if some still live
    /// after `patience`.
    ///
    /// A process that has cleared its environment and lost its parents is not found
    /// (`process/tree/search.rs`).
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

    /// Starts a process for this identity. Returns when the program is executing, which takes some
    /// 50 microseconds, or milliseconds if many start at once; or when the start is given up, after
    /// 20 s at most or because `off` is cancelled.
    ///
    /// The thread that starts the process calls `first` before, which may wait for the disk. If
    /// `first` fails, nothing is started.
    ///
    /// # Errors
    /// The reason why nothing runs.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time.
    ///
    /// # Cancel safety
    /// If the future is dropped, a process that has started is killed with its process group.
    /// Processes that it started elsewhere may live on, so the future is better not dropped.
    pub async fn start(
        &self,
        plan: &Plan,
        identity: &str,
        off: &CancellationToken,
        first: impl FnOnce() -> Result<(), WireError> + Send + 'static,
    ) -> Result<Process, SpawnError> {
        let spawned = match self.starter.spawn(plan, identity, off, first).await {
            Ok(spawned) => spawned,
            Err(Failure::NotStarted(error)) => return Err(error),
            Err(Failure::Late(registration, cgroup)) => {
                let cgroup = cgroup.map(Arc::new);
                let tree = self.tree(registration.leader(), &plan.job, cgroup.as_ref());
                let left = tree.kill().await.left;
                return Err(SpawnError::Late { path: plan.program.clone(), left });
            }
            Err(Failure::Unwatched(registration, error)) => {
                let left = self.tree(registration.leader(), &plan.job, None).kill().await.left;
                return Err(SpawnError::Unwatched { path: plan.program.clone(), error, left });
            }
        };
        let Spawned { registration, pidfd, cgroup, stdin, stdout, stderr, socket } = spawned;
        Ok(Process {
            stdin,
            stdout: Some(stdout),
            stderr: Some(stderr),
            socket,
            watch: Watch::new(registration.leader().pid(), pidfd),
            tree: self.tree(registration.leader(), &plan.job, cgroup.as_ref()),
            registration,
            cgroup,
        })
    }

    fn tree(&self, leader: Leader, job: &str, cgroup: Option<&Arc<Lease>>) -> Tree {
        match cgroup.zip(self.cgroup_killer.as_ref()) {
            Some((lease, killer)) if self.cgroups_leak => {
                Tree::in_cgroup(leader, lease, killer).searched(leader, job, &self.proc_killer)
            }
            Some((lease, killer)) => Tree::in_cgroup(leader, lease, killer),
            None => Tree::in_proc(leader, job, &self.proc_killer),
        }
    }
}

impl Process {
    /// Returns its process ID, which is also the ID of its process group.
    pub fn pid(&self) -> i32 {
        self.registration.leader().pid().as_raw_pid()
    }

    /// Waits until it has ended, without reaping it. Processes that it started may still run.
    ///
    /// # Cancel safety
    /// Cancel safe, and returns the same again until [`Process::reap`].
    pub async fn exited(&self) -> ProcessExit {
        self.watch.ended().await
    }

    /// Returns how it has ended, if it has. Neither waits nor reaps it.
    pub fn has_exited(&self) -> Option<ProcessExit> {
        self.watch.has_ended()
    }

    /// Signals its process group. Has no effect once it is reaped, or if the group is empty.
    pub fn signal_group(&self, signal: Signal) {
        let _ = self.registration.leader().signal(kernel_signal(signal));
    }

    /// Returns its tree, which can be killed or terminated.
    pub fn tree(&self) -> Tree {
        self.tree.clone()
    }

    /// Reaps it. To be called last, because its process ID and group are no longer its own
    /// afterwards. If it has not ended, it is reaped as an orphan when it has.
    pub fn reap(&mut self) {
        self.registration.release();
        // A task that ends the tree may still hold the cgroup; the last holder returns it.
        self.cgroup = None;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The group is killed before the pipes close, which the process could take for the end of
        // its input.
        let leader = self.registration.leader();
        if leader.is_ours() {
            let _ = leader.signal(rustix::process::Signal::KILL);
            self.cgroup.iter().for_each(|cgroup| _ = cgroup.kill());
        }
        self.reap();
    }
}
