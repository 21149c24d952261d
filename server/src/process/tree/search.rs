//! The search for the processes of a job, and ending them.
//!
//! The server is a subreaper, so all that a command starts is below the server: under the job's
//! leader, or an orphan that became the server's child. A walk over these two finds every process
//! of the job, at a cost in proportion to the job, not the host. An orphan belongs to the job if it
//! is in the job's process group, is in a session that a process of the job made, carries its
//! `RCMD_JOB`, or has a parent that belongs to the job. A process that clears its environment,
//! makes a session of its own and loses its parents before the walk can't be distinguished from one
//! of another job; this back-end leaves it.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    time::{Duration, Instant},
};

use rustix::{
    fd::OwnedFd,
    io::Errno,
    process::{Pid, PidfdFlags, RawPid, Signal, pidfd_open, pidfd_send_signal},
};

use super::mark;
use crate::process::{
    children::{self, Leader},
    proc_fs::{self, InBetween, Stat},
};

/// The time after which a kill gives up: a process that has not died by then waits in the kernel,
/// or runs as another user.
const PATIENCE: Duration = Duration::from_secs(5);
/// The time after which a kill that the kernel refuses gives up: the processes left belong to
/// another user.
const REFUSED: Duration = Duration::from_secs(1);
/// The number of passes without a living process of the job after which the job counts as gone,
/// even if orphans, apparently of other jobs, keep arriving.
const CALM: u32 = 50;
/// The maximum number of dying processes that are waited for, each with a descriptor.
const DYING: usize = 64;

/// The result of killing a tree.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct TreeKill {
    /// The number of processes that were sent SIGKILL.
    pub killed: usize,
    /// The processes that still live. They wait in the kernel, or run as another user.
    pub left: Vec<Survivor>,
}

/// A process that could not be killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Survivor {
    /// The process ID.
    pub pid: RawPid,
    /// The ID of the user that it runs as, if that could be determined.
    pub user: Option<u32>,
}

impl Survivor {
    /// Determines the user that a process runs as.
    pub(in crate::process) fn of(pid: RawPid) -> Self {
        Self { pid, user: proc_fs::user(pid) }
    }
}

impl fmt::Display for Survivor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.user {
            Some(user) => write!(f, "process {} of user {user}", self.pid),
            None => write!(f, "process {}", self.pid),
        }
    }
}

/// A search for the processes of one job, over one or more passes.
#[derive(Debug)]
pub(in crate::process) struct TreeSearch {
    leader: Leader,
    job: Vec<u8>,
    /// The sessions made by its processes; a process of another job can't join one.
    sessions: HashSet<RawPid>,
    killed: HashSet<(Pid, u64)>,
    left: Vec<RawPid>,
    /// The number of processes in `left` that the server may not signal.
    refused: usize,
    calm: u32,
    began: Instant,
}

/// The signal that a pass sends to the processes it finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::process) enum TreeSignal {
    /// SIGTERM, outside the leader's group, which the leader's owner signals.
    Term,
    /// SIGSTOP when a process is found, so that it forks no more, and SIGKILL when its children are
    /// known.
    Kill,
}

/// The state of a pass over several jobs.
struct Pass<'a> {
    searches: &'a mut [TreeSearch],
    blow: TreeSignal,
    /// The server's session; 0 if that is of a process outside this PID namespace.
    own_session: RawPid,
    by_group: HashMap<RawPid, usize>,
    by_job: HashMap<Vec<u8>, usize>,
    dying: Vec<OwnedFd>,
    /// True if a process could be neither assigned to a job nor excluded.
    unsure: bool,
}

/// A process that was found, and the search that its parent belongs to.
struct Met {
    stat: Stat,
    parents: Option<usize>,
}

