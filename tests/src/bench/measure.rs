//! Rounds in which every contestant runs once, and what comes out of them.

use std::ffi::OsStr;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

use super::table::Series;
use crate::wait::exit_within;

/// The longest time of a single run; one that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(300);

/// The figures of one run of a contestant, or its failure.
type Sample<const N: usize> = Result<[f64; N]>;

/// A way to do the work of a row; each run returns `N` figures.
pub(crate) struct Contestant<'a, const N: usize> {
    name: String,
    /// The number of rounds, from the first, in which the contestant runs.
    rounds: usize,
    run: Box<dyn FnMut() -> Sample<N> + 'a>,
}

/// The contestants of a row.
pub(crate) struct Race<'a, const N: usize>(Vec<Contestant<'a, N>>);

impl<'a, const N: usize> Race<'a, N> {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn add(&mut self, name: &str, run: impl FnMut() -> Sample<N> + 'a) {
        self.add_slow(name, usize::MAX, run);
    }

    /// Adds a contestant as [`Race::add`] does, one so slow that it runs in at most `rounds`
    /// rounds.
    pub(crate) fn add_slow(
        &mut self,
        name: &str,
        rounds: usize,
        run: impl FnMut() -> Sample<N> + 'a,
    ) {
        self.0.push(Contestant { name: name.to_owned(), rounds, run: Box::new(run) });
    }

    /// Runs all, `rounds` times, each round beginning with another one. The series stand in the order
    /// of the contestants; one that failed has none, and is told of instead.
    pub(crate) fn run(mut self, rounds: usize) -> ([Vec<Series>; N], Vec<String>) {
        let mut values = vec![Vec::new(); self.0.len()];
        let mut failed: Vec<Option<String>> = vec![None; self.0.len()];
        for round in 0..rounds {
            for turn in 0..self.0.len() {
                let index = (round + turn) % self.0.len();
                let contestant = &mut self.0[index];
                if failed[index].is_some() || round >= contestant.rounds {
                    continue;
                }
                match (contestant.run)() {
                    Ok(sample) => values[index].push(sample),
                    Err(error) => failed[index] = Some(format!("{}: {error:#}", contestant.name)),
                }
            }
        }
        let series = std::array::from_fn(|figure| {
            let whole = self.0.iter().zip(&values).zip(&failed).filter(|(_, f)| f.is_none());
            whole
                .map(|((contestant, values), _)| Series {
                    name: contestant.name.clone(),
                    values: values.iter().map(|sample: &[f64; N]| sample[figure]).collect(),
                })
                .collect()
        });
        (series, failed.into_iter().flatten().collect())
    }
}

/// Runs a program to its end and says how long it took.
///
/// # Errors
///
/// When it can't be run, does not end with 0, or takes longer than [`LIMIT`].
pub(crate) fn timed(command: &mut Command) -> Result<Duration> {
    let name = command.get_program().to_string_lossy().into_owned();
    let began = Instant::now();
    let mut child = command.spawn().with_context(|| format!("can't run {name}"))?;
    let status = exit_within(&mut child, LIMIT);
    let took = began.elapsed();
    if !matches!(status, Ok(Some(_))) {
        child.kill()?;
        child.wait()?;
    }
    match status? {
        Some(status) if status.success() => Ok(took),
        Some(status) => bail!("{name} ended with {status}"),
        None => bail!("{name} did not end within {LIMIT:?}"),
    }
}

/// Returns the command of a program that reads nothing and whose standard output goes to /dev/null.
pub(crate) fn quiet(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).env_remove("RCMD_DIR");
    command
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Processor seconds that were used up to some moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Processor {
    machine: f64,
    ours: f64,
}

impl Processor {
    /// Returns the processor seconds until now. Those of this process, its children, `daemons` and
    /// the ended children of these count as ours.
    ///
    /// # Errors
    ///
    /// When `/proc` does not say.
    pub(crate) fn now(daemons: &[u32]) -> Result<Self> {
        let mut ours = 0.0;
        for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
            ours += used(who)?;
        }
        for &pid in daemons {
            ours += ticks_of(pid).with_context(|| format!("/proc/{pid}/stat can't be read"))?;
        }
        Ok(Self { machine: busy_ticks().context("/proc/stat can't be read")?, ours })
    }

    /// Returns the processor seconds since `before`: of the whole machine, and of our processes
    /// alone.
    pub(crate) fn since(self, before: Self) -> (f64, f64) {
        (self.machine - before.machine, self.ours - before.ours)
    }
}

/// Returns the processor seconds that the kernel accounts to us, or to the children that were
/// waited for and all that they had waited for.
pub(super) fn used(who: UsageWho) -> Result<f64> {
    let usage = getrusage(who)?;
    let times = [usage.user_time(), usage.system_time()];
    Ok(times.iter().map(|time| time.num_microseconds() as f64 / 1e6).sum())
}

/// Returns the user, nice, system, interrupt and soft interrupt time of all processors, in seconds
/// (proc(5), `/proc/stat`).
fn busy_ticks() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let numbers: Vec<f64> = line.split_ascii_whitespace().flat_map(str::parse).collect();
    Some([0, 1, 2, 5, 6].iter().filter_map(|&field| numbers.get(field)).sum::<f64>() / TICKS)
}

/// Returns the sum of utime, stime, cutime and cstime, in seconds (proc(5), `/proc/PID/stat`).
fn ticks_of(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = stat.get(stat.rfind(')')? + 1..)?;
    let numbers = rest.split_ascii_whitespace().skip(11).take(4);
    Some(numbers.flat_map(str::parse::<f64>).sum::<f64>() / TICKS)
}

/// USER_HZ, the same on every Linux that runs ordinary programs (time(7)).
const TICKS: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contestant_runs_once_a_round_and_each_begins_one() {
        let order = std::cell::RefCell::new(String::new());
        let mut race = Race::new();
        for name in ["a", "b", "c"] {
            let order = &order;
            race.add(name, move || {
                order.borrow_mut().push_str(name);
                Ok([1.0])
            });
        }
        let ([series], failed) = race.run(3);
        assert_eq!(*order.borrow(), "abcbcacab");
        assert_eq!(series.len(), 3);
        assert!(failed.is_empty());
    }

    #[test]
    fn a_slow_contestant_runs_in_the_first_rounds_alone() {
        let mut race = Race::new();
        race.add("quick", || Ok([1.0]));
        race.add_slow("slow", 2, || Ok([2.0]));
        let ([series], failed) = race.run(3);
        let runs: Vec<_> = series.iter().map(|series| series.values.len()).collect();
        assert_eq!((runs, failed.len()), (vec![3, 2], 0));
    }

    #[test]
    fn a_contestant_that_fails_is_named_and_left_out() {
        let mut race = Race::new();
        race.add("good", || Ok([1.0]));
        race.add("bad", || bail!("it broke"));
        let ([series], failed) = race.run(2);
        assert_eq!(series.len(), 1);
        assert_eq!(failed, ["bad: it broke"]);
    }

    #[test]
    fn processor_time_that_this_process_uses_is_counted() {
        let before = Processor::now(&[]).unwrap();
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(30) {}
        let (_, ours) = Processor::now(&[]).unwrap().since(before);
        assert!(ours > 0.0);
    }
}
