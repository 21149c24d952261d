//! The processes of this machine, as the kernel describes them (proc(5)).

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, WaitOptions, getrlimit, setrlimit};

use crate::wait::{DEADLINE, poll_for};

/// One process, told apart from a later one of the same number by when it started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// The number of the process.
    pub pid: u32,
    /// The number of the parent process.
    pub parent: u32,
    /// The name of the process, cut to 15 bytes by the kernel.
    pub name: String,
    /// The state in one letter: `R`, `S`, `D`, `T`, `Z` and others.
    pub state: char,
    /// The time of the start, in clock ticks since the machine started.
    pub started: u64,
}

impl Process {
    /// Returns the process `pid` as the kernel describes it now, or `None` if it is gone.
    #[must_use]
    pub fn find(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name stands in parentheses and may hold anything, parentheses too.
        let (start, end) = (stat.find('(')?, stat.rfind(')')?);
        let rest: Vec<&str> = stat.get(end + 1..)?.split_ascii_whitespace().collect();
        Some(Self {
            pid,
            name: stat.get(start + 1..end)?.to_owned(),
            state: rest.first()?.chars().next()?,
            parent: rest.get(1)?.parse().ok()?,
            started: rest.get(19)?.parse().ok()?,
        })
    }

    /// Returns whether this very process still runs. A zombie does not.
    #[must_use]
    pub fn runs(&self) -> bool {
        Self::find(self.pid)
            .is_some_and(|now| now.started == self.started && !matches!(now.state, 'Z' | 'X'))
    }

    /// Sends SIGKILL if this very process still runs.
    pub fn kill(&self) {
        if self.runs() {
            signal(self.pid, rustix::process::Signal::KILL);
        }
    }
}

/// Returns the numbers of all processes, the newest first: one that lives for a moment alone is
/// still there when it is looked at.
fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<u32> =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable_by_key(|pid| std::cmp::Reverse(*pid));
    pids
}

/// Returns every process that this test may see.
#[must_use]
pub fn all() -> Vec<Process> {
    pids().into_iter().filter_map(Process::find).collect()
}

/// Returns the processes below `pid`, at any depth. An orphan that has another parent now is not
/// among them.
#[must_use]
pub fn descendants(pid: u32) -> Vec<Process> {
    let mut children: HashMap<u32, Vec<Process>> = HashMap::new();
    for process in all() {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found = Vec::new();
    let mut next = vec![pid];
    while let Some(parent) = next.pop() {
        for process in children.remove(&parent).unwrap_or_default() {
            next.push(process.pid);
            found.push(process);
        }
    }
    found
}

/// Kills and reaps whatever is below this process, a subreaper (prctl(2), `PR_SET_CHILD_SUBREAPER`), until
/// nothing is. Returns `None` after [`DEADLINE`].
///
/// Reading `/proc` takes no snapshot: what is killed may have started another process after the list was
/// made. What loses its parent becomes a child of this process, so that it is over when wait(2) knows of no
/// child, and not when a list is empty.
#[must_use]
pub fn end_all_below() -> Option<()> {
    poll_for(DEADLINE, || {
        let below = descendants(std::process::id());
        below.iter().filter(|process| process.runs()).for_each(Process::kill);
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => return (error == Errno::CHILD).then_some(()),
            }
        }
    })
}

/// Returns every process whose environment has the setting `NAME=VALUE`, or whose command line has
/// it as an argument: thus a test finds what it started, wherever that went.
#[must_use]
pub fn marked(setting: &str) -> Vec<Process> {
    let has = |pid: u32, file: &str| {
        fs::read(format!("/proc/{pid}/{file}"))
            .is_ok_and(|bytes| bytes.split(|&byte| byte == 0).any(|one| one == setting.as_bytes()))
    };
    let marked = pids().into_iter().filter(|&pid| has(pid, "environ") || has(pid, "cmdline"));
    marked.filter_map(Process::find).collect()
}

