//! The register of the server's children: those that it started, and orphans that came to it.
//!
//! The kernel keeps one list of children for the whole server, so there is one register beside it.
//! A process ID is valid only until its process is reaped. Code that signals a group or reaps an
//! orphan asks here first, under a lock that keeps the answer true.

use std::{
    collections::BTreeMap,
    mem::ManuallyDrop,
    sync::{
        Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::{
    io::{self, Errno},
    process::{Pid, RawPid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid},
    thread::gettid,
};
use tokio::process::Child;

use super::{environment::JOB, proc_fs};

/// A lock that is shared by the starters of processes, from before a process exists until it is
/// registered, and by those that reap their own. Its exclusive holder sees every unregistered child
/// as an orphan.
static CHANGING: RwLock<()> = RwLock::new(());
/// The first processes of jobs that are not reaped yet.
static LEADERS: Mutex<BTreeMap<RawPid, Entry>> = Mutex::new(BTreeMap::new());
/// The threads that start a child and wait for it. Their children are registered only after that.
static STARTING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());
/// The source of tickets, which distinguish a leader from a later one with the same process ID.
static TICKETS: AtomicU64 = AtomicU64::new(0);

/// The entry of a child in the register.
#[derive(Debug)]
enum Entry {
    /// The first process of a job, with this ticket, whose group the job may signal.
    Leader(u64),
    /// A process whose job released it before it had ended. Nobody signals it any longer; it is
    /// reaped when it has ended, by its handle if there is one.
    Released(Option<TokioChild>),
}

/// The first process of a job, which leads its process group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Leader {
    pid: Pid,
    ticket: u64,
}

/// The duty to reap a leader. If this is dropped, the process group is killed.
#[derive(Debug)]
pub(super) struct Registration {
    leader: Leader,
    child: Option<TokioChild>,
}

/// A handle of `tokio::process`, which is dropped only after it has reaped its process.
///
/// A handle that is dropped before goes into a queue of tokio's, which reaps by process ID at each
/// SIGCHLD, without the lock of the register under which alone a process ID is signalled. Therefore
/// a handle that never reaps its process is kept for ever, with its descriptor.
#[derive(Debug)]
pub(super) struct TokioChild(ManuallyDrop<Child>);

impl TokioChild {
    pub(super) fn new(child: Child) -> Self {
        Self(ManuallyDrop::new(child))
    }
}

/// A started process, with the handle that reaps it.
pub(super) struct Started {
    pub(super) pid: Pid,
    /// The handle; without one, the process is reaped by its process ID.
    pub(super) child: Option<TokioChild>,
}

/// Reaps a released process, if it has ended. Returns whether it had.
fn try_reap(pid: Pid, child: Option<&mut TokioChild>) -> bool {
    match child {
        // tokio drops its watch of the process as soon as the status is known.
        Some(child) => matches!(child.0.try_wait(), Ok(Some(_))),
        None => {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            matches!(waitid(WaitId::Pid(pid), options), Ok(Some(_)))
        }
    }
}

fn leaders() -> MutexGuard<'static, BTreeMap<RawPid, Entry>> {
    LEADERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a child and registers it, so that it is not taken for an orphan in between. Also returns
/// the other value of `make`. `make` must not wait for the child: nothing is reaped and no other
/// process starts meanwhile.
pub(super) fn start<T, E>(
    make: impl FnOnce() -> Result<(Pid, T), E>,
) -> Result<(Registration, T), E> {
    let _changing = CHANGING.read().unwrap_or_else(PoisonError::into_inner);
    let (pid, with) = make()?;
    Ok((register(Started { pid, child: None }), with))
}

/// Makes a child as [`start`] does, by a `make` that may wait for long. The children of the calling
/// thread are not taken for orphans meanwhile, and other threads start and reap.
pub(super) fn start_and_wait<T, E>(
    make: impl FnOnce() -> Result<(Started, T), E>,
) -> Result<(Registration, T), E> {
    let _waits = Waits::begin();
    let (started, with) = make()?;
    Ok((register(started), with))
}

fn register(Started { pid, child }: Started) -> Registration {
    let leader = Leader { pid, ticket: TICKETS.fetch_add(1, Ordering::Relaxed) };
    leaders().insert(pid.as_raw_pid(), Entry::Leader(leader.ticket));
    Registration { leader, child }
}

fn starting() -> MutexGuard<'static, Vec<Pid>> {
    STARTING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The entry of a thread that starts a child and waits for it, until this is dropped.
struct Waits(Pid);

