//! Bytes a second, and what they cost the processors.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;

use crate::bench::limits::{self, Ends};
use crate::bench::measure::{Processor, Race, quiet, timed};
use crate::bench::stage::Stage;
use crate::bench::table::{
    Goal::{self, AtLeast, AtMost},
    Table,
};
use crate::proc;
use crate::wait::eventually;

const RCMD: &str = "rcmd-client";
const SSH: &str = "ssh";
const FASTEST: &str = "ssh, aes128-gcm";
const DROPBEAR: &str = "dbclient";
const LOCAL: &str = "on the spot";
const TLS: &str = "rustls over loopback";
const GIB: f64 = (1_u64 << 30) as f64;

/// A flow of bytes from or to a command.
struct Flow {
    row: &'static str,
    title: &'static str,
    /// The line for the user's shell on the host.
    line: String,
    /// The same line on this machine, with the program that reads its output.
    local: String,
    /// Bytes of one run.
    bytes: u64,
    /// A line whose output is the standard input of all.
    fed: Option<String>,
    /// The goals beside `ssh` as it is by default, beside `ssh` with its fastest cipher, and beside
    /// the same line on this machine.
    goals: [Option<Goal>; 3],
}

/// A limit of the machine, run beside the others.
type Limit<'a> = (&'static str, Box<dyn Fn() -> Result<Duration> + 'a>);

pub(crate) fn output(stage: &Stage) -> Result<Vec<Table>> {
    let bytes = stage.options.bytes();
    let line = format!("head -c {bytes} /dev/zero");
    let flow = Flow {
        row: "output",
        title: "`head -c SIZE /dev/zero`",
        local: format!("{line} | cat"),
        line,
        bytes,
        fed: None,
        goals: [Some(AtLeast(2.8)), Some(AtLeast(1.5)), Some(AtLeast(1.0))],
    };
    measure(stage, &flow, Vec::new())
}

pub(crate) fn blocks(stage: &Stage) -> Result<Vec<Table>> {
    let bytes = stage.options.bytes();
    let flow = Flow {
        row: "blocks",
        title: "`dd if=/dev/zero bs=256K`",
        line: dd(bytes),
        local: format!("{} | cat", dd(bytes)),
        bytes,
        fed: None,
        goals: [Some(AtLeast(3.0)), Some(AtLeast(1.7)), None],
    };
    let ends = Ends::of(&stage.layout())?;
    let over_tls = || limits::tls_loopback(&ends, bytes);
    let beside: Vec<Limit<'_>> = vec![
        (TLS, Box::new(over_tls)),
        ("rustls in memory on one core", Box::new(|| ends.in_memory(bytes))),
        ("loopback TCP", Box::new(|| limits::loopback(bytes))),
    ];
    measure(stage, &flow, beside)
}

pub(crate) fn input(stage: &Stage) -> Result<Vec<Table>> {
    let bytes = stage.options.bytes();
    let flow = Flow {
        row: "input",
        title: "`cat > /dev/null`, fed by `dd bs=256K`",
        line: "cat > /dev/null".to_owned(),
        local: "cat > /dev/null".to_owned(),
        bytes,
        fed: Some(dd(bytes)),
        goals: [Some(AtLeast(2.8)), Some(AtLeast(1.5)), None],
    };
    measure(stage, &flow, Vec::new())
}

pub(crate) fn random(stage: &Stage) -> Result<Vec<Table>> {
    let bytes = stage.options.bytes() / 4;
    let line = format!("{} | openssl enc -aes-128-ctr -K 00 -iv 00 2> /dev/null", dd(bytes));
    let flow = Flow {
        row: "random",
        title: "random bytes from `openssl enc -aes-128-ctr`",
        local: format!("{line} | cat"),
        line,
        bytes,
        fed: None,
        goals: [None, Some(AtLeast(1.4)), None],
    };
    measure(stage, &flow, Vec::new())
}

pub(crate) fn lines(stage: &Stage) -> Result<Vec<Table>> {
    let last = stage.options.count(20_000_000, 2_000_000);
    seq(stage, "lines", "`seq 1 LAST`, many short lines", "seq 1", last, [None, Some(AtLeast(1.4))])
}

pub(crate) fn unbuffered(stage: &Stage) -> Result<Vec<Table>> {
    let last = stage.options.count(1_000_000, 50_000);
    let goals = [Some(AtLeast(2.0)), None];
    let title = "`stdbuf -oL seq 1 LAST`, one line a write";
    seq(stage, "unbuffered", title, "stdbuf -oL seq 1", last, goals)
}

fn seq(
    stage: &Stage,
    row: &'static str,
    title: &'static str,
    words: &str,
    last: usize,
    [default, fastest]: [Option<Goal>; 2],
) -> Result<Vec<Table>> {
    let line = format!("{words} {last}");
    let bytes = (1..=last).map(|number| number.ilog10() as u64 + 2).sum();
    let local = format!("{line} | cat");
    measure(
        stage,
        &Flow { row, title, line, local, bytes, fed: None, goals: [default, fastest, None] },
        Vec::new(),
    )
}