/// The resources that a process holds, to be compared with those that it holds later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The number of descriptors of each kind: `socket`, `pipe`, `anon_inode:[eventfd]` or a path.
    pub descriptors: BTreeMap<String, usize>,
    /// The number of threads.
    pub threads: usize,
    /// The number of processes below it, at any depth, that are no zombies.
    pub children: usize,
    /// The number of zombies below it.
    pub zombies: usize,
}

impl Snapshot {
    /// Returns the resources that `pid` holds now, or `None` when it is gone or not ours to look
    /// at.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let mut descriptors = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten() {
            // A descriptor may be closed between the two looks.
            let Ok(target) = fs::read_link(entry.path()) else {
                continue;
            };
            let target = target.to_string_lossy();
            let kind = target.split_once(":[").map_or(&*target, |(kind, _)| match kind {
                "anon_inode" => &*target,
                kind => kind,
            });
            // The audit goes on in another file when one is full.
            let kind = match kind.split_once("/audit-") {
                Some((folder, _)) => format!("{folder}/audit"),
                None => kind.to_owned(),
            };
            *descriptors.entry(kind).or_insert(0) += 1;
        }
        let below = descendants(pid);
        let zombies = below.iter().filter(|process| process.state == 'Z').count();
        Some(Self {
            descriptors,
            threads: status_number(pid, "Threads:")? as usize,
            children: below.len() - zombies,
            zombies,
        })
    }

    /// Returns the number of all descriptors.
    #[must_use]
    pub fn descriptor_count(&self) -> usize {
        self.descriptors.values().sum()
    }

    /// Returns whether nothing has been left over since `before`: the same descriptors and children, no
    /// zombie, and no more threads (idle ones of a pool may have ended).
    #[must_use]
    pub fn is_back_to(&self, before: &Self) -> bool {
        self.descriptors == before.descriptors
            && self.children == before.children
            && self.zombies == 0
            && self.threads <= before.threads
    }
}

/// Returns the resident memory now, in KiB.
#[must_use]
pub fn resident_kib(pid: u32) -> Option<u64> {
    status_number(pid, "VmRSS:")
}

/// Returns the part of [`resident_kib`] that is not backed by a file, such as the program itself,
/// in KiB.
#[must_use]
pub fn anonymous_kib(pid: u32) -> Option<u64> {
    status_number(pid, "RssAnon:")
}

/// Returns the resident memory now, in KiB, where a page that several processes have counts for
/// each as its part of it: sums over processes are right (proc_pid_smaps(5), `Pss`).
#[must_use]
pub fn proportional_kib(pid: u32) -> Option<u64> {
    number(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?, "Pss:")
}

/// Returns the most resident memory since the start or [`forget_peak`], in KiB.
#[must_use]
pub fn peak_kib(pid: u32) -> Option<u64> {
    status_number(pid, "VmHWM:")
}

/// Starts the measurement of [`peak_kib`] anew. False where the kernel does not let us.
pub fn forget_peak(pid: u32) -> bool {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").is_ok()
}

/// Returns the number of bytes that a process has asked the kernel for, from wherever
/// (proc_pid_io(5): rchar).
#[must_use]
pub fn bytes_read(pid: u32) -> Option<u64> {
    let counts = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    counts.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse().ok())
}

/// Returns the time that the threads of a process have had on processors.
#[must_use]
pub fn processor_time(pid: u32) -> Option<Duration> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let of = |thread: fs::DirEntry| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    Some(Duration::from_nanos(threads.filter_map(|thread| of(thread.ok()?)).sum()))
}

/// Sends a signal, quietly when the process is gone.
pub fn signal(pid: u32, signal: rustix::process::Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

fn status_number(pid: u32, field: &str) -> Option<u64> {
    number(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, field)
}

/// Returns the number of the line that begins with this field.
fn number(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Takes as many descriptors as this process may have.
pub(crate) fn raise_descriptors() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
