//! Commands a second, when the connection is open already.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use rcmd_client::{Client, Outcome};
use tokio::process::Command;
use tokio::runtime::Runtime;

use crate::bench::measure::Race;
use crate::bench::rate::rate;
use crate::bench::stage::{Stage, one_thread};
use crate::bench::table::{
    Goal::{AtLeast, AtMost},
    Series, Table,
};

const LIBRARY: &str = "library, sh -c true";
const SPAWNED: &str = "tokio alone, sh -c true";
const LIBRARY_LOGIN: &str = "library, login shell";
const SPAWNED_LOGIN: &str = "tokio alone, login shell";
const PROCESSES: &str = "rcmd-client processes";
const MULTIPLEXED: &str = "ssh processes over ControlMaster";
const ASYNCSSH: &str = "asyncssh, login shell";

pub(crate) fn run(stage: &Stage) -> Result<Vec<Table>> {
    let mut tables = Vec::new();
    for (at_once, part) in [(1, 0.85), (16, 0.9), (64, 0.9)] {
        tables.extend(at(stage, at_once, part)?);
    }
    Ok(tables)
}

fn at(stage: &Stage, at_once: usize, part: f64) -> Result<Vec<Table>> {
    let library = one_thread()?;
    let client = stage.connect(&library)?;
    // Spawning itself takes the thread that does it: the limit gets all that the machine has.
    let spawning = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let place = Place::of(&library, &client)?;
    let (many, few) = (stage.options.count(600, 100), stage.options.count(200, 64));

    let mut race = Race::new();
    let over = |login: bool| {
        let (client, library) = (client.clone(), &library);
        move || {
            let client = client.clone();
            rate(library, at_once, many, move || remote(client.clone(), login))
        }
    };
    race.add(LIBRARY, over(false));
    let alone = |words: [OsString; 3]| {
        let (place, spawning) = (place.clone(), &spawning);
        move || {
            let (place, words) = (place.clone(), words.clone());
            rate(spawning, at_once, many, move || local(place.command(&words)))
        }
    };
    race.add(SPAWNED, alone(["/bin/sh".into(), "-c".into(), "true".into()]));
    race.add(LIBRARY_LOGIN, over(true));
    race.add(SPAWNED_LOGIN, alone([place.shell.clone(), "-c".into(), "true".into()]));
    let processes = |words: Vec<OsString>| {
        let spawning = &spawning;
        move || {
            let words = words.clone();
            rate(spawning, at_once, few, move || local(program(&words)))
        }
    };
    let mut rcmd = stage.rcmd("--exec")?;
    rcmd.args(["/bin/sh", "-c", "true"]);
    race.add(PROCESSES, processes(words(&rcmd)));
    if let Some(openssh) = stage.openssh() {
        let mut ssh = openssh.multiplexed();
        ssh.arg("/bin/sh -c true");
        race.add(MULTIPLEXED, processes(words(&ssh)));
    }
    if let Some(asyncssh) = stage.asyncssh() {
        race.add(ASYNCSSH, move || asyncssh.rate("true", at_once, few));
    }
    let ([rates, medians, tails], failures) = race.run(stage.options.rounds());
    library.block_on(client.clone().close());

    let mut table = Table::new("warm", format!("{at_once} at once"), "commands/s").with(rates);
    table.ratio(LIBRARY, SPAWNED, Some(AtLeast(part)));
    table.ratio(LIBRARY_LOGIN, SPAWNED_LOGIN, None);
    table.ratio(LIBRARY_LOGIN, ASYNCSSH, Some(AtLeast(2.3)));
    table.ratio(PROCESSES, MULTIPLEXED, Some(AtLeast(2.0)));
    table.failures = failures;
    Ok(vec![table, latencies(at_once, &medians, &tails)])
}

/// Returns a table of the time of one command, at the median and at the 99th percentile.
fn latencies(at_once: usize, medians: &[Series], tails: &[Series]) -> Table {
    let title = format!("{at_once} at once, one command");
    let mut table = Table::new("warm", title, "ms");
    for (median, tail) in medians.iter().zip(tails) {
        let (name, p99) = (&median.name, format!("{}, p99", median.name));
        table.series.push(Series { name: name.clone(), values: median.values.clone() });
        table.series.push(Series { name: p99, values: tail.values.clone() });
    }
    let goal = (at_once == 16).then_some(AtMost(2.2));
    table.ratio(&format!("{LIBRARY}, p99"), LIBRARY, goal);
    table.ratio(&format!("{SPAWNED}, p99"), SPAWNED, None);
    table
}

async fn remote(client: Client, login: bool) -> Result<()> {
    let report = match login {
        true => client.shell("true").output().await?.report,
        false => client.exec("/bin/sh").args(["-c", "true"]).output().await?.report,
    };
    ensure!(report.outcome == Outcome::Exited && report.code == Some(0), "it ended: {report:?}");
    Ok(())
}

pub(super) async fn local(mut command: Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await?;
    ensure!(output.status.success(), "{:?}: {:?}", output.status, output.stderr);
    Ok(())
}

pub(super) fn words(command: &std::process::Command) -> Vec<OsString> {
    [command.get_program()].into_iter().chain(command.get_args()).map(OsString::from).collect()
}

pub(super) fn program(words: &[OsString]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env_remove("RCMD_DIR");
    command
}

/// The environment, the folder and the shell of a command on the server.
#[derive(Clone)]
struct Place {
    environment: Arc<Vec<(OsString, OsString)>>,
    folder: OsString,
    shell: OsString,
}

impl Place {
    /// Asks a command.
    fn of(runtime: &Runtime, client: &Client) -> Result<Self> {
        let printed = |words: [&'static str; 2]| {
            let done = runtime.block_on(client.exec(words[0]).args(&words[1..]).output())?;
            ensure!(done.report.code == Some(0), "{words:?} ended: {:?}", done.report);
            Ok(done.stdout)
        };
        let settings = printed(["env", "-0"])?;
        let folder = printed(["pwd", "-P"])?;
        let pairs = settings.split(|&byte| byte == 0).filter_map(|setting| {
            let equals = setting.iter().position(|&byte| byte == b'=')?;
            let (name, value) = (setting[..equals].to_vec(), setting[equals + 1..].to_vec());
            Some((OsString::from_vec(name), OsString::from_vec(value)))
        });
        let environment: Vec<_> = pairs.collect();
        let shell = environment.iter().find(|(name, _)| name == "SHELL");
        let shell = shell.context("commands have no SHELL")?.1.clone();
        let folder = OsString::from_vec(folder.trim_ascii_end().to_vec());
        Ok(Self { environment: Arc::new(environment), folder, shell })
    }

    /// Returns the command in the environment and the folder of the place, on this machine.
    fn command(&self, words: &[OsString]) -> Command {
        let mut command = program(words);
        command.env_clear().envs(self.environment.iter().cloned()).current_dir(&self.folder);
        command
    }
}
