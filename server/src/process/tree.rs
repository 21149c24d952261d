//! The tree of a command: all processes that came of its first one, and how they are ended.
//!
//! There are two back-ends: a cgroup, which knows them exactly, and a search of `/proc`.

mod cgroup;
mod mark;
mod proc;
mod search;

use std::sync::Arc;

pub use self::search::{Survivor, TreeKill};
pub(super) use self::{cgroup::CgroupKiller, proc::ProcKiller, search::kill_marked};
use self::{cgroup::CgroupTree, proc::ProcTree};
use super::{cgroup::Lease, children::Leader};

/// The tree of a job: all processes that came of its first one.
#[derive(Clone, Debug)]
pub struct Tree(Backend);

#[derive(Clone, Debug)]
enum Backend {
    Cgroup(CgroupTree),
    /// A cgroup that its processes can leave.
    Both(CgroupTree, ProcTree),
    Proc(ProcTree),
}

impl Tree {
    /// Returns the tree of a process that was started in a cgroup, which its processes can't leave.
    pub(super) fn in_cgroup(leader: Leader, lease: &Arc<Lease>, killer: &CgroupKiller) -> Self {
        Self(Backend::Cgroup(CgroupTree::new(leader, lease, killer)))
    }

    /// Returns this tree in a cgroup, extended by a search of `/proc` for processes that have left
    /// the cgroup.
    pub(super) fn searched(self, leader: Leader, job: &str, killer: &ProcKiller) -> Self {
        match self.0 {
            Backend::Cgroup(tree) => Self(Backend::Both(tree, ProcTree::new(leader, job, killer))),
            backend => Self(backend),
        }
    }

    /// Returns the tree of a process that is searched in `/proc`, by the job's ID among others.
    pub(super) fn in_proc(leader: Leader, job: &str, killer: &ProcKiller) -> Self {
        Self(Backend::Proc(ProcTree::new(leader, job, killer)))
    }

    /// Kills every process of it and waits until none is left, up to 5 s.
    ///
    /// # Cancel safety
    /// Once called, the kill is carried out even if the future is dropped.
    pub async fn kill(&self) -> TreeKill {
        match &self.0 {
            Backend::Cgroup(tree) => tree.kill().await,
            Backend::Both(tree, rest) => {
                let (inside, outside) = (tree.kill().await, rest.kill().await);
                TreeKill { killed: inside.killed + outside.killed, left: outside.left }
            }
            Backend::Proc(tree) => tree.kill().await,
        }
    }

    /// Sends SIGTERM once to each process of it outside its process group, without waiting. The
    /// group is signalled by [`super::Process::signal_group`], all at once.
    pub fn terminate(&self) {
        match &self.0 {
            Backend::Cgroup(tree) => tree.terminate(),
            // The search also finds those in the cgroup.
            Backend::Both(_, rest) => rest.terminate(),
            Backend::Proc(tree) => tree.terminate(),
        }
    }
}
