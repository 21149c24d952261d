//! Which children of the server are its own, and which came to it as orphans.
//!
//! The kernel keeps one list of children for the whole server, so there is one register beside it.
//! A pid means something only as long as its process is not reaped; whoever signals a group or reaps
//! an orphan asks here first, under a lock that keeps the answer true.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::{
    io::{self, Errno},
    process::{Pid, RawPid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid},
};

use super::proc_fs;

/// Shared by those who start a process, from before it exists until it is registered, and by those
/// who reap their own. Who holds it alone sees every child that is not registered as an orphan.
static CHANGING: RwLock<()> = RwLock::new(());
/// The first processes of jobs, not reaped yet: pid to ticket.
static LEADERS: Mutex<BTreeMap<RawPid, u64>> = Mutex::new(BTreeMap::new());
/// Tells a leader from another that got its pid later.
static TICKETS: AtomicU64 = AtomicU64::new(0);

/// The first process of a job, which leads its process group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Leader {
    pid: Pid,
    ticket: u64,
}

fn leaders() -> MutexGuard<'static, BTreeMap<RawPid, u64>> {
    LEADERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a process and registers it, so that nobody takes it for an orphan in between. Gives what
/// came with it, too.
pub(super) fn start<T, E>(spawn: impl FnOnce() -> Result<(Pid, T), E>) -> Result<(Leader, T), E> {
    let _changing = CHANGING.read().unwrap_or_else(PoisonError::into_inner);
    let (pid, with) = spawn()?;
    let leader = Leader { pid, ticket: TICKETS.fetch_add(1, Ordering::Relaxed) };
    leaders().insert(pid.as_raw_pid(), leader.ticket);
    Ok((leader, with))
}

impl Leader {
    pub(super) fn pid(self) -> Pid {
        self.pid
    }

    /// Signals its process group; nothing happens once it is reaped.
    ///
    /// # Errors
    /// What kill(2) says: EPERM when all of the group run as somebody else.
    pub(super) fn signal(self, signal: Signal) -> io::Result<()> {
        let leaders = leaders();
        if !self.is_in(&leaders) {
            return Err(Errno::SRCH);
        }
        kill_process_group(self.pid, signal)
    }

    /// Whether it is not reaped yet, so that its pid and its group are its own.
    pub(super) fn is_ours(self) -> bool {
        self.is_in(&leaders())
    }

    fn is_in(self, leaders: &BTreeMap<RawPid, u64>) -> bool {
        leaders.get(&self.pid.as_raw_pid()) == Some(&self.ticket)
    }

    /// Ends the registration. `reap` runs before anybody can take the process for an orphan; what it
    /// leaves is one.
    pub(super) fn release(self, reap: impl FnOnce()) {
        let _changing = CHANGING.read().unwrap_or_else(PoisonError::into_inner);
        let mut leaders = leaders();
        if self.is_in(&leaders) {
            leaders.remove(&self.pid.as_raw_pid());
            drop(leaders);
            reap();
        }
    }
}

/// The orphans that came to the server, dead and alive.
pub(super) fn orphans() -> Vec<Pid> {
    let _alone = CHANGING.write().unwrap_or_else(PoisonError::into_inner);
    unregistered()
}

fn unregistered() -> Vec<Pid> {
    let mut children = proc_fs::children(rustix::process::getpid());
    let leaders = leaders();
    children.retain(|pid| !leaders.contains_key(&pid.as_raw_pid()));
    children.sort_unstable_by_key(|pid| pid.as_raw_pid());
    children.dedup();
    children
}

/// Reaps the orphans that are dead, one by one: waitpid(-1) would take the status of commands too.
/// Gives how many.
pub(super) fn reap_orphans() -> usize {
    let _alone = CHANGING.write().unwrap_or_else(PoisonError::into_inner);
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let reaped = |pid: &Pid| matches!(waitid(WaitId::Pid(*pid), options), Ok(Some(_)));
    unregistered().iter().filter(|pid| reaped(pid)).count()
}
