//! Frames to bytes and back: one core, no socket.

use std::time::Instant;

use anyhow::{Context as _, Result};
use bytes::{Bytes, BytesMut};
use rcmd_protocol::frame::Decoder;
use rcmd_protocol::frame::{Data, Frame, Hello, Stream, Window};

use crate::bench::measure::Race;
use crate::bench::stage::Stage;
use crate::bench::table::{Goal::AtLeast, Series, Table};

/// Frames that are encoded before they are decoded; they stay in the cache.
const BATCH: u64 = 8;

pub(crate) fn run(stage: &Stage) -> Result<Vec<Table>> {
    let (large, small) = (
        stage.options.count(100_000, 5_000) as u64,
        stage.options.count(2_000_000, 100_000) as u64,
    );
    let payload = Bytes::from(vec![0; 64 * 1024]);
    let few = Bytes::from_static(b"a line of text\n");
    let mut bytes = Race::new();
    bytes.add("data of 64 KiB", || {
        let seconds = there_and_back(large, |number| data(number, payload.clone()))?;
        Ok([large as f64 * payload.len() as f64 / seconds / 1e9])
    });
    let mut frames = Race::new();
    frames.add("data of 15 bytes", || {
        Ok([small as f64 / there_and_back(small, |number| data(number, few.clone()))?])
    });
    frames.add("window", || Ok([small as f64 / there_and_back(small, window)?]));
    let rounds = stage.options.rounds();
    let ([bytes], failed) = bytes.run(rounds);
    let ([frames], failed_too) = frames.run(rounds);

    let mut large = Table::new("protocol", "frames encoded and decoded on one core", "GB/s");
    judge(&mut large, &bytes, 5.0, "GB/s");
    let mut small =
        Table::new("protocol", "small frames encoded and decoded on one core", "frames/s");
    judge(&mut small, &frames, 4e6, "frames/s");
    (large.failures, small.failures) = (failed, failed_too);
    Ok(vec![large.with(bytes), small.with(frames)])
}

fn judge(table: &mut Table, series: &[Series], goal: f64, unit: &str) {
    for one in series {
        table.add_ratio(format!("{}, {unit}", one.name), one.median(), Some(AtLeast(goal)));
    }
}

fn data(number: u64, payload: Bytes) -> Frame {
    let offset = number * payload.len() as u64;
    Frame::Data(Data { ch: 1, stream: Stream::Stdout, offset, time: None, payload })
}

fn window(number: u64) -> Frame {
    let (got, upto) = (number * 65_536, number * 65_536 + 1_048_576);
    Frame::Window(Window { ch: 1, stream: Stream::Stdout, got, upto })
}

/// Returns the seconds that it takes to encode and decode `count` frames.
fn there_and_back(count: u64, frame: impl Fn(u64) -> Frame) -> Result<f64> {
    let mut buffer = BytesMut::new();
    let mut decoder = Decoder::default();
    Frame::Hello(Hello::default()).encode(&mut buffer)?;
    decoder.decode(&mut buffer)?.context("no hello")?;
    let began = Instant::now();
    let mut decoded = 0;
    while decoded < count {
        for number in decoded..decoded + BATCH {
            frame(number).encode(&mut buffer)?;
        }
        while let Some(frame) = decoder.decode(&mut buffer)? {
            std::hint::black_box(frame);
            decoded += 1;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok(seconds * count as f64 / decoded as f64)
}
