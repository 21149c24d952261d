//! Ending trees that live in cgroups of their own, where every process of them is known.

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

/// Threads that end trees. A kill blocks for what there is to kill (7 ms of 200 processes); one that
/// takes longer is not to hold up the others.
const THREADS: usize = 2;

/// Ends what lives in cgroups, on threads of its own: no start waits for a kill, and no kill for a start.
#[derive(Clone, Debug)]
pub(in crate::process) struct CgroupKiller {
    workers: Workers,
}

/// A tree that lives in a cgroup.
#[derive(Clone, Debug)]
pub(super) struct CgroupTree {
    /// Once the process is reaped its cgroup is another's.
    lease: Weak<Lease>,
    group: Pid,
    killer: CgroupKiller,
}

impl CgroupKiller {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the host has none to give.
    pub(in crate::process) fn start() -> io::Result<Self> {
        Ok(Self { workers: Workers::start("killer", THREADS)? })
    }
}

impl CgroupTree {
    pub(super) fn new(leader: Leader, lease: &Arc<Lease>, killer: &CgroupKiller) -> Self {
        Self { lease: Arc::downgrade(lease), group: leader.pid(), killer: killer.clone() }
    }

    /// Kills all that lives in it, and waits until nothing does, for up to 5 s.
    ///
    /// # Cancel safety
    /// Once asked for, it is carried out, also when nobody waits for it.
    pub(super) async fn kill(&self) -> TreeKill {
        let Some(lease) = self.lease.upgrade() else { return TreeKill::default() };
        let killing = Arc::clone(&lease);
        match self.killer.workers.run(move || killing.kill()).await {
            Some(Ok(killed)) => TreeKill { killed, left: survivors(lease.emptied().await) },
            Some(Err(left)) => TreeKill { killed: 0, left: survivors(left) },
            None => TreeKill::default(),
        }
    }

    /// Sends SIGTERM once to each process in it outside of the process group, soon.
    pub(super) fn terminate(&self) {
        let (lease, group) = (self.lease.clone(), self.group);
        self.killer.workers.submit(move || _ = lease.upgrade().map(|lease| lease.terminate(group)));
    }
}

fn survivors(pids: Vec<RawPid>) -> Vec<Survivor> {
    pids.into_iter().map(Survivor::of).collect()
}
