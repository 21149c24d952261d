//! The cost of one more connection, command or byte, from the first to the ten thousandth.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use rcmd_client::{Child, Client, Outcome, Stdio};
use rustix::process::{Resource, getrlimit};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::shake::Dialler;
use crate::bench::stage::{Stage, connect, one_thread};
use crate::bench::table::{Goal::AtMost, Series, Table, figure};
use crate::{World, skip};

/// The last cost is at most this many times the one at [`FROM`]: linear, with room for noise.
const LINEAR: f64 = 1.3;
/// The number from which on the cost of what all share is small beside the cost of each.
const FROM: usize = 100;
/// The number of starts at once.
const AT_ONCE: usize = 32;
/// The limit on descriptors for 10,000 commands at six each, for which half of the limit may be
/// used.
const DESCRIPTORS: u64 = 140_000;
/// The settings for connections. Commands take descriptors from connections, so each of both has a
/// server that leaves it most of them.
const CONNECTIONS: &str =
    "[limits]\nrunning = 64\nconnections = 11000\n[limits.peer]\nconnections = 11000";
const COMMANDS: &str = "[limits]\nrunning = 10100\nchannels = 11000\n\
                        [limits.peer]\nrunning = 10100\nchannels = 11000";

pub(crate) fn run(stage: &Stage) -> Result<Vec<Table>> {
    let steps: &[usize] =
        if stage.options.quick { &[1, 10, 100] } else { &[1, 10, 100, 1000, 10_000] };
    let runtime = one_thread()?;
    let mut tables = connections(steps, &runtime)?;
    tables.extend(commands(steps, &runtime)?);
    tables.push(bytes(stage, &runtime)?);
    Ok(tables)
}

/// Starts a world and returns it, with whether the server's limit on descriptors was raised to
/// [`DESCRIPTORS`]. Where this user may not raise it, the limit is left as it is.
fn roomy(config: &str) -> Result<(World, bool)> {
    let builder = World::builder().own_group().config("keepalive = \"1h\"").config(config);
    match skip::need_root() {
        Ok(()) => {
            let raised = builder.clone().limit("nofile", DESCRIPTORS).try_start();
            raised.map(|world| (world, true)).or_else(|_| Ok((builder.try_start()?, false)))
        }
        Err(_) => Ok((builder.try_start()?, false)),
    }
}

/// The cost of each at every step, and whether it stays the same.
struct Growth {
    title: &'static str,
    unit: &'static str,
    series: Vec<(usize, Series)>,
}

impl Growth {
    fn new(title: &'static str, unit: &'static str) -> Self {
        Self { title, unit, series: Vec::new() }
    }

    fn note(&mut self, count: usize, each: f64) {
        self.series.push((count, Series::single(&counted(count as f64), each)));
    }

    fn table(self) -> Table {
        let first = self.series.iter().find(|(count, _)| *count >= FROM);
        let pair = first.zip(self.series.last()).filter(|(first, last)| first.0 < last.0);
        let names = pair.map(|(first, last)| (last.1.name.clone(), first.1.name.clone()));
        let series = self.series.into_iter().map(|(_, series)| series).collect();
        let mut table = Table::new("growth", self.title, self.unit).with(series);
        if let Some((last, first)) = names {
            table.ratio(&last, &first, Some(AtMost(LINEAR)));
        }
        table
    }
}

/// Formats a whole number, thousands set apart.
fn counted(count: f64) -> String {
    if count < 100.0 { count.to_string() } else { figure(count) }
}

fn connections(steps: &[usize], runtime: &Runtime) -> Result<Vec<Table>> {
    let (world, _) = roomy(CONNECTIONS)?;
    drop(world.settled_snapshot());
    let dialler = Dialler::to(&world)?;
    let mut time = Growth::new("connections open at once, time to open each", "ms each");
    let mut memory = Growth::new("connections open at once, the server's memory", "KiB each");
    let (before, mut open) = (world.resident_kib(), Vec::new());
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let mut left_out = Vec::new();
    for &goal in steps {
        if descriptors < goal as u64 + 1000 {
            left_out.push(format!("{goal} connections: the limit of descriptors is {descriptors}"));
            continue;
        }
        let (had, began) = (open.len(), Instant::now());
        runtime.block_on(dialler.dial_up_to(goal, &mut open))?;
        time.note(goal, began.elapsed().as_secs_f64() * 1e3 / (goal - had) as f64);
        memory.note(goal, world.resident_kib().saturating_sub(before) as f64 / goal as f64);
    }
    ensure!(world.open_connections() >= open.len(), "the server closed idle connections");
    let mut tables = vec![time.table(), memory.table()];
    tables[0].notes = left_out;
    Ok(tables)
}

