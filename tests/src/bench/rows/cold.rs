//! A new process, a new connection, one command.

use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::time::Instant;

use anyhow::Result;

use crate::bench::measure::{Race, milliseconds, quiet, timed};
use crate::bench::stage::Stage;
use crate::bench::table::{
    Goal::{self, AtMost},
    Table,
};
use crate::binaries::try_binaries;

const RCMD: &str = "rcmd-client HOST true";

pub(crate) fn run(stage: &Stage) -> Result<Vec<Table>> {
    let mut commands: Vec<(&str, Command)> = Vec::new();
    let mut with = |name, mut command: Command, words: &[&str]| {
        command.args(words);
        commands.push((name, command));
    };
    with(RCMD, stage.rcmd("--shell")?, &["true"]);
    with("rcmd-client --exec HOST true", stage.rcmd("--exec")?, &["true"]);
    if let Some(openssh) = stage.openssh() {
        with("ssh", openssh.default(), &["true"]);
        with("ssh, curve25519 and aes128-gcm", openssh.fastest(), &["true"]);
        with("ssh over ControlMaster", openssh.multiplexed(), &["true"]);
    }
    if let Some(dropbear) = stage.dropbear() {
        with("dbclient", dropbear.command(), &["true"]);
    }
    if let Some(asyncssh) = stage.asyncssh() {
        with("asyncssh, with Python's start", asyncssh.command("true", 1, 1), &[]);
    }
    with("true, on the spot", quiet("true"), &[]);
    with("sh -c true, on the spot", quiet("sh"), &["-c", "true"]);

    let mut race = Race::new();
    for (name, mut command) in commands {
        race.add(name, move || Ok([milliseconds(timed(&mut command)?)]));
    }
    let rounds = stage.options.rounds() * stage.options.count(5, 1);
    let ([series], failures) = race.run(rounds);
    let mut table = Table::new("cold", "a new client process runs `true`", "ms").with(series);
    table.failures = failures;
    let goals: [(&str, Option<Goal>); 5] = [
        ("ssh", Some(AtMost(1.0 / 35.0))),
        ("ssh, curve25519 and aes128-gcm", Some(AtMost(1.0 / 22.0))),
        ("dbclient", Some(AtMost(0.25))),
        ("ssh over ControlMaster", Some(AtMost(0.6))),
        ("asyncssh, with Python's start", None),
    ];
    for (peer, goal) in goals {
        table.ratio(RCMD, peer, goal);
    }
    Ok(vec![table])
}

/// Measures the time from the start of a client to its first byte on the network.
pub(crate) fn first_byte(stage: &Stage) -> Result<Vec<Table>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let target = listener.local_addr()?.to_string();
    let client = &try_binaries()?.client;
    let mut race = Race::new();
    race.add("rcmd-client", || {
        let mut command = quiet(client);
        command.arg("--dir").arg(stage.world().dir()).args(["--exec", &target, "true"]);
        command.stderr(std::process::Stdio::null());
        let began = Instant::now();
        let mut child = command.spawn()?;
        let came = listener.accept().and_then(|(mut socket, _)| socket.read_exact(&mut [0]));
        let took = began.elapsed();
        child.kill()?;
        child.wait()?;
        came?;
        Ok([milliseconds(took)])
    });
    race.add("true, start to end", || Ok([milliseconds(timed(&mut quiet("true"))?)]));
    let ([series], failures) = race.run(stage.options.rounds() * stage.options.count(5, 2));
    let title = "from the start of a client to its first byte on the network";
    let mut table = Table::new("first-byte", title, "ms").with(series);
    if let Some(value) = table.series.first().map(|series| series.median()) {
        table.add_ratio("rcmd-client, in ms".to_owned(), value, Some(AtMost(2.0)));
    }
    table.failures = failures;
    Ok(vec![table])
}
