//! A round trip on one channel, beside others that stall or stream.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use rcmd_client::{Child, Client, Stdio};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::bench::measure::{Race, milliseconds};
use crate::bench::rate::percentile;
use crate::bench::stage::{Stage, one_thread};
use crate::bench::table::{Series, Table};

const BEAT: &[u8] = b"is anybody there, and how soon does it answer?\n";
/// The longest time of a beat; one that takes longer is lost.
const LIMIT: Duration = Duration::from_secs(60);

const ALONE: &str = "alone";
const STALLED: &str = "beside a reader that stalls";
const STREAMING: &str = "beside a reader that streams";
const LOCAL: &str = "cat through local pipes";

pub(crate) fn run(stage: &Stage) -> Result<Vec<Table>> {
    let runtime = one_thread()?;
    let client = stage.connect(&runtime)?;
    let beats = stage.options.count(2000, 200);
    let mut race = Race::new();
    race.add(ALONE, || runtime.block_on(async { echoes(&client, beats).await }));
    race.add(STALLED, || {
        runtime.block_on(async {
            let mut endless = client.exec("cat").arg("/dev/zero").spawn().await?;
            endless.started().await.context("cat /dev/zero does not start")?;
            let times = echoes(&client, beats).await;
            end(endless).await;
            times
        })
    });
    race.add(STREAMING, || {
        runtime.block_on(async {
            let mut endless = client.exec("cat").arg("/dev/zero").spawn().await?;
            let mut stdout = endless.stdout.take().context("no stdout")?;
            let reading = tokio::spawn(async move { while stdout.chunk().await.is_some() {} });
            let times = echoes(&client, beats).await;
            end(endless).await;
            reading.await?;
            times
        })
    });
    race.add(LOCAL, || runtime.block_on(local_echoes(beats)));
    let ([medians, tails], failures) = race.run(stage.options.rounds());
    runtime.block_on(client.clone().close());

    let mut table = Table::new("echo", "a line through `cat` and back", "ms");
    for (median, tail) in medians.iter().zip(&tails) {
        table.series.push(median.clone());
        let name = format!("{}, p99", tail.name);
        table.series.push(Series { name, values: tail.values.clone() });
    }
    table.ratio(STALLED, ALONE, None);
    table.ratio(STREAMING, ALONE, None);
    table.failures = failures;
    Ok(vec![table])
}

async fn end(mut child: Child) {
    child.cancel();
    drop(child.stdout.take());
    child.wait().await;
}

/// Returns the median and the 99th percentile of `beats` echoes, in milliseconds.
async fn echoes(client: &Client, beats: usize) -> Result<[f64; 2]> {
    let mut cat = client.exec("cat").stdin(Stdio::Piped).spawn().await?;
    let mut stdin = cat.stdin.take().context("no stdin")?;
    let mut stdout = cat.stdout.take().context("no stdout")?;
    let mut took = Vec::new();
    for _ in 0..beats {
        let began = Instant::now();
        stdin.send(Bytes::from_static(BEAT)).await?;
        let mut left = BEAT.len();
        while left > 0 {
            let chunk = timeout(LIMIT, stdout.chunk()).await.context("no echo")?;
            left = left.saturating_sub(chunk.context("cat ended")?.bytes.len());
        }
        took.push(began.elapsed());
    }
    stdin.finish().await;
    let report = cat.wait().await;
    ensure!(report.code == Some(0), "cat ended: {report:?}");
    Ok(summary(took))
}

async fn local_echoes(beats: usize) -> Result<[f64; 2]> {
    let mut command = tokio::process::Command::new("cat");
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut cat = command.kill_on_drop(true).spawn()?;
    let mut stdin = cat.stdin.take().context("no stdin")?;
    let mut stdout = cat.stdout.take().context("no stdout")?;
    let mut took = Vec::new();
    let mut back = [0; BEAT.len()];
    for _ in 0..beats {
        let began = Instant::now();
        stdin.write_all(BEAT).await?;
        stdout.read_exact(&mut back).await?;
        took.push(began.elapsed());
    }
    drop(stdin);
    cat.wait().await?;
    Ok(summary(took))
}

fn summary(mut took: Vec<Duration>) -> [f64; 2] {
    took.sort();
    [50, 99].map(|percent| milliseconds(percentile(&took, percent)))
}