impl TreeSearch {
    pub(in crate::process) fn new(leader: Leader, job: &str) -> Self {
        Self {
            leader,
            job: job.as_bytes().to_vec(),
            sessions: HashSet::new(),
            killed: HashSet::new(),
            left: Vec::new(),
            refused: 0,
            calm: 0,
            began: Instant::now(),
        }
    }

    /// Returns the result, if the tree is gone or the time is over.
    pub(in crate::process) fn result(&self, quiet: bool) -> Option<TreeKill> {
        let gone = self.left.is_empty() && (quiet || self.calm >= CALM);
        let patience = if self.refused < self.left.len() { PATIENCE } else { REFUSED };
        let over = gone || self.began.elapsed() >= patience || !self.leader.is_ours();
        let left = || self.left.iter().copied().map(Survivor::of).collect();
        over.then(|| TreeKill { killed: self.killed.len(), left: left() })
    }
}

/// Kills once all processes with the mark of a job whose leader is unknown, as after its server was
/// killed, and all below them. Returns the number of living ones.
pub(in crate::process) fn kill_marked(job: &[u8]) -> usize {
    let is_marked = |stat: &Stat| mark::of(stat.pid) == Ok(Some(job.to_vec()));
    let marked = proc_fs::all().into_iter().filter(|stat| stat.alive && is_marked(stat));
    let mut met: Vec<Met> = marked.map(|stat| Met { stat, parents: None }).collect();
    let mut found = HashSet::new();
    while let Some(Met { stat, .. }) = met.pop() {
        if !stat.alive || !found.insert((stat.pid, stat.start)) {
            continue;
        }
        let pidfd = hold(&stat);
        let signal = |signal| pidfd.as_ref().is_ok_and(|fd| pidfd_send_signal(fd, signal).is_ok());
        signal(Signal::STOP);
        met.extend(below(&stat, None));
        signal(Signal::KILL);
    }
    found.len()
}

/// The result of a pass.
#[derive(Debug)]
pub(in crate::process) struct Swept {
    /// True if each process could be judged, and no orphan arrived or left meanwhile: no process
    /// can have been missed.
    pub(in crate::process) quiet: bool,
    /// A few of the processes that were killed and are dying.
    pub(in crate::process) dying: Vec<OwnedFd>,
}

/// Makes one pass over all processes of these jobs.
pub(in crate::process) fn pass(searches: &mut [TreeSearch], blow: TreeSignal) -> Swept {
    // Once a leader is reaped, the number of its group may be reused.
    let ours = || searches.iter().enumerate().filter(|(_, search)| search.leader.is_ours());
    let mut pass = Pass {
        by_group: ours().map(|(at, search)| (search.leader.pid().as_raw_pid(), at)).collect(),
        by_job: ours().map(|(at, search)| (search.job.clone(), at)).collect(),
        own_session: proc_fs::stat(rustix::process::getpid()).map_or(0, |own| own.session),
        dying: Vec::new(),
        unsure: false,
        searches,
        blow,
    };
    pass.begin();
    let orphans = children::orphans();
    pass.walk(&orphans);
    pass.finish();
    Swept { quiet: !pass.unsure && orphans == children::orphans(), dying: pass.dying }
}

