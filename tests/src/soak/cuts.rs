//! Random cuts of the link under 20 MB of output and of input: each round's bytes are whole or its
//! end is an honest `unknown`, and nothing is ever started twice.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Judged;
use crate::proc::{self, Snapshot};
use crate::sink::Sink;
use crate::wait::{DEADLINE, poll_for};
use crate::{Fault, Finished, Plan, Proxy, Random, RunningClient, Tally, World};

/// Bytes of a round, in each direction that it uses.
const SIZE: u64 = 20_000_000;
/// Bytes that may lie between the command and who reads the client's output: the credit, and pipes
/// and queues on the way. A strike before the last so many falls into the middle of things.
const UNDER_WAY: u64 = 4 << 20;
/// Rounds that go on beside each other, each with a server of its own.
const WORKERS: u64 = 6;
/// Bytes that a handshake, the hellos and a start take in a direction, about.
const OPENING: u64 = 6000;
/// The grace of the servers that hear of a silence soon. In [`OUTAGE`], which is longer, nobody can
/// resume there.
const GRACE: Duration = Duration::from_secs(4);
const OUTAGE: Duration = Duration::from_secs(7);

/// The figures of all rounds.
#[derive(Debug, Default)]
pub struct Figures {
    /// Commands that were run under cuts.
    pub rounds: u64,
    /// Connections that were made for them.
    pub connections: u64,
    /// The rounds that ended as they should, the connection having been made anew at least once.
    pub resumed: u64,
    /// The rounds that ended as they should before a cut hit them.
    pub unhurt: u64,
    /// The rounds that honestly ended as unknown: 255.
    pub unknown: u64,
    /// The rounds whose command the server killed after the grace, as was reported.
    pub killed: u64,
    /// The rounds in which nothing ran, as was reported: 125.
    pub not_started: u64,
    /// Descriptions of what must not be; empty when all is well.
    pub wrong: Vec<String>,
    /// Processes that were left over.
    pub leftover: usize,
    /// The time from the first round to the last.
    pub elapsed: Duration,
}

impl Figures {
    fn add(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.connections += other.connections;
        self.resumed += other.resumed;
        self.unhurt += other.unhurt;
        self.unknown += other.unknown;
        self.killed += other.killed;
        self.not_started += other.not_started;
        self.wrong.extend(other.wrong);
        self.leftover += other.leftover;
    }
}

impl Judged for Figures {
    /// Returns whether all rounds were as they must be.
    fn are_good(&self) -> bool {
        self.wrong.is_empty() && self.leftover == 0
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rounds, connections, resumed, unhurt, unknown, killed, not_started, .. } = self;
        writeln!(f, "rounds {rounds}, connections {connections}")?;
        writeln!(
            f,
            "resumed {resumed}, unhurt {unhurt}, unknown {unknown}, killed after the grace {killed}, \
             not started {not_started}"
        )?;
        write!(f, "wrong {}, leftover {}", self.wrong.len(), self.leftover)?;
        write!(f, ", {:.1} s", self.elapsed.as_secs_f32())?;
        self.wrong.iter().try_for_each(|wrong| write!(f, "\n{wrong}"))
    }
}

/// Runs so many rounds; the same `seed` breaks the same links at the same places.
///
/// # Panics
///
/// When a server can't be started, or keeps something that it did not have before.
#[must_use]
pub fn run(rounds: u64, seed: u64) -> Figures {
    let began = Instant::now();
    let (next, all) = (AtomicU64::new(0), Mutex::new(Figures::default()));
    std::thread::scope(|scope| {
        for worker in 0..WORKERS.min(rounds) {
            let (next, all) = (&next, &all);
            scope.spawn(move || {
                let mut bench = Bench::new(worker % 2 == 0);
                loop {
                    let round = next.fetch_add(1, Ordering::SeqCst);
                    if round >= rounds {
                        break;
                    }
                    bench.round(round, &mut Random::new(seed ^ (round << 20)));
                }
                let figures = bench.finish();
                all.lock().unwrap_or_else(std::sync::PoisonError::into_inner).add(figures);
            });
        }
    });
    let mut figures = all.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    figures.elapsed = began.elapsed();
    figures
}

/// An event that befalls a round while its output is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strike {
    Cut(Fault),
    /// A time longer than the grace in which nothing gets through, on any connection.
    Outage,
    /// The server is killed and started again.
    Restart,
}

/// All that befalls a round.
#[derive(Debug)]
struct Fate {
    echo: bool,
    keyed: bool,
    /// The plans of the first connections; later ones are honest.
    plans: Vec<Plan>,
    /// The strikes, each with the number of bytes of output after which it comes, in rising order.
    strikes: Vec<(u64, Strike)>,
}

