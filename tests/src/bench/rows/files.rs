//! Files and trees, copied both ways: beside what copies by way of OpenSSH, and `cp`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use tempfile::TempDir;

use crate::World;
use crate::bench::corpus::Corpus;
use crate::bench::measure::{Race, quiet};
use crate::bench::peers::OpenSsh;
use crate::bench::peers::copying::{
    Copying, Direction, FAST_RSYNC, FAST_SCP, HOST, LOCAL, RSYNC, SCP, SFTP, WHOLE_RSYNC, copier,
};
use crate::bench::stage::Stage;
use crate::bench::table::{
    Goal::{self, AtMost},
    Series, Table, figure,
};
use crate::bench::tree::cost_beside;
use crate::binaries::try_binaries;

const ROW: &str = "files";
const RCMD: &str = "rcmd-client cp";
const DELTA: &str = "rcmd-client cp --delta";
/// The most rounds: most of the time is that of the slowest program.
const ROUNDS: usize = 3;

/// What is at the destination before a program begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    /// What the source had before 1 percent of it changed.
    Older,
    /// What the source has.
    Same,
}

/// One comparison.
struct Task {
    title: String,
    corpus: Corpus,
    direction: Direction,
    before: Before,
    names: &'static [&'static str],
    /// The goals of a ratio: of which program, to which, at most how much.
    goals: &'static [(&'static str, &'static str, f64)],
}

const ALL: &[&str] = &[RCMD, SCP, FAST_SCP, SFTP, RSYNC, FAST_RSYNC, LOCAL];
const COMPARING: &[&str] = &[RCMD, RSYNC];

/// Returns what is compared, in this order.
fn tasks(stage: &Stage) -> Vec<Task> {
    let options = &stage.options;
    let mib = options.size.unwrap_or(if options.quick { 8 } else { 2_048 });
    let [small, many] =
        [(10_000, 200), (100_000, 1_000)].map(|(full, quick)| options.count(full, quick) as u64);
    let (one, tree, sames) =
        (Corpus::one(mib << 20), Corpus::many(small, 4 << 10), Corpus::many(many, 16));
    let task = |title: String, corpus, direction, before, names, goals| {
        let way = match direction {
            Direction::Push => "to the host",
            Direction::Fetch => "from the host",
        };
        Task { title: format!("{title}, {way}"), corpus, direction, before, names, goals }
    };
    let small_files = || format!("{} files of 4 KiB", figure(small as f64));
    let mut tasks = Vec::new();
    for way in [Direction::Push, Direction::Fetch] {
        let title = format!("one file of {mib} MiB");
        tasks.push(task(title, one, way, Before::Nothing, ALL, &[(RCMD, SCP, 0.5)]));
    }
    for way in [Direction::Push, Direction::Fetch] {
        let title = small_files();
        let goals = &[(RCMD, SCP, 1.0 / 15.0), (RCMD, RSYNC, 1.0 / 1.5)];
        tasks.push(task(title, tree, way, Before::Nothing, ALL, goals));
    }
    let title = format!("one file of {mib} MiB again, 1 percent changed");
    let names = &[RCMD, DELTA, RSYNC, WHOLE_RSYNC];
    let goals = &[(RCMD, RSYNC, 1.0), (DELTA, RSYNC, 1.0)];
    tasks.push(task(title, one, Direction::Push, Before::Older, names, goals));
    let title = format!("{} again, 1 percent changed", small_files());
    tasks.push(task(title, tree, Direction::Push, Before::Older, COMPARING, &[(RCMD, RSYNC, 1.0)]));
    for way in [Direction::Push, Direction::Fetch] {
        let title = format!("{} files, unchanged", figure(many as f64));
        tasks.push(task(title, sames, way, Before::Same, COMPARING, &[(RCMD, RSYNC, 1.0)]));
    }
    tasks
}

pub(crate) fn run(stage: &Stage) -> Result<Vec<Table>> {
    let ground = Ground::new(stage)?;
    let mut tables = Vec::new();
    for task in tasks(stage) {
        tables.extend(ground.compare(&task)?);
    }
    Ok(tables)
}

/// What the programs copy from, to and by.
struct Ground<'a> {
    stage: &'a Stage,
    world: World,
    openssh: Option<(&'a OpenSsh, PathBuf)>,
    has_delta: bool,
    folder: TempDir,
}

impl<'a> Ground<'a> {
    fn new(stage: &'a Stage) -> Result<Self> {
        // It says as little as it does by default.
        let world = World::builder().own_group().terse().try_start()?;
        let openssh = match stage.openssh() {
            Some(openssh) => Some((openssh, openssh.hosts_config(HOST)?)),
            None => None,
        };
        let help = Command::new(&try_binaries()?.client).args(["cp", "--help"]).output()?;
        let has_delta = String::from_utf8_lossy(&help.stdout).contains("--delta");
        Ok(Self { stage, world, openssh, has_delta, folder: tempfile::tempdir()? })
    }