fn commands(steps: &[usize], runtime: &Runtime) -> Result<Vec<Table>> {
    let (world, raised) = roomy(COMMANDS)?;
    drop(world.settled_snapshot());
    let mut start = Growth::new("commands that run at once, time to start each", "ms each");
    let mut memory = Growth::new("commands that run at once, the server's memory", "KiB each");
    let mut end = Growth::new("commands that ran at once, time to end each", "ms each");
    let client = runtime.block_on(connect(world.dir(), &world.target()))?;
    let before = world.resident_kib();
    let mut left_out = Vec::new();
    for &goal in steps {
        // Unraised, a usual limit on descriptors bears a thousand.
        if !raised && goal > 1000 {
            left_out.push(format!("{goal} commands: the limit of descriptors can't be raised"));
            continue;
        }
        let began = Instant::now();
        let running = runtime.block_on(started(&client, goal))?;
        start.note(goal, began.elapsed().as_secs_f64() * 1e3 / goal as f64);
        memory.note(goal, world.resident_kib().saturating_sub(before) as f64 / goal as f64);
        let began = Instant::now();
        runtime.block_on(ended(running))?;
        end.note(goal, began.elapsed().as_secs_f64() * 1e3 / goal as f64);
    }
    runtime.block_on(client.close());
    let mut tables = vec![start.table(), memory.table(), end.table()];
    tables[0].notes = left_out;
    Ok(tables)
}

/// Starts `count` commands that wait for the end of their input.
async fn started(client: &Client, count: usize) -> Result<Vec<Child>> {
    let mut running = Vec::new();
    while running.len() < count {
        let from = running.len();
        for _ in 0..AT_ONCE.min(count - from) {
            running.push(client.exec("cat").stdin(Stdio::Piped).spawn().await?);
        }
        for child in &mut running[from..] {
            child.started().await.context("a command does not start")?;
        }
    }
    Ok(running)
}

async fn ended(running: Vec<Child>) -> Result<()> {
    let mut ends = JoinSet::new();
    for mut child in running {
        ends.spawn(async move {
            drop(child.stdin.take());
            drop((child.stdout.take(), child.stderr.take()));
            child.wait().await
        });
    }
    while let Some(report) = ends.join_next().await {
        let report = report?;
        ensure!(report.outcome == Outcome::Exited, "it ended: {report:?}");
    }
    Ok(())
}

/// Measures the time for the output of one command, by its bytes and by how often it is measured.
fn bytes(stage: &Stage, runtime: &Runtime) -> Result<Table> {
    let sizes: &[(u64, usize)] = match stage.options.quick {
        true => &[(1, 16), (64, 2)],
        false => &[(1, 64), (16, 32), (256, 5), (4096, 1)],
    };
    let client = stage.connect(runtime)?;
    let mut table = Table::new("growth", "bytes of output, time for each GiB", "s/GiB");
    for &(mib, times) in sizes {
        let began = Instant::now();
        for _ in 0..times {
            runtime.block_on(streamed(&client, mib << 20))?;
        }
        let gib = (mib * times as u64) as f64 / 1024.0;
        let name = format!("{} MiB", counted(mib as f64));
        table.series.push(Series::single(&name, began.elapsed().as_secs_f64() / gib));
    }
    runtime.block_on(client.close());
    table.ratio("4,096 MiB", "16 MiB", Some(AtMost(LINEAR)));
    Ok(table)
}

async fn streamed(client: &Client, bytes: u64) -> Result<()> {
    let mut head = client.exec("head");
    let mut child = head.args(["-c", &bytes.to_string(), "/dev/zero"]).spawn().await?;
    let mut stdout = child.stdout.take().context("no stdout")?;
    let mut left = bytes;
    while let Some(chunk) = stdout.chunk().await {
        left = left.saturating_sub(chunk.bytes.len() as u64);
    }
    let report = child.wait().await;
    ensure!(left == 0 && report.code == Some(0), "{left} bytes are missing: {report:?}");
    Ok(())
}