impl Fate {
    fn random(random: &mut Random, alert: bool) -> Self {
        let brief = Fault::Silence(Some(Duration::from_millis(300)));
        let faults = [Fault::Reset, Fault::Fin, brief, Fault::Silence(None)];
        let mut plans = Vec::new();
        if random.below(3) == 0 {
            let below = *random.choose(&[OPENING, SIZE]);
            plans.push(Plan::random(random, below, &faults));
        }
        let mut strikes = Vec::new();
        for _ in 0..random.below(3) + u64::from(plans.is_empty()) {
            let strike = match random.below(20) {
                0 => Strike::Restart,
                1 if alert => Strike::Outage,
                _ => Strike::Cut(*random.choose(&faults)),
            };
            strikes.push((1 + random.below(SIZE - UNDER_WAY), strike));
        }
        strikes.sort_by_key(|&(at, _)| at);
        if random.below(4) == 0 {
            // The connection that is to heal it breaks as well.
            plans.resize(1, Plan::HONEST);
            plans.push(Plan::random(random, OPENING, &[Fault::Reset, Fault::Fin]));
        }
        Self { echo: random.below(5) < 2, keyed: random.below(4) == 0, plans, strikes }
    }

    /// Returns whether nothing may keep it from being resumed: its server lived, and was known by its hello
    /// before anything broke.
    fn must_heal(&self) -> bool {
        let opening = self.plans.first().and_then(|plan| plan.after);
        opening.is_none_or(|(_, at, _)| at > 2 * OPENING)
            && self.strikes.iter().all(|(_, strike)| matches!(strike, Strike::Cut(_)))
    }
}

/// A server, the link to it, and what its rounds came to.
struct Bench {
    world: World,
    proxy: Proxy,
    /// True if both sides ping often, so that a silence is found by keepalive. Else the client
    /// finds it by itself after 3 s and makes a second connection beside the first.
    alert: bool,
    before: Snapshot,
    file: PathBuf,
    tally: Tally,
    /// The number of each round, the file in which its command notes its start, and how many notes
    /// may be there.
    starts: Vec<(u64, PathBuf, std::ops::RangeInclusive<usize>)>,
    figures: Figures,
}

impl Bench {
    fn new(alert: bool) -> Self {
        let builder = if alert {
            let grace = format!("grace = \"{}s\"", GRACE.as_secs());
            World::builder().config(&grace).config("keepalive = \"400ms\"")
        } else {
            World::builder()
        };
        let world = builder.start();
        let file = world.scratch("bytes");
        let mut bytes = fs::File::create(&file).expect("a file in the world's folder");
        io::copy(&mut content(), &mut bytes).expect("room for 20 MB");
        Self {
            before: world.settled_snapshot(),
            proxy: Proxy::to(world.address()),
            alert,
            file,
            tally: Tally::read(content()).expect("numbers"),
            starts: Vec::new(),
            figures: Figures::default(),
            world,
        }
    }

    fn round(&mut self, number: u64, random: &mut Random) {
        let fate = Fate::random(random, self.alert);
        let connections = self.proxy.connections();
        let plans = fate.plans.clone();
        self.proxy.plan(move |n| {
            let mine = usize::try_from(n - connections).unwrap_or(usize::MAX);
            plans.get(mine).copied().unwrap_or(Plan::HONEST)
        });
        let marker = format!("CUT={}-{number}", std::process::id());
        let starts = self.world.scratch(&format!("starts-{number}"));
        let note = format!("echo x >> {}; ", starts.display());
        let line = match fate.echo {
            true => format!("{note} exec cat"),
            false => format!("{note} exec cat {}", self.file.display()),
        };
        let mut client = self.world.shell(line).target(self.proxy.target()).with_result();
        client = client.option("--env").option(&marker).stdout(Sink::Pipe);
        if fate.keyed {
            client = client.option("--key").option(format!("round {number}"));
        }
        if fate.echo {
            client = client.stdin_from(content());
        }
        let mut client = client.spawn();
        let stdout = client.stdout.take().expect("a pipe");
        let (passed, strikes) = (fate.strikes.iter().map(|&(at, _)| at).collect(), sync_channel(0));
        let (restarted, done, tally) = std::thread::scope(|scope| {
            let watched = Watched { inner: stdout, read: 0, at: passed, tell: strikes.0 };
            let reading = scope.spawn(move || Tally::read(watched));
            let restarted = self.strike(&fate, &strikes.1, &mut client);
            let done = client.wait();
            (restarted, done, reading.join().expect("a reader").expect("a pipe"))
        });
        // A silent connection would be known to be gone only after three keepalives.
        self.proxy.go_on();
        self.proxy.cut(Fault::Reset);
        let connections = self.proxy.connections() - connections;
        if restarted {
            self.before = self.world.settled_snapshot();
        }
        self.figures.rounds += 1;
        self.figures.connections += connections;
        let may_start = self.judge(&fate, &done, &tally, connections > 1).unwrap_or_else(|why| {
            let story = format!("round {number}: {why}\n{fate:?}\n{}", done.story());
            self.figures.wrong.push(story);
            0..=1
        });
        self.starts.push((number, starts, may_start));
        if poll_for(DEADLINE, || proc::marked(&marker).is_empty().then_some(())).is_none() {
            let left = proc::marked(&marker);
            self.figures.leftover += left.len();
            self.figures.wrong.push(format!("round {number}: left over: {left:?}\n{fate:?}"));
            left.iter().for_each(proc::Process::kill);
        }
    }

