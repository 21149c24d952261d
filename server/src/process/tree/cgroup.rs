//! Ending trees in cgroups of their own, which know every process of them.

use std::{
    io,
    sync::{Arc, Weak},
};

use rustix::process::{Pid, RawPid};

use super::search::{Survivor, TreeKill};
use crate::{
    process::{cgroup::Lease, children::Leader},
    workers::Workers,
};

/// The number of threads that end trees. A kill blocks in proportion to the number of processes (7
/// ms for 200); a long one must not delay the others.
const THREADS: usize = 2;

/// The killer of what lives in cgroups, with threads of its own: starts and kills do not wait for
/// each other.
#[derive(Clone, Debug)]
pub(in crate::process) struct CgroupKiller {
    workers: Workers,
}

/// A tree that lives in a cgroup.
#[derive(Clone, Debug)]
pub(super) struct CgroupTree {
    /// The cgroup, held weakly: once the process is reaped, another command may get it.
    lease: Weak<Lease>,
    group: Pid,
    killer: CgroupKiller,
}

impl CgroupKiller {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the host can't start a thread.
    pub(in crate::process) fn start() -> io::Result<Self> {
        Ok(Self { workers: Workers::start("killer", THREADS)? })
    }
}

impl CgroupTree {
    pub(super) fn new(leader: Leader, lease: &Arc<Lease>, killer: &CgroupKiller) -> Self {
        Self { lease: Arc::downgrade(lease), group: leader.pid(), killer: killer.clone() }
    }

    /// Kills all processes in the cgroup, and waits until none lives there, up to 5 s.
    ///
    /// # Cancel safety
    /// Once called, the kill is carried out even if the future is dropped.
    pub(super) async fn kill(&self) -> TreeKill {
        let Some(lease) = self.lease.upgrade() else { return TreeKill::default() };
        let killing = Arc::clone(&lease);
        match self.killer.workers.run(move || killing.kill()).await {
            Some(Ok(killed)) => TreeKill { killed, left: survivors(lease.emptied().await) },
            Some(Err(left)) => TreeKill { killed: 0, left: survivors(left) },
            None => TreeKill::default(),
        }
    }

    /// Sends SIGTERM once to each process in it outside the process group, without waiting.
    pub(super) fn terminate(&self) {
        let (lease, group) = (self.lease.clone(), self.group);
        self.killer.workers.submit(move || _ = lease.upgrade().map(|lease| lease.terminate(group)));
    }
}

fn survivors(pids: Vec<RawPid>) -> Vec<Survivor> {
    pids.into_iter().map(Survivor::of).collect()
}
