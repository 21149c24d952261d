//! The resources that a server uses without work: at rest, and for connections that are silent.

use std::fs;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Resource, getrlimit};

use super::shake::Dialler;
use crate::World;
use crate::bench::peers::OpenSsh;
use crate::bench::stage::{Stage, new_world, one_thread};
use crate::bench::table::{Goal::AtMost, Series, Table};
use crate::proc;
use crate::wait::{DEADLINE, poll_for};

/// Connections to OpenSSH's server; each costs a process or two there and one here.
const OPENSSH: usize = 50;
const SSHD: &str = "OpenSSH's server, 50";

pub(crate) fn rest(stage: &Stage) -> Result<Vec<Table>> {
    let world = new_world()?;
    let fresh = world.resident_kib() as f64 / 1024.0;
    drop(world.settled_snapshot());
    let after = world.resident_kib() as f64 / 1024.0;
    let own = proc::anonymous_kib(world.pid()).context("no RssAnon")? as f64 / 1024.0;
    let watched = Duration::from_secs(stage.options.count(20, 2) as u64);
    let (began, before) = (Instant::now(), switches(world.pid()));
    // Nothing is to happen: that is what is measured.
    poll_for(watched, || None::<()>);
    let woken = (switches(world.pid()) - before) as f64 / began.elapsed().as_secs_f64();

    let mut memory = Table::new("rest", "a server that nobody uses, resident", "MiB").with(vec![
        Series::single("after its start", fresh),
        Series::single("after a first command", after),
        Series::single("of that, memory of its own and not of its program's file", own),
    ]);
    memory.add_ratio("after a first command, MiB".to_owned(), after, Some(AtMost(16.0)));
    let mut calm = Table::new("rest", "a server that nobody uses, awake", "times/s");
    calm.series.push(Series::single("context switches of all threads", woken));
    Ok(vec![memory, calm])
}

/// Returns the number of voluntary and involuntary context switches of all threads until now
/// (proc(5)).
fn switches(pid: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let count = threads.map(|thread| {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        let lines = status.lines().filter(|line| line.contains("ctxt_switches:"));
        lines.filter_map(|line| line.rsplit('\t').next()?.parse::<u64>().ok()).sum::<u64>()
    });
    count.sum()
}

pub(crate) fn idle(stage: &Stage) -> Result<Vec<Table>> {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let mut table = Table::new("idle", "memory of an idle, authenticated connection", "KiB each");
    // Else one identity has three quarters of what the host bears, which may be too few.
    let peer = "[limits.peer]\nconnections = 11000";
    let world = World::builder().own_group().config(peer).try_start()?;
    drop(world.settled_snapshot());
    let dialler = Dialler::to(&world)?;
    let runtime = one_thread()?;
    let before = world.resident_kib();
    let mut open = Vec::new();
    let mut names = Vec::new();
    let goals: &[usize] = if stage.options.quick { &[100] } else { &[100, 1000, 10_000] };
    for &goal in goals {
        if descriptors < goal as u64 + 200 {
            let limit = format!("rcmd-server, {goal:}: the limit of descriptors is {descriptors}");
            table.failures.push(limit);
            break;
        }
        runtime.block_on(dialler.dial_up_to(goal, &mut open))?;
        let each = (world.resident_kib() - before.min(world.resident_kib())) as f64 / goal as f64;
        let name = format!("rcmd-server, {goal}");
        table.series.push(Series::single(&name, each));
        if goal >= 1000 {
            table.add_ratio(format!("{name}, KiB"), each, Some(AtMost(24.0)));
        }
        names.push(name);
    }
    ensure!(world.open_connections() >= open.len(), "the server closed idle connections");
    drop(open);
    if let Some(openssh) = stage.openssh() {
        match openssh_each(openssh) {
            Ok(each) => table.series.push(Series::single(SSHD, each)),
            Err(error) => table.failures.push(format!("{SSHD}: {error:#}")),
        }
    }
    for name in names {
        table.ratio(&name, SSHD, Some(AtMost(1.0 / 60.0)));
    }
    Ok(vec![table])
}

/// Returns the proportional memory of all processes of OpenSSH's server, in KiB for each connection
/// more.
fn openssh_each(openssh: &OpenSsh) -> Result<f64> {
    openssh.settle();
    let before = proportional_kib(openssh.server_pid())?;
    let processes = proc::descendants(openssh.server_pid()).len();
    let mut clients = Clients(Vec::new());
    for _ in 0..OPENSSH {
        // No command: what that took would not be sshd's.
        let mut command: Command = openssh.fastest();
        clients.0.push(command.arg("-N").spawn()?);
    }
    // One process or two for each: it is settled when two looks in a row are the same.
    let mut last = 0;
    let settled = poll_for(DEADLINE, || {
        let now = proportional_kib(openssh.server_pid()).unwrap_or(0);
        let enough = proc::descendants(openssh.server_pid()).len() >= processes + OPENSSH;
        let same = enough && now == last;
        last = now;
        same.then_some(now)
    });
    let now = settled.context("the connections do not settle")?;
    Ok((now.saturating_sub(before)) as f64 / OPENSSH as f64)
}

/// Processes that are killed when the value is dropped.
struct Clients(Vec<Child>);

impl Drop for Clients {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Returns the proportional memory of a process and of all below it, in KiB (proc(5),
/// `smaps_rollup`).
fn proportional_kib(pid: u32) -> Result<u64> {
    let mut sum = 0;
    let below = proc::descendants(pid);
    for pid in below.iter().map(|process| process.pid).chain([pid]) {
        // One that has just ended has none.
        sum += proc::proportional_kib(pid).unwrap_or(0);
    }
    ensure!(sum > 0, "/proc/{pid}/smaps_rollup can't be read");
    Ok(sum)
}
