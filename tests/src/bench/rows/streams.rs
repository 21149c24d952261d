//! Many commands that stream at once on many connections: what that holds in memory, how evenly they
//! are served, and that nothing is lost.

mod group;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rcmd_client::{Child, Outcome};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::World;
use crate::bench::stage::{Stage, one_thread};
use crate::bench::table::{Goal::AtMost, Series, Table, median};
use crate::proc;

use group::{Group, Size};

/// The most memory that the server may hold, in MiB: its budget for all clients, a block of 64 KiB
/// for each of 2,000 streams to be read into, and itself.
const SERVER_MIB: f64 = 256.0 + 2000.0 / 16.0 + 64.0;
/// A number of bytes that no run delivers.
const ENDLESS: u64 = i64::MAX as u64;

pub(crate) fn run(stage: &Stage) -> Result<Vec<Table>> {
    let size = Size { connections: stage.options.count(100, 10), each: stage.options.count(10, 5) };
    let bytes = (stage.options.count(4, 1) as u64) << 20;
    let window = Duration::from_secs(stage.options.count(20, 2) as u64);
    let world = group::world()?;
    let runtime = one_thread()?;
    let (mut whole, mut even) = ([const { Vec::new() }; 3], [const { Vec::new() }; 5]);
    for _ in 0..stage.options.rounds().min(3) {
        let own = std::process::id();
        let forgotten = proc::forget_peak(world.pid()) && proc::forget_peak(own);
        ensure!(forgotten, "a peak can't be forgotten");
        let rate = runtime.block_on(whole_output(&world, size, bytes))?;
        for (series, value) in even.iter_mut().zip(runtime.block_on(shares(&world, size, window))?)
        {
            series.push(value);
        }
        let peak = |pid| proc::peak_kib(pid).context("no peak").map(|kib| kib as f64 / 1024.0);
        for (series, value) in whole.iter_mut().zip([rate, peak(world.pid())?, peak(own)?]) {
            series.push(value);
        }
    }
    let [rate, server, client] = whole;
    let [fewest, middle, most, ratio, between] = even;
    let title = format!("{} commands on {} connections", size.commands(), size.connections);
    let one = |name: &str, values| Series { name: name.to_owned(), values };

    let told = format!("{title}, {} MiB each, all digests right", bytes >> 20);
    let often = Table::new("streams", told, "MB/s").with(vec![one("all together", rate)]);
    let told = format!("{title}: peak of resident memory");
    let mut memory = Table::new("streams", told, "MiB")
        .with(vec![one("rcmd-server", server), one("the library's program", client)]);
    let peak = memory.series[0].median();
    memory.add_ratio("rcmd-server, MiB".to_owned(), peak, Some(AtMost(SERVER_MIB)));
    let told = format!("{title}, all without end: delivered to each within {window:?}");
    let mut fair = Table::new("streams", told, "MB").with(vec![
        one("fewest", fewest),
        one("median", middle),
        one("most", most),
    ]);
    fair.add_ratio("most / fewest".to_owned(), median(&ratio), Some(AtMost(2.0)));
    fair.add_ratio("most / fewest, by connection".to_owned(), median(&between), Some(AtMost(2.0)));
    Ok(vec![often, memory, fair])
}

/// Runs commands that write `bytes` bytes each and end. Returns the MB a second of all together.
async fn whole_output(world: &World, size: Size, bytes: u64) -> Result<f64> {
    let digest = format!("blake3:{}", zeros(bytes));
    let mut group = Group::start(world, size, bytes).await?;
    let began = Instant::now();
    group.release().await?;
    let mut readers = JoinSet::new();
    for child in group.children.drain(..) {
        readers.spawn(read(child, bytes, digest.clone()));
    }
    while let Some(read) = readers.join_next().await {
        read??;
    }
    let took = began.elapsed().as_secs_f64();
    group.finish().await;
    Ok(size.commands() as f64 * bytes as f64 / took / 1e6)
}

/// Takes all that it writes.
async fn read(mut child: Child, bytes: u64, digest: String) -> Result<()> {
    let mut stdout = child.stdout.take().context("no stdout")?;
    while stdout.chunk().await.is_some() {}
    let report = child.wait().await;
    ensure!(report.outcome == Outcome::Exited && report.code == Some(0), "it ended: {report:?}");
    ensure!(report.stdout_bytes == bytes, "{} bytes came of {bytes}", report.stdout_bytes);
    ensure!(report.stdout_digest.as_ref() == Some(&digest), "other bytes came: {report:?}");
    Ok(())
}

/// Returns the fewest, the median and the most MB that one of them delivered within a window that
/// begins when each has delivered something; then how many times the fewest the most is, also
/// between connections.
async fn shares(world: &World, size: Size, window: Duration) -> Result<[f64; 5]> {
    let mut group = Group::start(world, size, ENDLESS).await?;
    let flowing = Arc::new(Semaphore::new(0));
    let (mut readers, mut counters) = (JoinSet::new(), Vec::new());
    for child in &mut group.children {
        let mut stdout = child.stdout.take().context("no stdout")?;
        let (counter, flowing) = (Arc::new(AtomicU64::new(0)), Arc::clone(&flowing));
        counters.push(Arc::clone(&counter));
        readers.spawn(async move {
            while let Some(chunk) = stdout.chunk().await {
                let bytes = chunk.bytes.len() as u64;
                if counter.fetch_add(bytes, Ordering::Relaxed) == 0 {
                    flowing.add_permits(1);
                }
            }
        });
    }
    group.release().await?;
    let all = u32::try_from(size.commands())?;
    flowing.acquire_many(all).await?.forget();
    let now = || counters.iter().map(|bytes| bytes.load(Ordering::Relaxed)).collect::<Vec<_>>();
    let before = now();
    if timeout(window, readers.join_next()).await.is_ok() {
        bail!("output without end has ended");
    }
    let after = now();
    group.cancel().await;
    group.finish().await;

    let each: Vec<f64> =
        after.iter().zip(&before).map(|(after, before)| (after - before) as f64 / 1e6).collect();
    // The commands go round the connections.
    let sum = |connection| each.iter().skip(connection).step_by(size.connections).sum::<f64>();
    let sums: Vec<f64> = (0..size.connections).map(sum).collect();
    let (fewest, most) = ends(&each);
    let (least, largest) = ends(&sums);
    Ok([fewest, median(&each), most, most / fewest, largest / least])
}

/// Returns the least and the largest value.
fn ends(values: &[f64]) -> (f64, f64) {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    (least, values.iter().copied().fold(0.0, f64::max))
}

/// Returns the digest of so many zeros, a multiple of 1 MiB.
fn zeros(bytes: u64) -> String {
    let piece = vec![0; 1 << 20];
    let mut hasher = blake3::Hasher::new();
    for _ in 0..bytes >> 20 {
        hasher.update(&piece);
    }
    hasher.finalize().to_hex().to_string()
}
