//! Running programs on this host: from a request to a plan, from a plan to a process, to its end.
//!
//! | module | holds |
//! | --- | --- |
//! | [`resolve`](mod@resolve), [`plan`] | what is to be run, found on this host |
//! | [`program`] | the file that would be executed, and who could change it |
//! | [`account`], [`environment`] | whom it runs as, and what it is given |
//! | [`own`] | the server's own process, from which commands inherit |
//! | `spawn`, `exit`, [`error`] | the start; seeing the end; why there was no start |
//! | `children` | which children are commands, and which are orphans |
//! | `tree`, `sweeper`, `proc_fs` | all processes that came of a command, found and killed |
//!
//! A process that ends is not reaped at once: as long as it is not, its pid and its process group
//! are nobody else's, and may be signalled. The server adopts what loses its parent
//! (PR_SET_CHILD_SUBREAPER, prctl(2)) and reaps it. A command that ends normally leaves running what holds none of its pipes:
//! a daemon that it started on purpose, as with ssh.

use std::io;

use rcmd_protocol::signal::Signal;
use tokio::{
    process::{ChildStderr, ChildStdin, ChildStdout},
    signal::unix::{SignalKind, signal},
    time::{Duration, Instant, sleep},
};

pub mod account;
mod children;
pub mod environment;
pub mod error;
mod exit;
pub mod own;
pub mod plan;
mod proc_fs;
pub mod program;
pub mod resolve;
mod send;
mod spawn;
mod sweeper;
#[cfg(test)]
mod tests;
mod tree;

pub use self::{
    account::Account,
    error::SpawnError,
    exit::Ended,
    own::{descriptor_limit, prepare_self},
    plan::Plan,
    program::{Program, Sealed, Writable, examine},
    resolve::{Resolved, resolve},
    sweeper::Tree,
    tree::TreeKill,
};
use self::{children::Leader, exit::Watch, send::kernel_signal, spawn::Spawned, sweeper::Sweeper};

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
    sweeper: Sweeper,
}

/// A process that was started.
///
/// One that is dropped before it is reaped is killed with its process group.
#[derive(Debug)]
pub struct Process {
    /// The pipe to its standard input, if the plan wants one.
    pub stdin: Option<ChildStdin>,
    /// The pipe from its standard output.
    pub stdout: Option<ChildStdout>,
    /// The pipe from its standard error.
    pub stderr: Option<ChildStderr>,
    leader: Leader,
    watch: Watch,
    tree: Tree,
}

impl Processes {
    /// Makes the server the one that orphans come to; [`Processes::reap_orphans`] is to run too.
    ///
    /// # Errors
    /// When the kernel refuses, or has no thread to give.
    pub fn new() -> io::Result<Self> {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        Ok(Self { sweeper: Sweeper::start()? })
    }

    /// Reaps orphans as they end. Returns only when the runtime has no signals to give.
    ///
    /// # Cancel safety
    /// It may be dropped and begun again: what ended meanwhile is reaped with the next that ends.
    pub async fn reap_orphans(self) {
        let Ok(mut ended) = signal(SignalKind::child()) else { return };
        while ended.recv().await.is_some() {
            sleep(REAP_DELAY).await;
            self.sweeper.reap();
        }
    }

    /// Kills what is left of a job whose server was killed: what bears its mark, and all below, until
    /// nothing was found a few times running. False when something still lives after that long.
    ///
    /// What has cleared its environment and lost its parents is not found; see [`tree`].
    pub async fn kill_remains(&self, job: &str, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut calm = 0;
        loop {
            calm = if self.sweeper.strike(job).await == 0 { calm + 1 } else { 0 };
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
    pub fn spawn(&self, plan: &Plan) -> Result<Process, SpawnError> {
        let Spawned { leader, stdin, stdout, stderr } = spawn::spawn(plan)?;
        Ok(Process {
            stdin,
            stdout: Some(stdout),
            stderr: Some(stderr),
            leader,
            watch: Watch::new(leader.pid()),
            tree: self.sweeper.tree(leader, &plan.job),
        })
    }
}

impl Process {
    /// Its pid, and the number of its process group.
    pub fn pid(&self) -> i32 {
        self.leader.pid().as_raw_pid()
    }

    /// Waits for it to end, without reaping it. What it started may still run.
    ///
    /// # Cancel safety
    /// Nothing is lost, and it gives the same again until [`Process::reap`].
    pub async fn exited(&self) -> Ended {
        self.watch.ended().await
    }

    /// Signals its process group. Once it is reaped, or if the group is empty, nothing happens.
    pub fn signal_group(&self, signal: Signal) {
        let _ = self.leader.signal(kernel_signal(signal));
    }

    /// Its tree, to be ended.
    pub fn tree(&self) -> Tree {
        self.tree.clone()
    }

    /// Reaps it: last, because its pid and group are not its own afterwards. If it has not ended, it
    /// is reaped when it has, as an orphan.
    pub fn reap(&mut self) {
        self.leader.release(|| self.watch.reap());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.leader.signal(rustix::process::Signal::KILL);
        self.reap();
    }
}
