//! Honest neighbours of the attack: each does one thing at a pace, notes how long it took, and must never fail.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rcmd_client::{Client, Config, Outcome};
use tokio::runtime::Runtime;

use super::ground::Ground;
use crate::eventually;
use crate::raw::Echo;
use crate::wait::keep_pace;

/// A neighbour does its thing no more often than this.
const PACE: Duration = Duration::from_millis(10);
/// The number of things that each neighbour must have done before it is measured, and again after
/// an attack.
const SERVED: u64 = 20;

/// The use of the times that neighbours measure at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The times are not kept.
    Between,
    /// The times are those without attackers.
    Quiet,
    /// The times are those beside the attackers.
    Beside,
    /// The neighbours are to leave, and no more times are wanted.
    Over,
}

const PHASES: [Phase; 4] = [Phase::Between, Phase::Quiet, Phase::Beside, Phase::Over];

#[derive(Debug)]
struct Clock {
    phase: AtomicU8,
    /// The number of things done in all phases, by neighbour.
    done: [AtomicU64; 3],
}

/// The neighbours, each on a thread of its own.
pub(super) struct Neighbours {
    clock: Arc<Clock>,
    threads: Vec<(&'static str, JoinHandle<Timed>)>,
}

/// The times that a neighbour measured, and its failures.
#[derive(Debug)]
pub(super) struct Timed {
    name: &'static str,
    quiet: Vec<Duration>,
    beside: Vec<Duration>,
    /// The reasons of all failures, in any phase.
    pub(super) failures: Vec<String>,
}

impl Timed {
    fn new(name: &'static str) -> Self {
        Self { name, quiet: Vec::new(), beside: Vec::new(), failures: Vec::new() }
    }

    /// Returns how many times its quiet value the median beside the attackers is.
    pub(super) fn slowdown(&self) -> f64 {
        match (median(&self.quiet), median(&self.beside)) {
            (Some(quiet), Some(beside)) => beside.as_secs_f64() / quiet.as_secs_f64(),
            // Who was never served was slowed down without end.
            _ => f64::INFINITY,
        }
    }
}

fn median(times: &[Duration]) -> Option<Duration> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}

impl fmt::Display for Timed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [quiet, beside] = [&self.quiet, &self.beside].map(|of| median(of).unwrap_or_default());
        let slowest = self.beside.iter().max().copied().unwrap_or_default();
        let (name, times, of) = (self.name, self.slowdown(), self.beside.len());
        write!(f, "{name:<20} {quiet:>9.2?} {beside:>9.2?}, {times:.2} times; {slowest:.2?}; ")?;
        write!(f, "{} of {of} failed", self.failures.len())?;
        self.failures.iter().take(5).try_for_each(|failure| write!(f, "\n    {failure}"))
    }
}

impl Neighbours {
    pub(super) fn start(ground: &Ground) -> Self {
        let done = [const { AtomicU64::new(0) }; 3];
        let clock = Arc::new(Clock { phase: AtomicU8::new(0), done });
        let target = ground.world.target();
        let mut threads = Vec::new();
        let mut start = |name, neighbour: Box<dyn FnOnce() -> Box<dyn Neighbour> + Send>| {
            let (number, clock) = (threads.len(), Arc::clone(&clock));
            let run = move || clock.time(number, name, &mut *neighbour());
            threads.push((name, std::thread::spawn(run)));
        };
        let (dir, at) = (ground.world.dir().to_owned(), target.clone());
        start("commands", Box::new(move || Box::new(Commands::new(&dir, &at))));
        let (dir, at) = (ground.honest.clone(), target);
        start("connections", Box::new(move || Box::new(Connections::new(dir, at))));
        let echo = Echo::start(&ground.world);
        start("keystrokes", Box::new(move || Box::new(Keystrokes(Some(echo)))));
        let this = Self { clock, threads };
        this.rest_until_served();
        this
    }

    /// Sets what the times from now on are for.
    pub(super) fn measure(&self, phase: Phase) {
        self.clock.phase.store(phase as u8, Ordering::SeqCst);
    }