impl Pass<'_> {
    fn begin(&mut self) {
        for search in &mut *self.searches {
            search.left.clear();
            search.refused = 0;
            if self.blow == TreeSignal::Kill {
                // While they are looked at, stopped processes do not fork, and remain the parents
                // of their children.
                let _ = search.leader.signal(Signal::STOP);
            }
        }
    }

    fn finish(&mut self) {
        if self.blow == TreeSignal::Kill {
            for search in &mut *self.searches {
                // Kills at once all processes that joined the group meanwhile.
                let _ = search.leader.signal(Signal::KILL);
                search.calm = if search.left.is_empty() { search.calm + 1 } else { 0 };
            }
        }
    }

    fn walk(&mut self, orphans: &[Pid]) {
        let orphans = orphans.iter().filter_map(|&pid| proc_fs::stat(pid));
        let mut met: Vec<Met> = orphans.map(|stat| Met { stat, parents: None }).collect();
        for (at, search) in self.searches.iter().enumerate() {
            if let Some(stat) =
                proc_fs::stat(search.leader.pid()).filter(|_| search.leader.is_ours())
            {
                met.push(Met { stat, parents: Some(at) });
            }
        }
        while let Some(next) = met.pop() {
            met.extend(self.visit(&next));
        }
    }

    /// Signals a process if it belongs to a job, and returns its children.
    fn visit(&mut self, met: &Met) -> Vec<Met> {
        let stat = met.stat;
        if !stat.alive {
            return Vec::new();
        }
        let owner = met.parents.map_or_else(|| self.owner(&stat), |at| Ok(Some(at)));
        self.unsure |= owner.is_err();
        let Ok(Some(at)) = owner else { return below(&stat, None) };
        let Some(search) = self.searches.get_mut(at) else { return Vec::new() };
        if ![0, self.own_session].contains(&stat.session) {
            search.sessions.insert(stat.session);
        }
        let pidfd = match hold(&stat) {
            Ok(pidfd) => pidfd,
            Err(Errno::SRCH) => return Vec::new(),
            Err(_) => {
                search.left.push(stat.pid.as_raw_pid());
                return below(&stat, Some(at));
            }
        };
        if self.blow == TreeSignal::Term {
            if stat.group != search.leader.pid().as_raw_pid() {
                let _ = pidfd_send_signal(&pidfd, Signal::TERM);
            }
            return below(&stat, Some(at));
        }
        let _ = pidfd_send_signal(&pidfd, Signal::STOP);
        let children = below(&stat, Some(at));
        // The kill succeeds or the process is gone by the next pass; one that can't be killed
        // remains in `left`.
        search.left.push(stat.pid.as_raw_pid());
        match pidfd_send_signal(&pidfd, Signal::KILL) {
            Ok(()) => {
                search.killed.insert((stat.pid, stat.start));
                if self.dying.len() < DYING {
                    self.dying.push(pidfd);
                }
            }
            Err(Errno::PERM) => search.refused += 1,
            Err(_) => {}
        }
        children
    }

    /// Returns the job that an orphan, or a process below one, belongs to by its own properties.
    fn owner(&self, stat: &Stat) -> Result<Option<usize>, InBetween> {
        if let Some(&at) = self.by_group.get(&stat.group) {
            return Ok(Some(at));
        }
        if let Some(at) =
            self.searches.iter().position(|search| search.sessions.contains(&stat.session))
        {
            return Ok(Some(at));
        }
        let job = mark::of(stat.pid)?;
        Ok(job.and_then(|job| self.by_job.get(&job).copied()))
    }
}

/// Returns the children of a process. That each names it as its parent proves that the process ID
/// was not reused between the list and the look.
fn below(parent: &Stat, parents: Option<usize>) -> Vec<Met> {
    proc_fs::children(parent.pid)
        .into_iter()
        .filter_map(proc_fs::stat)
        .filter(|stat| stat.parent == Some(parent.pid))
        .map(|stat| Met { stat, parents })
        .collect()
}

/// Returns a descriptor of exactly the process that was looked at: another that has its process ID
/// by now started later.
fn hold(seen: &Stat) -> Result<OwnedFd, Errno> {
    let pidfd = pidfd_open(seen.pid, PidfdFlags::empty())?;
    match proc_fs::stat(seen.pid) {
        Some(now) if now.start == seen.start => Ok(pidfd),
        _ => Err(Errno::SRCH),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_that_was_given_away_is_left_alone() {
        let now = proc_fs::stat(rustix::process::getpid()).unwrap();
        assert!(hold(&now).is_ok());
        let before = Stat { start: now.start - 1, ..now };
        assert_eq!(hold(&before).unwrap_err(), Errno::SRCH);
    }
}
