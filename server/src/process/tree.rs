//! The tree of a job: found in `/proc`, ended to the last process.
//!
//! A member is what has the leader's process group, what descends from a member, and what carries
//! the job's `RCMD_JOB` in its environment. The server is the subreaper of all of them, so that
//! whatever their own parents do they stay its descendants, and nothing else need be looked at. What
//! clears its environment, leaves its group and its parent is not found; `docs/operating.md` says so.
//!
//! Looking takes milliseconds of blocking reads, so that it has a thread of its own, which takes all
//! jobs that wait in one pass.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, Read as _},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, getpid, pidfd_open, pidfd_send_signal, waitid,
};
use tokio::sync::oneshot;

use super::leaders::Leaders;

/// How long a tree may resist.
const RESIST: Duration = Duration::from_secs(10);
/// Pause between two passes, for what was killed to die.
const PAUSE: Duration = Duration::from_millis(2);
/// Bytes of an environment that are looked through: what execve(2) lets in is no more.
const ENVIRON: u64 = 2 * 1024 * 1024;

/// The thread that looks after trees and orphans.
#[derive(Clone, Debug)]
pub(super) struct Sweeper {
    requests: mpsc::Sender<Request>,
}

#[derive(Debug)]
enum Request {
    Kill { mark: Arc<Mark>, done: oneshot::Sender<TreeKill> },
    Terminate { mark: Arc<Mark> },
    Reap,
}

/// By what a tree is known.
#[derive(Debug)]
struct Mark {
    leader: i32,
    variable: Vec<u8>,
}

/// The way to a job's tree.
#[derive(Clone, Debug)]
pub struct Tree {
    mark: Arc<Mark>,
    requests: mpsc::Sender<Request>,
}

/// What came of killing a tree.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TreeKill {
    /// Processes that were sent SIGKILL.
    pub killed: usize,
    /// Processes that did not die.
    pub left: Vec<i32>,
}

impl Tree {
    /// Kills all of it, and returns when it is gone or has resisted for 10 s.
    pub async fn kill(self) -> TreeKill {
        let (done, killed) = oneshot::channel();
        // The thread ends with the last handle, of which this is one.
        let _ = self.requests.send(Request::Kill { mark: Arc::clone(&self.mark), done });
        killed.await.unwrap_or_default()
    }

    /// Sends all of it SIGTERM, soon.
    pub fn terminate(&self) {
        let _ = self.requests.send(Request::Terminate { mark: Arc::clone(&self.mark) });
    }
}

impl Sweeper {
    pub(super) fn start(leaders: Arc<Leaders>) -> io::Result<Self> {
        let (requests, queue) = mpsc::channel();
        std::thread::Builder::new()
            .name("sweeper".to_owned())
            .spawn(move || sweep(&queue, &leaders))?;
        Ok(Self { requests })
    }

    pub(super) fn tree(&self, leader: Pid, job: &str) -> Tree {
        let variable = format!("RCMD_JOB={job}").into_bytes();
        let mark = Mark { leader: leader.as_raw_nonzero().get(), variable };
        Tree { mark: Arc::new(mark), requests: self.requests.clone() }
    }

    /// Reaps orphans that have ended, soon.
    pub(super) fn reap(&self) {
        let _ = self.requests.send(Request::Reap);
    }
}

struct Killing {
    mark: Arc<Mark>,
    done: oneshot::Sender<TreeKill>,
    seen: HashSet<i32>,
    until: Instant,
}

fn sweep(queue: &mpsc::Receiver<Request>, leaders: &Leaders) {
    let mut killing: Vec<Killing> = Vec::new();
    loop {
        let mut terminating = Vec::new();
        let mut reap = !killing.is_empty();
        // The pause between passes is spent waiting for more to do.
        let first = match killing.is_empty() {
            true => queue.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
            false => queue.recv_timeout(PAUSE),
        };
        if matches!(first, Err(mpsc::RecvTimeoutError::Disconnected)) && killing.is_empty() {
            return;
        }
        for request in first.into_iter().chain(queue.try_iter()) {
            match request {
                Request::Terminate { mark } => terminating.push(mark),
                Request::Reap => reap = true,
                Request::Kill { mark, done } => {
                    let until = Instant::now() + RESIST;
                    killing.push(Killing { mark, done, seen: HashSet::new(), until });
                }
            }
        }
        if !killing.is_empty() || !terminating.is_empty() {
            let mut processes = Processes::read();
            for mark in terminating {
                let members = processes.members(&mark);
                members.iter().for_each(|member| member.send(Signal::TERM));
            }
            killing = killing.into_iter().filter_map(|kill| kill.pass(&mut processes)).collect();
        }
        if reap {
            leaders.reap_orphans();
        }
    }
}