pub(crate) fn both(stage: &Stage) -> Result<Vec<Table>> {
    let bytes = stage.options.bytes() / 2;
    let line = format!("{0} & {0} >&2; wait", dd(bytes / 2));
    let flow = Flow {
        row: "both",
        title: "stdout and stderr at once, each by `dd bs=256K`",
        local: format!("{{ {line}; }} 2>&1 | cat"),
        line,
        bytes,
        fed: None,
        goals: [None, Some(AtLeast(1.4)), None],
    };
    measure(stage, &flow, Vec::new())
}

fn dd(bytes: u64) -> String {
    format!("dd if=/dev/zero bs=256K count={} status=none", bytes >> 18)
}

fn measure(stage: &Stage, flow: &Flow, beside: Vec<Limit<'_>>) -> Result<Vec<Table>> {
    let server = stage.world().pid();
    let mut race = Race::new();
    let mut command = stage.rcmd("--shell")?;
    command.arg(&flow.line);
    race.add(RCMD, move || {
        let settle = || {
            eventually("the command's processes end", || proc::descendants(server).is_empty());
        };
        flow.cost(Some(server), settle, || flow.run(&mut command))
    });
    if let Some(openssh) = stage.openssh() {
        for (name, mut command) in [(SSH, openssh.default()), (FASTEST, openssh.fastest())] {
            command.arg(&flow.line);
            let daemon = Some(openssh.server_pid());
            race.add(name, move || {
                flow.cost(daemon, || openssh.settle(), || flow.run(&mut command))
            });
        }
    }
    if let (Some(dropbear), "output") = (stage.dropbear(), flow.row) {
        let mut command = dropbear.command();
        command.arg(&flow.line);
        let daemon = Some(dropbear.server_pid());
        race.add(DROPBEAR, move || {
            flow.cost(daemon, || dropbear.settle(), || flow.run(&mut command))
        });
    }
    let mut command = quiet("sh");
    command.args(["-c", &flow.local]);
    race.add(LOCAL, move || flow.cost(None, || (), || flow.run(&mut command)));
    for (name, limit) in beside {
        race.add(name, move || flow.cost(None, || (), &limit));
    }
    let ([rates, machine, ours], failures) = race.run(stage.options.rounds());

    let mut speed = Table::new(flow.row, flow.title, "MB/s").with(rates);
    for (peer, goal) in [SSH, FASTEST, LOCAL].into_iter().zip(flow.goals) {
        speed.ratio(RCMD, peer, goal);
    }
    speed.ratio(RCMD, DROPBEAR, None);
    speed.ratio(RCMD, TLS, Some(AtLeast(0.6)));
    speed.failures = failures;
    let title = |whose| format!("{}: processor time of {whose}", flow.title);
    let mut tables = vec![speed];
    for (whose, series) in [("the whole machine", machine), ("both ends' processes", ours)] {
        let mut table = Table::new(flow.row, title(whose), "s/GiB").with(series);
        let goals = match flow.row {
            "output" | "blocks" => [Some(AtMost(0.45)), Some(AtMost(0.75))],
            _ => [None, None],
        };
        for (peer, goal) in [SSH, FASTEST].into_iter().zip(goals) {
            table.ratio(RCMD, peer, goal);
        }
        tables.push(table);
    }
    Ok(tables)
}

impl Flow {
    /// Runs it once, fed if it is.
    fn run(&self, command: &mut Command) -> Result<Duration> {
        // A stderr that is part of the flow goes where stdout goes.
        if self.row == "both" {
            command.stderr(Stdio::null());
        }
        let Some(line) = &self.fed else { return timed(command) };
        let mut feeder = quiet("sh").args(["-c", line]).stdout(Stdio::piped()).spawn()?;
        if let Some(pipe) = feeder.stdout.take() {
            command.stdin(pipe);
        }
        let took = timed(command);
        // It has met the end of its input, or a closed pipe, once the other has ended.
        command.stdin(Stdio::null());
        feeder.wait()?;
        took
    }

    /// Returns the MB/s, then the processor seconds for a GiB: of the machine, and of both ends'
    /// processes.
    fn cost(
        &self,
        daemon: Option<u32>,
        settle: impl Fn(),
        run: impl FnOnce() -> Result<Duration>,
    ) -> Result<[f64; 3]> {
        settle();
        let before = Processor::now(daemon.as_slice())?;
        let took = run()?;
        settle();
        let (machine, ours) = Processor::now(daemon.as_slice())?.since(before);
        let gib = self.bytes as f64 / GIB;
        Ok([self.bytes as f64 / took.as_secs_f64() / 1e6, machine / gib, ours / gib])
    }
}
