//! Running programs on this host: from a request to a plan, from a plan to a process, to its end.
//!
//! | module | holds |
//! | --- | --- |
//! | [`resolve`], [`plan`] | what is to be run, found on this host |
//! | [`look`] | finding it, on file systems that may be anybody's |
//! | [`program`] | the file that would be executed, and who could change it |
//! | [`account`], `name_service`, [`environment`] | whom it runs as, and what it is given |
//! | [`self_setup`] | the server's own process, from which commands inherit |
//! | `spawn`, `launcher` | the start, by one of two ways, and giving it up |
//! | [`io`](mod@io) | the server's ends of its input and output |
//! | `exit`, [`error`] | seeing the end; why there was no start |
//! | `cgroup` | the cgroup of each command, where the host has them |
//! | `children` | which children are commands, and which are orphans |
//! | `tree`, `proc_fs` | all processes that came of a command, found and killed |
//! | `reaper` | what ended commands leave: orphans, empty cgroups |
//!
//! A process that ends is not reaped at once: as long as it is not, its pid and its process group
//! are nobody else's, and may be signalled. The server adopts what loses its parent
//! (PR_SET_CHILD_SUBREAPER, prctl(2)) and reaps it. A command that ends normally leaves running what
//! holds none of its pipes: a daemon that it started on purpose, as with ssh.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use rcmd_protocol::{outcome::WireError, signal::Signal};
use serde::Deserialize;
use tokio::{
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
    io::{ReadEnd, WriteEnd},
    look::{Found, LookError, Looks},
    plan::{Credentials, Folder, Plan},
    program::{Digest, Program, Sealed, Writable},
    resolve::Draft,
    self_setup::{descriptor_limit, prepare_self},
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
    starter: Starter,
    cgroups: Option<Arc<Cgroups>>,
    /// True if commands may leave their cgroups: those of a server that is not root are their user's,
    /// too.
    cgroups_leak: bool,
    /// Ends what lives in cgroups, if there are any.
    cgroup_killer: Option<CgroupKiller>,
    /// Ends what is found in `/proc`.
    proc_killer: ProcKiller,
    reaper: TreeReaper,
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

/// Returns the cgroup below which those of the commands would be, or why there would be none, if they
/// are not ruled out. Nothing is made to find out.
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
    /// With cgroups, what earlier servers left in theirs is killed. Returns why there are none as well,
    /// if they were not ruled out.
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

    /// Returns the folder of the commands' cgroups, and what each of them gets as its limits: file and
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
        }
    }

    /// Kills what is left of a job whose server was killed: what bears its mark, and all below, until
    /// nothing was found a few times running. Returns false when something still lives after that long.
    ///
    /// What has cleared its environment and lost its parents is not found (`process/tree/search.rs`).
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

    /// Starts a process for this identity. It returns when the program is executing, which takes some 50
    /// microseconds, and milliseconds when many start at once; or when it is given up, after 20 s at most
    /// or because it is called off.
    ///
    /// The thread that starts it does `first` before, which may wait for the disk. When it fails, nothing is
    /// started.
    ///
    /// # Errors
    /// Why nothing runs.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time.
    ///
    /// # Cancel safety
    /// What had started by then is killed, with its process group. What it started elsewhere may live
    /// on, so it is better not dropped.
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
        let Spawned { registration, pidfd, cgroup, stdin, stdout, stderr } = spawned;
        Ok(Process {
            stdin,
            stdout: Some(stdout),
            stderr: Some(stderr),
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
    /// Returns its pid, which is the number of its process group as well.
    pub fn pid(&self) -> i32 {
        self.registration.leader().pid().as_raw_pid()
    }

    /// Waits for it to end, without reaping it. What it started may still run.
    ///
    /// # Cancel safety
    /// Nothing is lost, and it returns the same again until [`Process::reap`].
    pub async fn exited(&self) -> ProcessExit {
        self.watch.ended().await
    }

    /// Returns how it has ended, if it has: without waiting, and without reaping it.
    pub fn has_exited(&self) -> Option<ProcessExit> {
        self.watch.has_ended()
    }

    /// Signals its process group. Once it is reaped, or if the group is empty, nothing happens.
    pub fn signal_group(&self, signal: Signal) {
        let _ = self.registration.leader().signal(kernel_signal(signal));
    }

    /// Returns its tree, to be ended.
    pub fn tree(&self) -> Tree {
        self.tree.clone()
    }

    /// Reaps it: last, because its pid and group are not its own afterwards. If it has not ended, it
    /// is reaped when it has, as an orphan.
    pub fn reap(&mut self) {
        self.registration.release();
        // The tree may still be held by whoever wanted to end it; the last one returns it.
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
