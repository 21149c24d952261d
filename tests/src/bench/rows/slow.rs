//! Text over a link of 10 Mbit/s, with and without compression.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use anyhow::Result;

use crate::bench::measure::{Race, quiet, timed};
use crate::bench::stage::Stage;
use crate::bench::table::Table;
use crate::binaries::try_binaries;
use crate::{Proxy, Random};

/// Bytes a second in each direction of a connection: 10 Mbit/s.
const RATE: u64 = 1_250_000;
const RCMD: &str = "rcmd-client";
const COMPRESSED: &str = "rcmd-client --compress";
const SSH: &str = "ssh";
const COMPRESSED_SSH: &str = "ssh -C";

pub(crate) fn run(stage: &Stage) -> Result<Vec<Table>> {
    let bytes = stage.options.count(4 << 20, 256 << 10);
    let file = stage.world().scratch("log");
    fs::write(&file, log(bytes))?;
    let line = format!("cat {}", file.display());
    let slowed = |address| {
        let proxy = Proxy::to(address);
        proxy.throttle(Some(RATE));
        proxy
    };
    let mut contestants: Vec<(&str, Command)> = Vec::new();
    let link = slowed(stage.world().address());
    for (name, options) in
        [(RCMD, ["--shell"].as_slice()), (COMPRESSED, &["--shell", "--compress"])]
    {
        let mut command = quiet(&try_binaries()?.client);
        command.arg("--dir").arg(stage.world().dir()).args(options);
        command.args([&link.target(), &line]);
        contestants.push((name, command));
    }
    let mut links = vec![link];
    if let Some(openssh) = stage.openssh() {
        let link = slowed(SocketAddr::from((Ipv4Addr::LOCALHOST, openssh.port())));
        for (name, options) in [(SSH, [].as_slice()), (COMPRESSED_SSH, &["-C"])] {
            let mut command = openssh.by_way_of(link.address().port(), options);
            command.arg(&line);
            contestants.push((name, command));
        }
        links.push(link);
    }
    let mut race = Race::new();
    for (name, mut command) in contestants {
        race.add(name, move || Ok([timed(&mut command)?.as_secs_f64()]));
    }
    let ([series], failures) = race.run(stage.options.rounds().min(3));
    drop(links);
    let title = format!("`cat` of {} KiB of a log over 10 Mbit/s, start to end", bytes >> 10);
    let mut table = Table::new("slow-link", title, "s").with(series);
    table.ratio(RCMD, SSH, None);
    table.ratio(COMPRESSED, RCMD, None);
    table.ratio(COMPRESSED_SSH, SSH, None);
    table.ratio(COMPRESSED, COMPRESSED_SSH, None);
    table.failures = failures;
    Ok(vec![table])
}

/// Returns `bytes` bytes of text as a busy service logs it, the same each time.
fn log(bytes: usize) -> String {
    const LEVELS: [&str; 4] = ["INFO", "INFO", "DEBUG", "WARN"];
    const EVENTS: [&str; 5] = [
        "request served",
        "cache entry refreshed",
        "connection closed by its peer",
        "query took longer than expected",
        "retrying after a timeout",
    ];
    let (mut random, mut text) = (Random::new(7263), String::with_capacity(bytes + 200));
    let mut milliseconds = 0;
    while text.len() < bytes {
        milliseconds += random.below(50);
        let (second, rest) = (milliseconds / 1000, milliseconds % 1000);
        let _ = writeln!(
            text,
            "2026-01-01T{:02}:{:02}:{:02}.{rest:03}Z {} worker-{} {} id={:016x} took={}us",
            second / 3600 % 24,
            second / 60 % 60,
            second % 60,
            random.choose(&LEVELS),
            random.below(16),
            random.choose(&EVENTS),
            random.next_u64(),
            random.below(90_000),
        );
    }
    text.truncate(bytes);
    text
}
