//! One line on many hosts: beside the programs that run `ssh` for each, and a library without processes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::process::Command;

use anyhow::{Result, bail};
use tempfile::TempDir;

use crate::World;
use crate::bench::measure::{Race, quiet};
use crate::bench::peers::{OpenSsh, PROGRAMS, Task};
use crate::bench::stage::Stage;
use crate::bench::table::{
    Goal::{self, AtMost},
    Table,
};
use crate::bench::tree::cost;
use crate::binaries::try_binaries;
use crate::many::{put_host, write_hosts_toml};

const LINE: &str = "echo hello";
const SAYS: &str = "hello";
/// The number of targets on which each program is told to run the line at once.
const AT_ONCE: usize = 64;
const RCMD: &str = "rcmd-client";
const LIBRARY: &str = "parallel-ssh, a library";

/// The seconds, the processor seconds, the MiB of all processes, the MiB of the program itself, and
/// the number of targets without an answer.
type Figures = [f64; 5];

pub(crate) fn hundred(stage: &Stage) -> Result<Vec<Table>> {
    at(stage, "fleet100", stage.options.count(100, 10), 3)
}

pub(crate) fn five_hundred(stage: &Stage) -> Result<Vec<Table>> {
    at(stage, "fleet500", stage.options.count(500, 20), 2)
}

fn at(stage: &Stage, row: &'static str, count: usize, rounds: usize) -> Result<Vec<Table>> {
    let fleet = Fleet::of(count)?;
    let mut race = Race::new();
    race.add(RCMD, fleet.contestant(fleet.rcmd()?, None));
    fleet.enter_peers(&mut race, stage, stage.openssh())?;
    let rounds = stage.options.rounds().min(rounds);
    let ([wall, processor, tree, main, unanswered], failures) = race.run(rounds);
    // What it turns away depends on chance, and shows that it does at once.
    let mut race = Race::new();
    fleet.enter_peers(&mut race, stage, stage.openssh_as_it_comes())?;
    let ([wall_as_it_comes, .., unanswered_as_it_comes], more) = race.run(1);

    let title = |what: &str| format!("`{LINE}` on {count} targets, {AT_ONCE} at once: {what}");
    let table = |what: &str, unit, series| Table::new(row, title(what), unit).with(series);
    let mut tables = vec![
        beside(table("start to end", "s", wall), Some(AtMost(1.0 / 15.0))),
        beside(table("processor time of the client's side", "s", processor), Some(AtMost(0.1))),
        beside(table("memory of all processes, at most", "MiB", tree), Some(AtMost(0.25))),
        beside(table("memory of the program alone, at most", "MiB", main), None),
    ];
    let mut lost = table("targets without an answer", "targets", unanswered);
    if let Some(rcmd) = lost.series.iter().find(|series| series.name == RCMD) {
        let most = rcmd.values.iter().copied().fold(0.0, f64::max);
        lost.add_ratio(format!("{RCMD}, targets without an answer"), most, Some(AtMost(0.0)));
    }
    lost.failures = failures;
    tables.push(lost);
    let name = "sshd lets in as many strangers as it does by default";
    tables.push(table(&format!("start to end, {name}"), "s", wall_as_it_comes));
    let what = format!("targets without an answer, {name}");
    let mut lost = table(&what, "targets", unanswered_as_it_comes);
    lost.failures = more;
    tables.push(lost);
    Ok(tables)
}

/// Adds the ratio of rcmd to each of the other programs, so that the best of them is among these.
fn beside(mut table: Table, goal: Option<Goal>) -> Table {
    let names: Vec<_> = table.series.iter().map(|series| series.name.clone()).collect();
    for name in names.iter().filter(|name| *name != RCMD) {
        table.ratio(RCMD, name, goal);
    }
    table
}

/// The targets `n1` to `nCOUNT`.
struct Fleet {
    // One server has all of rcmd's, as one sshd has all of the others'.
    world: World,
    folder: TempDir,
    count: usize,
}

impl Fleet {
    fn of(count: usize) -> Result<Self> {
        // It says as little as it does by default.
        let world = World::builder().own_group().terse().try_start()?;
        let mut hosts = String::new();
        for number in 1..=count {
            put_host(&mut hosts, &format!("n{number}"), world.address());
        }
        write_hosts_toml(&world.client_dir().join("hosts.toml"), &hosts);
        Ok(Self { world, folder: tempfile::tempdir()?, count })
    }

    fn rcmd(&self) -> Result<Command> {
        let mut command = quiet(&try_binaries()?.client);
        command.arg("--dir").arg(self.world.client_dir()).arg("--shell");
        command.args(["-f", &AT_ONCE.to_string(), &format!("n[1-{}]", self.count), LINE]);
        Ok(command)
    }

    /// Adds the other programs to the race, each with this server.
    fn enter_peers<'a>(
        &'a self,
        race: &mut Race<'a, 5>,
        stage: &'a Stage,
        server: Option<&'a OpenSsh>,
    ) -> Result<()> {
        let Some(server) = server else { return Ok(()) };
        let config = server.hosts_config("n*")?;
        let (line, count, at_once) = (LINE, self.count, AT_ONCE);
        let task = Task { line, count, at_once, config: &config, folder: self.folder.path() };
        for (name, rounds, make) in PROGRAMS {
            match make(&task) {
                Ok(command) => {
                    race.add_slow(name, rounds, self.contestant(command, Some(server)));
                }
                Err(error) => stage.miss(&error),
            }
        }
        if let Some(library) = stage.parallel_ssh() {
            let command = library.command(server, LINE, AT_ONCE, self.count);
            race.add(LIBRARY, self.contestant(command, Some(server)));
        }
        Ok(())
    }

    fn contestant<'a>(
        &'a self,
        mut command: Command,
        server: Option<&'a OpenSsh>,
    ) -> impl FnMut() -> Result<Figures> + 'a {
        let [said, errors] = ["said", "errors"].map(|name| self.folder.path().join(name));
        move || {
            // The last one's sessions are over before the next one begins.
            if let Some(server) = server {
                server.settle();
            }
            command.stdout(File::create(&said)?).stderr(File::create(&errors)?);
            let cost = cost(&mut command)?;
            let answered = answered(&String::from_utf8_lossy(&fs::read(&said)?), self.count);
            if answered == 0 {
                let told = String::from_utf8_lossy(&fs::read(&errors)?).into_owned();
                bail!("no target answered: {}", told.lines().last().unwrap_or("it says nothing"));
            }
            let unanswered = (self.count - answered) as f64;
            Ok([cost.seconds, cost.processor, cost.tree, cost.main, unanswered])
        }
    }
}

/// Returns the number of targets of which a line tells what the command printed; such a line begins
/// with the target's name.
fn answered(text: &str, count: usize) -> usize {
    let lines = text.lines().filter(|line| line.contains(SAYS));
    let number = |line: &str| {
        let digits = line.strip_prefix('n')?;
        let end = digits.find(|c: char| !c.is_ascii_digit())?;
        digits.get(..end)?.parse::<usize>().ok()
    };
    let numbers: BTreeSet<_> = lines.filter_map(number).collect();
    numbers.range(1..=count).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_answered_counts_once_in_the_form_of_each_program() {
        let text = "n1: hello\nn1: hello\nn2 | CHANGED | rc=0 | (stdout) hello\\r\\n\n\
                    n3: ssh exited with exit code 255\nn4 | UNREACHABLE!: hell\nn9: hello\n\
                    [1] 10:00:00 [SUCCESS] n5\nhello\n";
        assert_eq!(answered(text, 8), 2);
    }
}