impl Waits {
    fn begin() -> Self {
        // The look for orphans has the lock exclusively, and sees the thread before it sees its
        // child.
        let _changing = CHANGING.read().unwrap_or_else(PoisonError::into_inner);
        let thread = gettid();
        starting().push(thread);
        Self(thread)
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        starting().retain(|thread| *thread != self.0);
    }
}

/// Returns the process of a job that the calling thread has started although the start reported a
/// failure. To be called within [`start_and_wait`], so that it is not reaped meanwhile.
///
/// Orphans come to the first thread of the server, so an unregistered child of another thread is
/// one whose handle was lost. Its mark may not be readable yet, or no longer.
pub(super) fn find_started(job: &str) -> Option<Pid> {
    let is_new = |pid: &Pid| !leaders().contains_key(&pid.as_raw_pid());
    let mark = |pid: &Pid| proc_fs::variable(*pid, JOB);
    let job = Some(job.as_bytes().to_vec());
    match proc_fs::children_of_thread(gettid()) {
        Some(children) => children
            .into_iter()
            .filter(is_new)
            .find(|pid| mark(pid).map_or(true, |mark| mark.is_none() || mark == job)),
        None => {
            let children = proc_fs::children(rustix::process::getpid());
            children.into_iter().filter(is_new).find(|pid| mark(pid) == Ok(job.clone()))
        }
    }
}

impl Leader {
    pub(super) fn pid(self) -> Pid {
        self.pid
    }

    /// Signals its process group. Has no effect once the leader is released.
    ///
    /// # Errors
    /// As for kill(2): EPERM if all processes of the group run as another user.
    pub(super) fn signal(self, signal: Signal) -> io::Result<()> {
        let leaders = leaders();
        if !self.is_in(&leaders) {
            return Err(Errno::SRCH);
        }
        kill_process_group(self.pid, signal)
    }

    /// Returns whether the leader is not released yet, so that its process ID and its group are its
    /// own.
    pub(super) fn is_ours(self) -> bool {
        self.is_in(&leaders())
    }

    fn is_in(self, leaders: &BTreeMap<RawPid, Entry>) -> bool {
        let entry = leaders.get(&self.pid.as_raw_pid());
        matches!(entry, Some(Entry::Leader(ticket)) if *ticket == self.ticket)
    }
}

impl Registration {
    pub(super) fn leader(&self) -> Leader {
        self.leader
    }

    /// Ends the registration and reaps the process. A process that has not ended is reaped as an
    /// orphan when it has.
    pub(super) fn release(&mut self) {
        let _changing = CHANGING.read().unwrap_or_else(PoisonError::into_inner);
        let mut leaders = leaders();
        if !self.leader.is_in(&leaders) {
            return;
        }
        let (pid, mut child) = (self.leader.pid, self.child.take());
        leaders.remove(&pid.as_raw_pid());
        if !try_reap(pid, child.as_mut()) {
            leaders.insert(pid.as_raw_pid(), Entry::Released(child));
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let _ = self.leader.signal(Signal::KILL);
        self.release();
    }
}

/// Returns the orphans that came to the server, living and dead, in order.
pub(super) fn orphans() -> Vec<Pid> {
    let _alone = CHANGING.write().unwrap_or_else(PoisonError::into_inner);
    others(|entry| matches!(entry, Entry::Leader(_)))
}

/// Returns the children of the server without those whose entries `is_left_out` leaves out.
fn others(is_left_out: impl Fn(&Entry) -> bool) -> Vec<Pid> {
    // Read before the lock is taken, so that no signal to a group waits for `/proc`. The threads
    // are read before the register: a child that is registered meanwhile is missing in neither.
    let threads = starting().clone();
    let mut children = proc_fs::children_but_of(&threads);
    let leaders = leaders();
    children.retain(|pid| !leaders.get(&pid.as_raw_pid()).is_some_and(&is_left_out));
    children.sort_unstable_by_key(|pid| pid.as_raw_pid());
    children.dedup();
    children
}

/// Reaps the dead orphans one by one: waitpid(-1) would take the status of commands too. Returns
/// their number.
pub(super) fn reap_orphans() -> usize {
    let _alone = CHANGING.write().unwrap_or_else(PoisonError::into_inner);
    let orphans = others(|_| true);
    let reaped = orphans.iter().filter(|pid| try_reap(**pid, None)).count();
    let mut leaders = leaders();
    let before = leaders.len();
    leaders.retain(|&pid, entry| match (entry, Pid::from_raw(pid)) {
        (Entry::Released(child), Some(pid)) => !try_reap(pid, child.as_mut()),
        _ => true,
    });
    reaped + before - leaders.len()
}
