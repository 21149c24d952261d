//! The tree of a command: all processes that came of its first one, and how they are ended.
//!
//! There are two back-ends: a cgroup, in which they are known exactly, and a search of `/proc`.

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
    /// A cgroup that its processes may leave.
    Both(CgroupTree, ProcTree),
    Proc(ProcTree),
}

impl Tree {
    /// Returns the tree of a process that was started in a cgroup, which its processes can't leave.
    pub(super) fn in_cgroup(leader: Leader, lease: &Arc<Lease>, killer: &CgroupKiller) -> Self {
        Self(Backend::Cgroup(CgroupTree::new(leader, lease, killer)))
    }

    /// Returns this tree, of a process in a cgroup, to be searched in `/proc` too for what has left that.
    pub(super) fn searched(self, leader: Leader, job: &str, killer: &ProcKiller) -> Self {
        match self.0 {
            Backend::Cgroup(tree) => Self(Backend::Both(tree, ProcTree::new(leader, job, killer))),
            backend => Self(backend),
        }
    }

    /// Returns the tree of a process that is searched in `/proc`, by the job's name among others.
    pub(super) fn in_proc(leader: Leader, job: &str, killer: &ProcKiller) -> Self {
        Self(Backend::Proc(ProcTree::new(leader, job, killer)))
    }

    /// Kills every process of it and waits until none is left, for up to 5 s.
    ///
    /// # Cancel safety
    /// Once asked for, it is carried out, also when nobody waits for it.
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

    /// Sends SIGTERM once to each process of it outside of its process group, soon; the group is
    /// signalled by [`super::Process::signal_group`], all at once.
    pub fn terminate(&self) {
        match &self.0 {
            Backend::Cgroup(tree) => tree.terminate(),
            // The search meets those in the cgroup too.
            Backend::Both(_, rest) => rest.terminate(),
            Backend::Proc(tree) => tree.terminate(),
        }
    }
}