    /// Strikes as the bytes go by. Returns whether there is another server now.
    fn strike(&mut self, fate: &Fate, passed: &Receiver<()>, client: &mut RunningClient) -> bool {
        let mut restarted = false;
        for &(_, strike) in &fate.strikes {
            // Without them, the output has ended before.
            if passed.recv().is_err() {
                break;
            }
            match strike {
                Strike::Cut(fault) => self.proxy.cut(fault),
                Strike::Outage => {
                    self.proxy.silence();
                    // Whoever gives up earlier than that is judged by what it says.
                    poll_for(OUTAGE, || (!client.runs()).then_some(()));
                    self.proxy.go_on();
                }
                Strike::Restart => {
                    self.world.kill_server();
                    self.world.start_server();
                    restarted = true;
                }
            }
        }
        restarted
    }

    /// Judges what the client said, and gives how many starts there may have been.
    fn judge(
        &mut self,
        fate: &Fate,
        done: &Finished,
        tally: &Tally,
        again: bool,
    ) -> Result<std::ops::RangeInclusive<usize>, String> {
        let Some(code) = done.status.code() else { return Err("it was killed".into()) };
        let result = done.result();
        let is = |name: &str, value: Value| match &result[name] {
            found if *found == value => Ok(()),
            found => Err(format!("{name} is {found}, not {value}")),
        };
        let outcome = result["outcome"].as_str().unwrap_or_default();
        if fate.must_heal() && outcome != "exited" {
            return Err(format!("{outcome}, although it could have been resumed: {result}"));
        }
        match (outcome, code) {
            ("exited", 0) => {
                is("error", Value::Null)?;
                is("truncated", false.into())?;
                is("output_open", false.into())?;
                is("stdout_bytes", SIZE.into())?;
                if *tally != self.tally {
                    return Err(format!("it said 0, and the output is {tally:?}: {result}"));
                }
                *if again { &mut self.figures.resumed } else { &mut self.figures.unhurt } += 1;
                Ok(1..=1)
            }
            ("unknown", 255) => {
                self.figures.unknown += 1;
                Ok(0..=1)
            }
            // The client came back when the server had killed the command, and heard so.
            ("signaled", 137) if result["error"]["kind"] == "lost" => {
                self.figures.killed += 1;
                Ok(1..=1)
            }
            ("not_started", 125) => {
                is("retry_safe", true.into())?;
                self.figures.not_started += 1;
                Ok(0..=0)
            }
            _ => Err(format!("status {code} with {result}")),
        }
    }

    /// Looks once more for what came late, and gives the server back as it was.
    fn finish(mut self) -> Figures {
        self.world.assert_settles_to(&self.before);
        for (number, file, may) in &self.starts {
            let count = fs::read_to_string(file).map_or(0, |text| text.lines().count());
            if !may.contains(&count) {
                self.figures.wrong.push(format!("round {number}: {count} starts, not {may:?}"));
            }
        }
        self.figures
    }
}

/// Returns a reader of the same bytes each time.
fn content() -> impl Read + Send + 'static {
    Read::take(Random::new(20), SIZE)
}

/// Output on its way, which says when it has come so far, and waits until that was heard.
struct Watched<R> {
    inner: R,
    read: u64,
    at: Vec<u64>,
    tell: SyncSender<()>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read += count as u64;
        while self.at.first().is_some_and(|&at| at <= self.read) {
            self.at.remove(0);
            let _ = self.tell.send(());
        }
        Ok(count)
    }
}