impl Killing {
    /// One pass; gives itself back if another is needed.
    fn pass(mut self, processes: &mut Processes) -> Option<Self> {
        let members = processes.members(&self.mark);
        let over = Instant::now() >= self.until;
        if members.is_empty() || over {
            let left = members.iter().map(|member| member.pid).collect();
            let _ = self.done.send(TreeKill { killed: self.seen.len(), left });
            return None;
        }
        // Stopped first, they make no more of themselves while the others are killed.
        members.iter().for_each(|member| member.send(Signal::STOP));
        members.iter().for_each(|member| member.send(Signal::KILL));
        self.seen.extend(members.iter().map(|member| member.pid));
        Some(self)
    }
}

/// A process as `/proc/PID/stat` shows it (proc_pid_stat(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stat {
    pid: i32,
    state: u8,
    parent: i32,
    group: i32,
    started: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        let mut text = Vec::new();
        File::open(format!("/proc/{pid}/stat")).ok()?.take(4096).read_to_end(&mut text).ok()?;
        Self::parse(pid, &text)
    }

    /// The name in it may hold anything, so that fields are counted from its last parenthesis.
    fn parse(pid: i32, text: &[u8]) -> Option<Self> {
        let name_end = text.iter().rposition(|&byte| byte == b')')?;
        let rest = std::str::from_utf8(text.get(name_end + 1..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        // Field 22 of the line; 4 and 5 were the last two.
        let started = fields.nth(16)?.parse().ok()?;
        Some(Self { pid, state, parent, group, started })
    }

    fn is_alive(&self) -> bool {
        !matches!(self.state, b'Z' | b'X' | b'x')
    }

    /// Sends a signal to this very process, not to a later one that got its number.
    fn send(&self, signal: Signal) {
        let Some(pid) = Pid::from_raw(self.pid) else { return };
        let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return };
        if Self::read(self.pid).is_some_and(|now| now.started == self.started) {
            let _ = pidfd_send_signal(pidfd, signal);
        }
    }

    fn has_variable(&self, variable: &[u8]) -> bool {
        let mut environ = Vec::new();
        let Ok(file) = File::open(format!("/proc/{}/environ", self.pid)) else { return false };
        // What can't be read has ended, or is not ours to kill either.
        let _ = file.take(ENVIRON).read_to_end(&mut environ);
        environ.split(|&byte| byte == 0).any(|entry| entry == variable)
    }
}

/// The server's descendants at one moment.
struct Processes {
    all: HashMap<i32, Stat>,
    children: HashMap<i32, Vec<i32>>,
}

impl Processes {
    fn read() -> Self {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let all: HashMap<i32, Stat> =
            pids.filter_map(|pid| Some((pid, Stat::read(pid)?))).collect();
        let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
        for stat in all.values() {
            children.entry(stat.parent).or_default().push(stat.pid);
        }
        let mut descendants = Self { all, children };
        let ours: HashSet<i32> =
            descendants.below(vec![getpid().as_raw_nonzero().get()]).into_iter().collect();
        descendants.all.retain(|pid, _| ours.contains(pid));
        descendants
    }

    /// All that descend from these, without them.
    fn below(&self, mut roots: Vec<i32>) -> Vec<i32> {
        let mut found = Vec::new();
        while let Some(pid) = roots.pop() {
            let children = self.children.get(&pid).map(Vec::as_slice).unwrap_or_default();
            found.extend_from_slice(children);
            roots.extend_from_slice(children);
        }
        found
    }

    fn members(&mut self, mark: &Mark) -> Vec<Stat> {
        let marked = self.all.values().filter(|stat| {
            stat.pid == mark.leader
                || stat.group == mark.leader
                || (stat.is_alive() && stat.has_variable(&mark.variable))
        });
        let mut pids: Vec<i32> = marked.map(|stat| stat.pid).collect();
        pids.extend(self.below(pids.clone()));
        pids.sort_unstable();
        pids.dedup();
        let members = pids.into_iter().filter_map(|pid| self.all.get(&pid));
        members.filter(|stat| stat.is_alive()).cloned().collect()
    }
}

/// Reaps one child of ours that has ended, if it has.
pub(super) fn reap(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_not_pass_for_fields() {
        let line = b"42 (a) S 1 1 ) Z 7 8 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 6 7\n";
        let stat = Stat::parse(42, line).unwrap();
        assert_eq!(stat, Stat { pid: 42, state: b'Z', parent: 7, group: 8, started: 12345 });
        assert_eq!(Stat::parse(42, b"42 (a"), None);
        assert_eq!(Stat::parse(42, b""), None);
    }

    #[test]
    fn a_signal_goes_to_the_process_that_was_seen_and_to_no_later_one() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let seen = Stat::read(i32::try_from(child.id()).unwrap()).unwrap();
        Stat { started: seen.started + 1, ..seen }.send(Signal::KILL);
        assert!(child.try_wait().unwrap().is_none());
        seen.send(Signal::KILL);
        child.wait().unwrap();
    }
}
