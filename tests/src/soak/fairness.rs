//! A peer at its limits beside one that is not: how much slower the slowest of the other's commands
//! are.

pub mod neighbours;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use rcmd_client::{Client, Config, Outcome};

use self::neighbours::Neighbours;
use crate::World;
use crate::pki::{Authority, Leaf};

/// Commands that the neighbours may have running.
const RUNNING: u64 = 4;
/// Commands that they want to run at once: more than may run and wait.
const WANTED: u64 = 64;
/// Commands of the other identity that are timed before the neighbours come or go.
const BATCH: usize = 500;

/// The behaviour of neighbours that are told to come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Behaviour {
    /// The neighbours want no more than may run. What is slower beside them is slower for their
    /// commands.
    WithinLimits,
    /// The neighbours come again when they were told to.
    RetriesWhenTold,
    /// The neighbours come again at once.
    RetriesAtOnce,
}

impl Behaviour {
    /// Returns how many commands they want to run at once.
    fn wanted(self) -> u64 {
        if self == Self::WithinLimits { RUNNING } else { WANTED }
    }

    fn word(self) -> &'static str {
        match self {
            Self::WithinLimits => "within-limits",
            Self::RetriesWhenTold => "retries-when-told",
            Self::RetriesAtOnce => "retries-at-once",
        }
    }
}

/// The figures of all rounds.
#[derive(Debug)]
pub struct Figures {
    /// The behaviour of the neighbours.
    pub behaviour: Behaviour,
    /// Commands of the neighbours that ran.
    pub ran: u64,
    /// Answers `busy` that the neighbours' callers saw.
    pub busy: u64,
    /// The 50th and 99th percentile of the other's commands, alone.
    pub alone: [Duration; 2],
    /// The same beside the neighbours.
    pub beside: [Duration; 2],
}

impl Figures {
    /// Returns the ratio of the 99th percentile beside the neighbours to that of the other's
    /// commands alone.
    #[must_use]
    pub fn slowdown(&self) -> f64 {
        self.beside[1].as_secs_f64() / self.alone[1].as_secs_f64()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { behaviour, ran, busy, alone, beside } = self;
        write!(
            f,
            "{behaviour:?} neighbours: {ran} ran, {busy} busy; p50 {:.2?} alone, ",
            alone[0]
        )?;
        write!(f, "{:.2?} beside it; p99 {:.2?} alone, ", beside[0], alone[1])?;
        write!(f, "{:.2?} beside it: {:.2} times as long", beside[1], self.slowdown())
    }
}

/// Times so many batches of commands alone, and as many beside neighbours at their limits, in turn.
///
/// # Panics
///
/// When a command fails otherwise than by being turned away.
#[must_use]
pub fn run(batches: u64, behaviour: Behaviour) -> Figures {
    let limits =
        ["[limits]", "running = 8", &format!("peer = {{ running = {RUNNING}, queued = 16 }}")];
    let world = limits.iter().fold(World::builder(), |world, line| world.config(line)).start();
    let other = other(&world);
    let mut neighbours = Neighbours::start(world.dir(), &world.target(), behaviour);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let client = runtime.block_on(connect(&other, &world.target()));
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    runtime.block_on(batch(&client));
    for _ in 0..batches {
        neighbours.rest();
        alone.extend(runtime.block_on(batch(&client)));
        neighbours.load();
        beside.extend(runtime.block_on(batch(&client)));
    }
    runtime.block_on(client.close());
    let (ran, busy) = neighbours.finish();
    Figures { behaviour, ran, busy, alone: percentiles(alone), beside: percentiles(beside) }
}

/// Makes the identity of the other, and returns its folder.
fn other(world: &World) -> PathBuf {
    let folder = world.scratch("other");
    let leaf = Leaf::client_uris(&["rcmd://user/other", "rcmd://group/admin"]);
    Authority::of(world.dir()).issue(&leaf).write(&folder.join("client"));
    fs::copy(world.dir().join("ca.pem"), folder.join("ca.pem")).expect("a folder of our own");
    folder
}

async fn connect(dir: &Path, target: &str) -> Client {
    let config = Config::from_dir(dir).expect("an identity");
    Client::connect(&config, &target.parse().expect("a target")).await.expect("a connection")
}

async fn batch(client: &Client) -> Vec<Duration> {
    let mut times = Vec::with_capacity(BATCH);
    for _ in 0..BATCH {
        let began = Instant::now();
        let report = client.exec("true").status().await.expect("a command that can be sent");
        times.push(began.elapsed());
        assert_eq!(report.outcome, Outcome::Exited, "{report:?}");
    }
    times
}

fn percentiles(mut times: Vec<Duration>) -> [Duration; 2] {
    times.sort_unstable();
    [50, 99].map(|part| times[times.len() * part / 100])
}