    /// Measures what one task takes by each of its programs.
    fn compare(&self, task: &Task) -> Result<Vec<Table>> {
        let is_quick = self.stage.options.quick;
        let (corpus, trial) = (task.corpus, Trial::new(self.folder.path(), task, is_quick)?);
        let mut race = Race::new();
        let mut notes = Vec::new();
        for &name in task.names {
            let copying = Copying {
                from: &corpus.named(&trial.from),
                to: &corpus.named(&trial.to),
                is_tree: corpus.is_tree(),
                direction: task.direction,
                config: self.openssh.as_ref().map_or(Path::new("none"), |(_, config)| config),
                folder: self.folder.path(),
            };
            let (command, server) = match (name, &self.openssh) {
                (DELTA, _) if !self.has_delta => {
                    notes.push(format!("{name}: this rcmd-client has no such option"));
                    continue;
                }
                (RCMD | DELTA, _) => (Ok(self.rcmd(&copying, name == DELTA)?), None),
                (LOCAL, _) => (copier(name, &copying), None),
                (_, Some((server, _))) => (copier(name, &copying), Some(*server)),
                (_, None) => continue,
            };
            match command {
                Ok(command) => {
                    let daemon = match name {
                        RCMD | DELTA => Some(self.world.pid()),
                        _ => server.map(OpenSsh::server_pid),
                    };
                    race.add(name, trial.contestant(command, daemon, server));
                }
                Err(missing) => self.stage.miss(&missing),
            }
        }
        let rounds = self.stage.options.rounds().min(ROUNDS);
        let ([wall, client, host], failures) = race.run(rounds);
        trial.clear()?;

        let table = |what: &str, unit, series| {
            Table::new(ROW, format!("{}: {what}", task.title), unit).with(series)
        };
        // What runs on the spot has no two sides.
        let apart =
            |series: Vec<Series>| series.into_iter().filter(|one| one.name != LOCAL).collect();
        let mut time = beside(table("start to end", "s", wall), task.goals);
        (time.failures, time.notes) = (failures, notes);
        let here = table("memory of the client's side, at most", "MiB", apart(client));
        let there = table("memory of the host's side, at most", "MiB", apart(host));
        Ok(vec![time, beside(here, &[]), beside(there, &[])])
    }

    fn rcmd(&self, copying: &Copying<'_>, with_delta: bool) -> Result<Command> {
        let mut command = quiet(&try_binaries()?.client);
        command.arg("--dir").arg(self.world.client_dir()).arg("cp");
        command.args(with_delta.then_some("--delta"));
        let [mut from, to] = copying.ends(&self.world.target());
        if copying.is_tree {
            from.push("/");
        }
        command.arg(if copying.is_tree { "-r" } else { "-p" }).args([from, to]);
        Ok(command)
    }
}

/// Adds the ratio of each of ours to each of the other programs.
fn beside(mut table: Table, goals: &[(&str, &str, f64)]) -> Table {
    let names: Vec<_> = table.series.iter().map(|series| series.name.clone()).collect();
    for own in [RCMD, DELTA] {
        for other in names.iter().filter(|name| ![RCMD, DELTA].contains(&name.as_str())) {
            let goal = goals.iter().find(|(of, to, _)| *of == own && to == other);
            let goal: Option<Goal> = goal.map(|(_, _, most)| AtMost(*most));
            table.ratio(own, other, goal);
        }
    }
    table
}

/// A source, and a destination that is made ready before each run.
struct Trial {
    corpus: Corpus,
    before: Before,
    from: PathBuf,
    to: PathBuf,
    errors: PathBuf,
    is_quick: bool,
}

impl Trial {
    fn new(folder: &Path, task: &Task, is_quick: bool) -> Result<Self> {
        let [from, to, errors] = ["from", "to", "errors"].map(|name| folder.join(name));
        let (corpus, before) = (task.corpus, task.before);
        corpus.make(&from)?;
        if before != Before::Nothing {
            corpus.make(&to)?;
        }
        if before == Before::Older {
            corpus.set_version(&from, 1)?;
        }
        Ok(Self { corpus, before, from, to, errors, is_quick })
    }

    /// Makes the destination what it is to be before a run, and has nothing left to be written to the disk.
    fn ready(&self) -> Result<()> {
        match self.before {
            Before::Same => {}
            Before::Older => self.corpus.set_version(&self.to, 0)?,
            Before::Nothing => {
                if self.to.exists() {
                    fs::remove_dir_all(&self.to)?;
                }
                // A tree becomes the destination, a file goes into it.
                if !self.corpus.is_tree() {
                    fs::create_dir(&self.to)?;
                }
            }
        }
        // What others write meanwhile is waited for too, which may take longer than a quick run.
        if !self.is_quick {
            rustix::fs::sync();
        }
        Ok(())
    }

    /// Returns a contestant: the seconds, and the MiB of either side.
    fn contestant<'a>(
        &'a self,
        mut command: Command,
        daemon: Option<u32>,
        server: Option<&'a OpenSsh>,
    ) -> impl FnMut() -> Result<[f64; 3]> + 'a {
        move || {
            // The last one's sessions are over before the next one begins.
            if let Some(server) = server {
                server.settle();
            }
            self.ready()?;
            command.stderr(File::create(&self.errors)?);
            let cost = cost_beside(&mut command, daemon)?;
            if !cost.status.success() {
                let told = fs::read(&self.errors)?;
                let told = String::from_utf8_lossy(&told);
                bail!("{}: {}", cost.status, told.lines().last().unwrap_or("it says nothing"));
            }
            self.corpus.check(&self.to, u8::from(self.before == Before::Older))?;
            Ok([cost.seconds, cost.tree, cost.host])
        }
    }

    fn clear(&self) -> Result<()> {
        for root in [&self.from, &self.to] {
            fs::remove_dir_all(root)?;
        }
        Ok(())
    }
}
