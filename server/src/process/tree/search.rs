//! The tree of a job: finding its processes, ending them.
//!
//! The server is a subreaper, so that whatever a command starts is below the server: under the job's
//! leader, or an orphan that became the server's child. A walk over these two meets every process of
//! the job, and costs what the job is large, not the host. Of the orphans, those belong to the job
//! that are in its process group, in a session one of its processes made, carry its `RCMD_JOB`, or
//! have a parent that belongs to it. What clears its environment, makes a session of its own and
//! loses its parents before the walk can't be told from another job's; this back-end leaves it.

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

/// Time after which a kill gives up: what has not died by then waits in the kernel, or runs as
/// somebody else.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time after which a kill gives up that the kernel refuses: what is left is somebody else's.
const REFUSED: Duration = Duration::from_secs(1);
/// Passes without a living process of the job after which it counts as gone although orphans, of
/// other jobs it seems, keep coming.
const CALM: u32 = 50;
/// Dying processes that are waited for, each with a descriptor.
const DYING: usize = 64;

/// What became of a tree.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct TreeKill {
    /// How many processes were sent SIGKILL.
    pub killed: usize,
    /// Those that still live, and why is not known: they wait in the kernel, or run as somebody else.
    pub left: Vec<Survivor>,
}

/// A process that could not be killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Survivor {
    /// Its number.
    pub pid: RawPid,
    /// The number of the user that it runs as, if it could be seen.
    pub user: Option<u32>,
}

impl Survivor {
    /// Looks whom a process runs as.
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

/// The search for the processes of one job, over one pass or many.
#[derive(Debug)]
pub(in crate::process) struct TreeSearch {
    leader: Leader,
    job: Vec<u8>,
    /// Sessions made by its processes: nobody can join one.
    sessions: HashSet<RawPid>,
    killed: HashSet<(Pid, u64)>,
    left: Vec<RawPid>,
    /// How many of these may not be signalled.
    refused: usize,
    calm: u32,
    began: Instant,
}

/// What a pass does to what it finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::process) enum TreeSignal {
    /// SIGTERM, outside of the leader's group, which the leader's owner signals.
    Term,
    /// SIGSTOP when it is found, so that it forks no more; SIGKILL when its children are known.
    Kill,
}

/// What a pass over several jobs needs.
struct Pass<'a> {
    searches: &'a mut [TreeSearch],
    blow: TreeSignal,
    /// 0 when it is that of a process outside of this pid namespace.
    own_session: RawPid,
    by_group: HashMap<RawPid, usize>,
    by_job: HashMap<Vec<u8>, usize>,
    dying: Vec<OwnedFd>,
    /// Set when some process could not be told to belong to a job or not.
    unsure: bool,
}

/// A process that was met, and the hunt that its parent belongs to.
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

    /// Returns the result, when the tree is gone or the time is over.
    pub(in crate::process) fn result(&self, quiet: bool) -> Option<TreeKill> {
        let gone = self.left.is_empty() && (quiet || self.calm >= CALM);
        let patience = if self.refused < self.left.len() { PATIENCE } else { REFUSED };
        let over = gone || self.began.elapsed() >= patience || !self.leader.is_ours();
        let left = || self.left.iter().copied().map(Survivor::of).collect();
        over.then(|| TreeKill { killed: self.killed.len(), left: left() })
    }
}

/// Kills once whatever bears the mark of a job of which no leader is known, as after the server that
/// had it was killed, with all that is below it. Returns how many lived.
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

/// What a pass left behind.
#[derive(Debug)]
pub(in crate::process) struct Swept {
    /// True when each process could be judged and no orphan came or went meanwhile: none can have
    /// slipped through.
    pub(in crate::process) quiet: bool,
    /// Some of those that were killed and die now.
    pub(in crate::process) dying: Vec<OwnedFd>,
}

/// Meets every process of these jobs once.
pub(in crate::process) fn pass(searches: &mut [TreeSearch], blow: TreeSignal) -> Swept {
    // The number of a group may be somebody else's once its leader is reaped.
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
                // Its processes fork no more, and keep their parents, while they are looked at.
                let _ = search.leader.signal(Signal::STOP);
            }
        }
    }

    fn finish(&mut self) {
        if self.blow == TreeSignal::Kill {
            for search in &mut *self.searches {
                // Whatever joined the group meanwhile, all at once.
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

    /// Does to a process what is to be done, and returns its children.
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
        // A process that is gone by now is of no interest; one that can't be killed is.
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

    /// Returns the job that an orphan, or what is below one, belongs to by its own marks.
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

/// Returns the children of a process. That each names it as its parent proves that the pid was not given
/// away between the list and the look.
fn below(parent: &Stat, parents: Option<usize>) -> Vec<Met> {
    proc_fs::children(parent.pid)
        .into_iter()
        .filter_map(proc_fs::stat)
        .filter(|stat| stat.parent == Some(parent.pid))
        .map(|stat| Met { stat, parents })
        .collect()
}

/// Returns a descriptor of exactly the process that was looked at: another one that has its pid by now
/// started later.
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
