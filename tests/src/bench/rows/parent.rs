//! A comparison of the rates at which an empty server and one that holds much start commands.
//!
//! The full server holds output that nobody has acknowledged: the commands have ended, and their
//! client never says how far it has got.

use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::process::Command;

use crate::bench::bed::{Bed, plain, ways};
use crate::bench::measure::Race;
use crate::bench::rate::rate;
use crate::bench::stage::Stage;
use crate::bench::table::{Goal::AtMost, Table};
use crate::pki::{Authority, Leaf};
use crate::raw::{Dial, RawPeer, Start, hello};

/// The memory that the full server is to hold, in MiB.
const HELD_MIB: u64 = 500;
/// The output of one command, in bytes. Past its budget for all clients the server still takes so
/// much of each: the 256 KiB that it always grants a stream, and 64 KiB that an ended process left
/// in its pipe.
const EACH: &str = "327680";
/// The number of ends that one identity leaves; the server keeps 1,024 of each identity.
const ENDS: u64 = 992;
/// The most identities that are used to fill the server.
const MOST: u64 = 10;
const AT_ONCE: usize = 32;

pub(crate) fn run(stage: &Stage) -> Result<Vec<Table>> {
    let (count, forks) = (stage.options.count(300, 60), stage.options.count(100, 20));
    let (ways, notes) = ways();
    let mut beds = Vec::new();
    for &way in &ways {
        let (empty, full) = (Bed::spawning(way, "")?, Bed::spawning(way, "")?);
        let peers = fill(&full).with_context(|| format!("spawn = \"{way}\""))?;
        beds.push((way, empty, full, peers));
    }
    // Forked, not spawned: a child that is to change its user is.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut race = Race::new();
    for (way, empty, full, _) in &beds {
        race.add(&name(way, false), || empty.commands(1, count, plain));
        race.add(&name(way, true), || full.commands(1, count, plain));
    }
    race.add(&name(FORK, false), || rate(&runtime, 1, forks, forked));
    race.add(&name(FORK, true), || {
        let ballast = vec![1_u8; usize::try_from(HELD_MIB << 20)?];
        let rate = rate(&runtime, 1, forks, forked);
        std::hint::black_box(ballast);
        rate
    });
    let ([rates, medians, _], failures) = race.run(stage.options.rounds().min(3));

    let mut often = Table::new("big-parent", TITLE, "commands/s").with(rates);
    let mut long = Table::new("big-parent", format!("{TITLE}, one command"), "ms").with(medians);
    for way in ways.iter().chain([&FORK]) {
        let goal = (*way != FORK).then_some(AtMost(1.2));
        often.ratio(&name(way, false), &name(way, true), goal);
        long.ratio(&name(way, true), &name(way, false), goal);
    }
    often.failures = failures;
    often.notes = notes;
    Ok(vec![often, long])
}

const TITLE: &str =
    "`sh -c true`, 1 at once, from a server that holds 500 MiB and from an empty one";
const FORK: &str = "fork and exec in this program";
fn name(way: &str, full: bool) -> String {
    let held = if full { "500 MiB" } else { "empty" };
    if way == FORK { format!("{way}, {held}") } else { format!("spawn = \"{way}\", {held}") }
}

/// Lets the server hold it, and gives the clients because of which it does.
fn fill(bed: &Bed) -> Result<Vec<RawPeer>> {
    let authority = Authority::of(bed.world().dir());
    let folder = bed.world().scratch("holders");
    let held = || bed.world().resident_kib();
    let mut peers = Vec::new();
    for number in 0..MOST {
        let uris = [&format!("rcmd://user/holder-{number}"), "rcmd://group/admin"];
        authority.issue(&Leaf::client_uris(&uris)).write(&folder);
        let mut peer = Dial::to(bed.world()).identity(&folder).connect()?;
        peer.send(&hello())?;
        peer.expect_frame("hello");
        for from in (1..=ENDS).step_by(AT_ONCE) {
            for ch in from..from + AT_ONCE as u64 {
                peer.send(&Start::exec(ch, &["head", "-c", EACH, "/dev/zero"]).frame())?;
            }
            for _ in 0..AT_ONCE {
                let (exit, _) = peer.expect_frame("exit");
                ensure!(exit["outcome"] == "exited", "it ended: {exit}");
            }
            if held() >= HELD_MIB << 10 {
                peers.push(peer);
                return Ok(peers);
            }
        }
        peers.push(peer);
    }
    bail!("all that was tried left {} KiB", held())
}

#[expect(clippy::disallowed_methods, reason = "the fork is what is measured")]
async fn forked() -> Result<()> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "true"]).uid(rustix::process::geteuid().as_raw());
    command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    let status = command.status().await?;
    ensure!(status.success(), "{status}");
    Ok(())
}
