//! Many commands from one shell script.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::bench::measure::{Race, quiet, timed};
use crate::bench::stage::Stage;
use crate::bench::table::Table;
use crate::binaries::try_binaries;

const BATCH: &str = "rcmd-client run --commands";
const PROCESSES: &str = "xargs -P rcmd-client";
const MULTIPLEXED: &str = "xargs -P ssh over ControlMaster";

pub(crate) fn run(stage: &Stage) -> Result<Vec<Table>> {
    let folder = tempfile::tempdir()?;
    let (lines, count) = (folder.path().join("lines"), stage.options.count(1000, 50));
    fs::write(&lines, "true\n".repeat(count))?;
    [1, 8, 32].into_iter().map(|at_once| at(stage, at_once, &lines, count)).collect()
}

fn at(stage: &Stage, at_once: usize, lines: &Path, count: usize) -> Result<Table> {
    let at_once = at_once.to_string();
    let mut batch = quiet(&try_binaries()?.client);
    batch.arg("--dir").arg(stage.world().dir()).args(["run", "--parallel", &at_once]);
    batch.arg("--commands").arg(lines).arg(stage.world().target());
    let mut contestants =
        vec![(BATCH, batch), (PROCESSES, xargs(&at_once, &stage.rcmd("--shell")?))];
    if let Some(openssh) = stage.openssh() {
        contestants.push((MULTIPLEXED, xargs(&at_once, &openssh.multiplexed())));
    }
    let mut race = Race::new();
    for (name, mut command) in contestants {
        race.add(name, move || {
            command.stdin(File::open(lines)?);
            Ok([count as f64 / timed(&mut command)?.as_secs_f64()])
        });
    }
    let ([series], failures) = race.run(stage.options.rounds().min(3));
    let title = format!("{count} times `true`, {at_once} at once");
    let mut table = Table::new("batch", title, "commands/s").with(series);
    table.ratio(BATCH, PROCESSES, None);
    table.ratio(BATCH, MULTIPLEXED, None);
    table.failures = failures;
    Ok(table)
}

/// Returns a command that runs a process for each line of standard input, which is its last word.
fn xargs(at_once: &str, each: &Command) -> Command {
    let mut command = quiet("xargs");
    command.args(["-n", "1", "-P", at_once]).arg(each.get_program()).args(each.get_args());
    command
}