    /// Waits until each was served some times, without keeping times.
    pub(super) fn rest_until_served(&self) {
        self.measure(Phase::Between);
        let served = || self.clock.done.each_ref().map(|done| done.load(Ordering::SeqCst));
        let before = served();
        eventually("the neighbours are served", || {
            let alive = self.threads.iter().all(|(_, thread)| !thread.is_finished());
            !alive || served().iter().zip(before).all(|(now, before)| *now >= before + SERVED)
        });
    }

    pub(super) fn end(self) -> Vec<Timed> {
        self.measure(Phase::Over);
        let ended = self.threads.into_iter().map(|(name, thread)| {
            thread.join().unwrap_or_else(|_| {
                let failures = vec!["it gave up; see what it said above".to_owned()];
                Timed { failures, ..Timed::new(name) }
            })
        });
        ended.collect()
    }
}

impl Clock {
    fn time(&self, number: usize, name: &'static str, neighbour: &mut dyn Neighbour) -> Timed {
        let mut timed = Timed::new(name);
        loop {
            let phase = PHASES[usize::from(self.phase.load(Ordering::SeqCst))];
            if phase == Phase::Over {
                neighbour.leave();
                return timed;
            }
            let began = Instant::now();
            match neighbour.act() {
                Err(failure) => timed.failures.push(failure),
                Ok(()) if phase == Phase::Quiet => timed.quiet.push(began.elapsed()),
                Ok(()) if phase == Phase::Beside => timed.beside.push(began.elapsed()),
                Ok(()) => {}
            }
            self.done[number].fetch_add(1, Ordering::SeqCst);
            keep_pace(began, PACE);
        }
    }
}

/// A neighbour that does one thing again and again.
trait Neighbour {
    fn act(&mut self) -> Result<(), String>;

    fn leave(&mut self) {}
}

fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}

async fn connect(dir: &Path, target: &str) -> Result<Client, String> {
    let config = Config::from_dir(dir).map_err(|error| error.to_string())?;
    let target = target.parse().expect("a target");
    Client::connect(&config, &target).await.map_err(|error| error.to_string())
}

async fn run_true(client: &Client) -> Result<(), String> {
    let report = client.exec("true").status().await.map_err(|error| error.to_string())?;
    let ended_well = report.outcome == Outcome::Exited && report.code == Some(0);
    if ended_well { Ok(()) } else { Err(format!("{report:?}")) }
}

/// Commands one after the other on one connection.
struct Commands {
    runtime: Runtime,
    client: Option<Client>,
}

impl Commands {
    fn new(dir: &Path, target: &str) -> Self {
        let runtime = runtime();
        let client = runtime.block_on(connect(dir, target)).expect("a connection");
        Self { runtime, client: Some(client) }
    }
}

impl Neighbour for Commands {
    fn act(&mut self) -> Result<(), String> {
        let client = self.client.as_ref().expect("it has not left");
        self.runtime.block_on(run_true(client))
    }

    fn leave(&mut self) {
        if let Some(client) = self.client.take() {
            self.runtime.block_on(client.close());
        }
    }
}

/// A connection for each command.
struct Connections {
    runtime: Runtime,
    dir: PathBuf,
    target: String,
}

impl Connections {
    fn new(dir: PathBuf, target: String) -> Self {
        Self { runtime: runtime(), dir, target }
    }
}

impl Neighbour for Connections {
    fn act(&mut self) -> Result<(), String> {
        self.runtime.block_on(async {
            let client = connect(&self.dir, &self.target).await?;
            let ran = run_true(&client).await;
            client.close().await;
            ran
        })
    }
}

/// A few bytes that come back, as from a terminal.
struct Keystrokes(Option<Echo>);

impl Neighbour for Keystrokes {
    fn act(&mut self) -> Result<(), String> {
        // It panics when they do not, which ends this neighbour as one that failed.
        self.0.as_mut().expect("it has not left").beat();
        Ok(())
    }

    fn leave(&mut self) {
        if let Some(echo) = self.0.take() {
            let mut peer = echo.end();
            let _ = peer.close();
            peer.expect_closed();
        }
    }
}
