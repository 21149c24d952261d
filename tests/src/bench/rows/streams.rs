//! Many commands that stream at once on many connections: what that holds in memory, how evenly they
//! are served, and that nothing is lost.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use rcmd_client::{Child, Client, Outcome, Stdio};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::World;
use crate::bench::stage::{Stage, connect, one_thread};
use crate::bench::table::{Goal::AtMost, Series, Table};
use crate::proc;

/// Each waits for a line, so that all are there before the first byte of the first one.
const LINE: &str = "read go; exec head -c";
/// Room for all of them at once, also within one identity.
const ROOM: &str = "[limits]\nrunning = 1100\nchannels = 2200\n\
                    [limits.peer]\nrunning = 1100\nchannels = 2200";
/// What the server may hold: its budget for all clients, what it always grants each of 2,000 streams,
/// and itself.
const SERVER_MIB: f64 = 256.0 + 2000.0 / 16.0 + 64.0;

pub(crate) fn run(stage: &Stage) -> Result<Vec<Table>> {
    let size = Size {
        connections: stage.options.count(100, 10),
        each: stage.options.count(10, 5),
        bytes: (stage.options.count(4, 1) as u64) << 20,
    };
    let world =
        World::builder().own_group().config("keepalive = \"1h\"").config(ROOM).try_start()?;
    let runtime = one_thread()?;
    let mut figures = [const { Vec::new() }; 4];
    for _ in 0..stage.options.rounds().min(3) {
        for (series, value) in figures.iter_mut().zip(once(&world, &runtime, size)?) {
            series.push(value);
        }
    }
    let [rate, uneven, server, client] = figures;
    let Size { connections, each, bytes } = size;
    let commands = connections * each;
    let title = format!(
        "{commands} commands on {connections} connections, {} MiB each, all digests right",
        bytes >> 20
    );
    let one = |name: &str, values| Series { name: name.to_owned(), values };
    let mut often = Table::new("streams", title.clone(), "MB/s");
    often.series.push(one("all together", rate));
    let mut memory = Table::new("streams", format!("{title}: peak of resident memory"), "MiB")
        .with(vec![one("rcmd-server", server), one("the library's program", client)]);
    let peak = memory.series[0].median();
    memory.add_ratio("rcmd-server, MiB".to_owned(), peak, Some(AtMost(SERVER_MIB)));
    let mut fair = Table::new("streams", format!("{title}: how evenly"), "ratio");
    fair.series.push(one("time of the last / time of the first", uneven));
    let ratio = fair.series[0].median();
    fair.add_ratio("last / first".to_owned(), ratio, Some(AtMost(2.0)));
    Ok(vec![often, memory, fair])
}

#[derive(Clone, Copy)]
struct Size {
    connections: usize,
    /// Commands of a connection.
    each: usize,
    /// Output of a command.
    bytes: u64,
}

/// MB a second, the time of the last to that of the first, and the peaks of both ends' memory in MiB.
fn once(world: &World, runtime: &Runtime, size: Size) -> Result<[f64; 4]> {
    let commands = size.connections * size.each;
    let own = std::process::id();
    ensure!(proc::forget_peak(world.pid()) && proc::forget_peak(own), "a peak can't be forgotten");
    let digest = format!("blake3:{}", zeros(size.bytes));
    let took = runtime.block_on(async {
        let mut clients = Vec::new();
        for _ in 0..size.connections {
            clients.push(connect(world.dir(), &world.target()).await?);
        }
        let mut children = Vec::new();
        for number in 0..commands {
            children.push(prepared(&clients[number % size.connections], size.bytes).await?);
        }
        for child in &mut children {
            child.started().await.context("a command does not start")?;
        }
        for child in &mut children {
            let mut stdin = child.stdin.take().context("no stdin")?;
            stdin.send(Bytes::from_static(b"\n")).await?;
            stdin.finish().await;
        }
        let began = Instant::now();
        let mut readers = JoinSet::new();
        for child in children {
            readers.spawn(read(child, size.bytes, digest.clone()));
        }
        let mut took = Vec::new();
        while let Some(read) = readers.join_next().await {
            read??;
            took.push(began.elapsed().as_secs_f64());
        }
        for client in clients {
            client.close().await;
        }
        anyhow::Ok(took)
    })?;
    let (first, last) = took.first().zip(took.last()).context("nothing ran")?;
    let peak = |pid| proc::peak_kib(pid).context("no peak").map(|kib| kib as f64 / 1024.0);
    let rate = commands as f64 * size.bytes as f64 / last / 1e6;
    Ok([rate, last / first, peak(world.pid())?, peak(own)?])
}

async fn prepared(client: &Client, bytes: u64) -> Result<Child> {
    let mut command = client.exec("/bin/sh");
    command.args(["-c", &format!("{LINE} {bytes} /dev/zero")]).stdin(Stdio::Piped);
    Ok(command.spawn().await?)
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

/// The digest of so many zeros, a multiple of 1 MiB.
fn zeros(bytes: u64) -> String {
    let piece = vec![0; 1 << 20];
    let mut hasher = blake3::Hasher::new();
    for _ in 0..bytes >> 20 {
        hasher.update(&piece);
    }
    hasher.finalize().to_hex().to_string()
}
