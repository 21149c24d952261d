//! Which children are ours to wait for, and which were only left to us.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
};

use super::tree;

/// The leaders of running jobs. Every other child is an orphan that came to the server because it is
/// a subreaper (prctl(2)), and is reaped one by one: waiting for any child would take a leader's end
/// away from its job.
#[derive(Debug, Default)]
pub(super) struct Leaders {
    pids: Mutex<HashSet<i32>>,
    /// Read while a process is made and not yet known here, written while orphans are reaped.
    making: RwLock<()>,
}

impl Leaders {
    fn pids(&self) -> MutexGuard<'_, HashSet<i32>> {
        self.pids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be held from before a process is made until it is added.
    pub(super) fn making(&self) -> RwLockReadGuard<'_, ()> {
        self.making.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, pid: i32) {
        self.pids().insert(pid);
    }

    /// Reaps a leader. Its number may be another's as soon as that has happened, so that nothing is
    /// added meanwhile.
    pub(super) fn remove<T>(&self, pid: i32, reap: impl FnOnce() -> T) -> T {
        let mut pids = self.pids();
        let reaped = reap();
        pids.remove(&pid);
        reaped
    }

    /// Reaps all orphans that have ended.
    pub(super) fn reap_orphans(&self) {
        let _nothing_is_made = self.making.write().unwrap_or_else(PoisonError::into_inner);
        let pids = self.pids();
        children().filter(|pid| !pids.contains(pid)).for_each(tree::reap);
    }
}

/// Children of all threads of this process (proc_tid_children(5)).
fn children() -> impl Iterator<Item = i32> {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| {
        std::fs::read_to_string(thread.path().join("children")).ok()
    });
    let pids: Vec<i32> = lists
        .flat_map(|list| {
            list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()
        })
        .collect();
    pids.into_iter()
}
