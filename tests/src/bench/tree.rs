//! The resources that a program uses, with all that it starts: time, processors, memory.

use std::collections::HashSet;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::resource::UsageWho::RUSAGE_CHILDREN;
use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, waitpid};

use super::measure::used;
use crate::proc::{self, Process};
use crate::wait::{DEADLINE, exit_within, poll_for};

/// The longest time of a program; one that takes longer is killed.
const LIMIT: Duration = Duration::from_secs(600);
/// The time between two looks at the program itself.
const EVERY: Duration = Duration::from_millis(5);
/// The time between two looks at all processes, as a multiple of what the last look took.
const PARTS: u32 = 20;
/// The most time between two looks at all processes, where other work makes a look slow.
const RARELY: Duration = Duration::from_millis(500);
/// The time for which processes that a program left behind may run on.
const GRACE: Duration = Duration::from_secs(5);

/// The resources that a program used from its start to its end.
pub(crate) struct Cost {
    pub(crate) seconds: f64,
    /// The processor seconds of the program and of all that it started.
    pub(crate) processor: f64,
    /// The most MiB of all its processes together, as far as was seen: the sum of their proportional memory,
    /// or the peak of the program's own resident memory if that is more.
    pub(crate) tree: f64,
    /// The most MiB that the program itself had resident.
    pub(crate) main: f64,
    /// The most MiB on the daemon's side, as [`Cost::tree`] of all processes that began below it meanwhile, and what it
    /// grew by itself. 0 without a daemon.
    pub(crate) host: f64,
    pub(crate) status: ExitStatus,
}

/// Runs a program to its end, whatever status that has.
///
/// # Errors
///
/// When it can't be run, or does not end within [`LIMIT`].
pub(crate) fn cost(command: &mut Command) -> Result<Cost> {
    cost_beside(command, None)
}

/// Runs a program as [`cost`] does, and looks at what its daemon takes meanwhile.
///
/// # Errors
///
/// The errors of [`cost`].
pub(crate) fn cost_beside(command: &mut Command, daemon: Option<u32>) -> Result<Cost> {
    // What loses its parent becomes ours: it can be waited for, and is accounted to the program.
    set_child_subreaper(Some(getpid())).context("can't become a subreaper")?;
    let cost = cost_below(command, daemon);
    set_child_subreaper(None).context("can't stop being a subreaper")?;
    cost
}

fn cost_below(command: &mut Command, daemon: Option<u32>) -> Result<Cost> {
    let name = command.get_program().to_string_lossy().into_owned();
    let others: HashSet<u32> = children().map(|process| process.pid).collect();
    let host = daemon.map(Host::now);
    let before = used(RUSAGE_CHILDREN)?;
    let began = Instant::now();
    let mut child = command.spawn().with_context(|| format!("can't run {name}"))?;
    let mut most = Most { host, ..Most::default() };
    let ended = most.watch(&mut child, began);
    let seconds = began.elapsed().as_secs_f64();
    if !matches!(ended, Ok(Some(_))) {
        let below = proc::descendants(child.id());
        child.kill()?;
        child.wait()?;
        below.iter().for_each(Process::kill);
    }
    end_strays(&others)?;
    let Some(status) = ended? else {
        bail!("{name} did not end within {LIMIT:?}");
    };
    let mib = |kib: u64| kib as f64 / 1024.0;
    Ok(Cost {
        seconds,
        processor: used(RUSAGE_CHILDREN)? - before,
        tree: mib(most.tree.max(most.main)),
        main: mib(most.main),
        host: mib(most.host.map_or(0, |host| host.most())),
        status,
    })
}

/// The most memory that was seen, in KiB.
#[derive(Default)]
struct Most {
    tree: u64,
    main: u64,
    host: Option<Host>,
}

/// A daemon and what began below it, in KiB.
struct Host {
    daemon: u32,
    /// The processes that were there before.
    resting: HashSet<u32>,
    resident: u64,
    /// Those that began meanwhile, as far as was seen.
    begun: Vec<u32>,
    tree: u64,
    main: u64,
}

