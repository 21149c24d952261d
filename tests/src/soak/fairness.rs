//! A peer at its limits beside one that is not: how much slower the slowest of the other's commands
//! are.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rcmd_client::{Client, Config, ErrorKind, Outcome};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::pki::{Authority, Leaf};
use crate::{World, eventually};

/// Commands that the crowd wants to run at once: more than it may have running and waiting.
const CROWD: usize = 64;
/// Commands of the other one that are timed before the crowd comes or goes.
const BATCH: usize = 100;

/// How the crowd takes it that it is told to come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manners {
    /// It does, when it was told to.
    Patient,
    /// It comes again at once.
    Impatient,
}

/// What came of all rounds.
#[derive(Debug)]
pub struct Figures {
    /// How the crowd behaved.
    pub manners: Manners,
    /// Commands of the crowd that ran.
    pub ran: u64,
    /// Answers `busy` that the crowd's callers saw.
    pub busy: u64,
    /// The 50th and 99th percentile of the other's commands, alone.
    pub alone: [Duration; 2],
    /// The same beside the crowd.
    pub beside: [Duration; 2],
}

impl Figures {
    /// How many times as long the slowest hundredth takes beside the crowd.
    #[must_use]
    pub fn slowdown(&self) -> f64 {
        self.beside[1].as_secs_f64() / self.alone[1].as_secs_f64()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { manners, ran, busy, alone, beside } = self;
        write!(f, "{manners:?} crowd: {ran} ran, {busy} busy; p50 {:.2?} alone, ", alone[0])?;
        write!(f, "{:.2?} beside it; p99 {:.2?} alone, ", beside[0], alone[1])?;
        write!(f, "{:.2?} beside it: {:.2} times as long", beside[1], self.slowdown())
    }
}

/// Times so many batches of commands alone, and as many beside a crowd at its limits, in turn.
///
/// # Panics
///
/// When a command fails otherwise than by being turned away.
#[must_use]
pub fn run(batches: u64, manners: Manners) -> Figures {
    let limits = ["[limits]", "running = 8", "peer = { running = 4, queued = 16 }"];
    let world = limits.iter().fold(World::builder(), |world, line| world.config(line)).start();
    let other = other(&world);
    let crowd = Crowd::gather(world.dir(), world.target(), manners);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let client = runtime.block_on(connect(&other, &world.target()));
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    runtime.block_on(batch(&client));
    for _ in 0..batches {
        crowd.calm();
        alone.extend(runtime.block_on(batch(&client)));
        crowd.crush();
        beside.extend(runtime.block_on(batch(&client)));
    }
    runtime.block_on(client.close());
    let (ran, busy) = crowd.disperse();
    Figures { manners, ran, busy, alone: percentiles(alone), beside: percentiles(beside) }
}

/// The folder of an identity of its own.
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

/// What the crowd does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Calm,
    Crush,
    Over,
}

/// Many who want to run commands under one identity, on a thread of their own.
struct Crowd {
    phase: watch::Sender<Phase>,
    /// Commands under way.
    under_way: Arc<AtomicU64>,
    thread: thread::JoinHandle<(u64, u64)>,
}

impl Crowd {
    fn gather(dir: &Path, target: String, manners: Manners) -> Self {
        let (phase, seen) = watch::channel(Phase::Calm);
        let under_way = Arc::<AtomicU64>::default();
        let (dir, way) = (dir.to_owned(), Arc::clone(&under_way));
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let client = connect(&dir, &target).await;
                let mut members = JoinSet::new();
                for _ in 0..CROWD {
                    members.spawn(press(client.clone(), seen.clone(), Arc::clone(&way), manners));
                }
                let counts = members.join_all().await;
                client.close().await;
                counts.iter().fold((0, 0), |(ran, busy), of| (ran + of.0, busy + of.1))
            })
        });
        Self { phase, under_way, thread }
    }

    fn calm(&self) {
        self.phase.send_replace(Phase::Calm);
        eventually("the crowd is calm", || self.under_way.load(Ordering::SeqCst) == 0);
    }

    fn crush(&self) {
        self.phase.send_replace(Phase::Crush);
        let many = CROWD as u64 / 2;
        eventually("a crush", || self.under_way.load(Ordering::SeqCst) >= many);
    }

    fn disperse(self) -> (u64, u64) {
        self.phase.send_replace(Phase::Over);
        self.thread.join().expect("the crowd goes home")
    }
}

/// One of the crowd: how many of its commands ran, and how many were turned away.
async fn press(
    client: Client,
    mut phase: watch::Receiver<Phase>,
    way: Arc<AtomicU64>,
    manners: Manners,
) -> (u64, u64) {
    let patience = Duration::from_secs(if manners == Manners::Patient { 3600 } else { 0 });
    let (mut ran, mut busy) = (0, 0);
    loop {
        let now = phase.wait_for(|phase| *phase != Phase::Calm).await.map(|phase| *phase);
        if now.is_err() || matches!(now, Ok(Phase::Over)) {
            return (ran, busy);
        }
        way.fetch_add(1, Ordering::SeqCst);
        let mut command = client.exec("sleep");
        let report = command.arg("0.1").busy_wait(patience).status().await;
        way.fetch_sub(1, Ordering::SeqCst);
        match report.expect("a command that can be sent").error {
            None => ran += 1,
            Some(error) if error.kind == ErrorKind::Busy => busy += 1,
            Some(error) => panic!("{error}"),
        }
    }
}