impl Host {
    fn now(daemon: u32) -> Self {
        let resting = proc::descendants(daemon).into_iter().map(|process| process.pid).collect();
        // Where its peak can't be forgotten, an earlier one counts for this time too.
        proc::forget_peak(daemon);
        let resident = proc::resident_kib(daemon).unwrap_or(0);
        Self { daemon, resting, resident, begun: Vec::new(), tree: 0, main: 0 }
    }

    /// Looks at each process that is known.
    fn look(&mut self) {
        let largest = self.begun.iter().filter_map(|&pid| proc::peak_kib(pid)).max();
        self.main = self.main.max(largest.unwrap_or(0));
    }

    /// Looks for processes that have begun, and at all together.
    fn look_around(&mut self) {
        let below = proc::descendants(self.daemon).into_iter().map(|process| process.pid);
        self.begun = below.filter(|pid| !self.resting.contains(pid)).collect();
        let together = self.begun.iter().filter_map(|&pid| proc::proportional_kib(pid)).sum();
        self.tree = self.tree.max(together);
        self.look();
    }

    fn most(&self) -> u64 {
        let grown = proc::peak_kib(self.daemon).unwrap_or(0).saturating_sub(self.resident);
        self.tree.max(self.main) + grown
    }
}

impl Most {
    /// Looks until the child ends, or [`LIMIT`] is over.
    fn watch(&mut self, child: &mut Child, began: Instant) -> Result<Option<ExitStatus>> {
        let mut next = began;
        while began.elapsed() < LIMIT {
            if let Some(status) = exit_within(child, EVERY)? {
                return Ok(Some(status));
            }
            self.main = self.main.max(proc::peak_kib(child.id()).unwrap_or(0));
            self.host.iter_mut().for_each(Host::look);
            let look = Instant::now();
            if look >= next {
                self.tree = self.tree.max(proportional_kib(child.id()));
                self.host.iter_mut().for_each(Host::look_around);
                next = look + (look.elapsed() * PARTS).min(RARELY);
            }
        }
        Ok(None)
    }
}

/// Returns the proportional memory of a process and of all below it, in KiB.
fn proportional_kib(pid: u32) -> u64 {
    let below = proc::descendants(pid);
    let pids = below.iter().map(|process| process.pid).chain([pid]);
    // One that has just ended has none.
    pids.filter_map(proc::proportional_kib).sum()
}

fn children() -> impl Iterator<Item = Process> {
    let own = std::process::id();
    proc::all().into_iter().filter(move |process| process.parent == own)
}

/// Waits for our children but these, and kills those that do not end within [`GRACE`].
fn end_strays(others: &HashSet<u32>) -> Result<()> {
    let strays = || children().filter(|process| !others.contains(&process.pid));
    let over = |limit, kill: bool| {
        poll_for(limit, || {
            let mut left = false;
            for stray in strays() {
                left = true;
                if kill {
                    proc::descendants(stray.pid).iter().for_each(Process::kill);
                    stray.kill();
                }
                let pid = i32::try_from(stray.pid).ok().and_then(Pid::from_raw);
                // One that runs on is waited for at the next look.
                let _ = pid.map(|pid| waitpid(Some(pid), WaitOptions::NOHANG));
            }
            (!left).then_some(())
        })
    };
    over(GRACE, false)
        .or_else(|| over(DEADLINE, true))
        .context("what a program left behind does not end")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The children of a test's process are those of all its tests, so this is the only one.
    #[test]
    fn what_a_program_starts_counts_as_its_own_also_when_it_outlives_it() {
        let spin = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        let mut shell = Command::new("sh");
        let cost = cost(shell.args(["-c", &format!("sh -c '{spin}' & exit 3")])).unwrap();
        assert!(cost.processor > 0.02, "{}", cost.processor);
        assert!(cost.tree >= cost.main, "{} {}", cost.tree, cost.main);
        let below = children().filter(|process| process.name == "sh");
        assert_eq!(below.count(), 0, "a stray was waited for");
    }
}
