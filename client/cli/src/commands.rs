//! `run --commands`: many commands over one connection for each host, a result as a line of JSON each, or
//! as text at a terminal.
//!
//! | module | holds |
//! | --- | --- |
//! | `running` | the run itself, and how it ends |
//! | `dispatch` | whose turn it is, without clock and network |
//! | `lines` | which lines are commands, and which ones |
//! | `whose`, `maker` | the hosts of a line; its command for one of them |
//! | `one` | one command, to its end |
//! | `interruption` | what our signals come to |
//! | `results`, `shown`, `progress` | what is printed of ends; what is told meanwhile |
//! | `tally`, `account` | what came of all |
//!
//! Only so many commands run as may, and only so many results wait for their turn to be printed: a first
//! command that is slow, or a reader that is, holds up the lines behind it and costs no more memory.

use std::path::Path;

use rcmd_client::fleet::FleetRules;
use rcmd_client::hosts::HostTarget;
use rcmd_client::{ErrorKind, WireError};

use crate::arguments::commands::Commands;
use crate::fleet::fanout::{self, AtOnce};
use crate::session;
use crate::settings::commands::CommandsOverHosts;
use crate::settings::{Run, Verbosity};
use crate::text::{self, Tone};

mod account;
mod dispatch;
mod interruption;
mod lines;
mod maker;
mod one;
mod progress;
mod results;
mod running;
mod shown;
mod tally;
mod whose;

use dispatch::Dispatch;
use lines::{LineHosts, Lines};
use maker::Maker;
use running::{CommandsRun, Scope};
use whose::Whose;

/// Results that may wait to be printed beside the commands that run, over many hosts.
const WAITING: usize = 16;

/// Runs the commands on one host and returns the exit status of all.
///
/// # Errors
/// A failure when nothing was tried: a line of the file is no command, or the host is not reached.
pub(crate) fn run(run: &Run, commands: &Commands) -> Result<u8, WireError> {
    let lines = match &commands.file {
        Some(file) => Lines::of_file(file, |hosts, _| names_no_host(hosts).map(|()| 1))?,
        None => Lines::of_stdin()?,
    };
    let runtime = session::runtime()?;
    let status = runtime.block_on(on_one(run, commands, lines));
    runtime.shutdown_background();
    status
}

/// Checks that a line goes to the one host that was typed.
///
/// # Errors
/// A usage failure, with its remedy.
fn names_no_host(hosts: &LineHosts) -> Result<(), WireError> {
    match hosts {
        // One that can't be read is refused for that.
        LineHosts::Set | LineHosts::Unreadable => Ok(()),
        LineHosts::Named(_) => {
            let message = "it names its own hosts, and a host stands on the command line";
            Err(WireError::new(ErrorKind::Usage, message).hint(
                "Leave that host out; for the lines that name none it may stay with -f 64, which makes it \
                 a set of hosts.",
            ))
        }
    }
}

async fn on_one(run: &Run, commands: &Commands, lines: Lines) -> Result<u8, WireError> {
    let host = run.connect.target.to_string();
    let (client, config) = match session::connect_with(run).await {
        Ok(connected) => connected,
        Err(failure) => {
            text::say(&text::failure(Some(&host), &failure));
            return Ok(failure.kind.not_started_status());
        }
    };
    let parallel = commands.parallel;
    let target = HostTarget::new(host.as_str().into(), 0, run.connect.target.clone(), None);
    let mut dispatch = Dispatch::new(parallel, parallel, &[target]);
    dispatch.is_here(0, client);
    let maker = Maker::of_one(&run.command);
    let scope = Scope::One { host: host.into(), config };
    let held = 2 * parallel;
    let verbosity = run.output.verbosity;
    let mut running = CommandsRun::new(scope, commands, lines, dispatch, maker, held, verbosity)?;
    running.carry_out().await;
    session::renew_in_own_time(&run.connect.layout, verbosity);
    Ok(running.conclude().await)
}

/// Runs the commands on many hosts and returns the exit status of all.
///
/// # Errors
/// A failure when nothing was tried.
pub(crate) fn run_over(run: &CommandsOverHosts) -> Result<u8, WireError> {
    let (memory, what) = (borne(run), AtOnce::Commands);
    let fanout = fanout::fitted(what, run.fanout, memory, false, run.verbosity);
    let mut dispatch = Dispatch::new(run.commands.parallel, fanout, &run.hosts);
    let mut whose = Whose::new(run);
    let mut maker = Maker::of_many(&run.command, run.templates, fanout, run.compress);
    let lines = match &run.commands.file {
        Some(file) => Lines::of_file(file, |named, words| {
            let hosts = whose.hosts(named, &mut dispatch)?;
            let targets = || whose.targets(&hosts, &dispatch);
            maker.check(words, named.named(), targets)?;
            Ok(hosts.count(run.hosts.len()))
        })?,
        None => Lines::of_stdin()?,
    };
    let notices = run.notices.iter().cloned().chain(whose.notices.drain(..));
    for notice in notices.filter(|_| run.verbosity > Verbosity::Quiet) {
        text::say(&text::line(Tone::Notice, &notice));
    }
    let runtime = session::runtime()?;
    let config = session::config(&run.layout, run.timeout, run.compress, None);
    let config = runtime.block_on(config)?;
    let status = runtime.block_on(async {
        let scope = Scope::many(whose, config, run.summary);
        let (commands, held) = (&run.commands, fanout.saturating_add(WAITING));
        let mut running =
            CommandsRun::new(scope, commands, lines, dispatch, maker, held, run.verbosity)?;
        running.carry_out().await;
        Ok(running.conclude().await)
    });
    session::renew_in_own_time(&run.layout, run.verbosity);
    // A look-up of a name may still hang in a thread of its own.
    runtime.shutdown_background();
    status
}

/// Returns the memory of a run in bytes, and how many commands at once it bears with what is kept of their
/// output.
fn borne(run: &CommandsOverHosts) -> (u64, usize) {
    let rules = FleetRules { fanout: run.fanout, ..FleetRules::default() };
    // What connections leave of it (see `FleetRules::at_once`), for two streams of each that runs or waits.
    let left = usize::try_from(rules.memory / 8 * 5).unwrap_or(usize::MAX);
    let kept = left / run.commands.max_output.saturating_mul(2).max(1);
    (rules.memory, rules.at_once(run.compress).min(kept.saturating_sub(WAITING)).max(1))
}

/// Returns how many commands a file has.
///
/// # Errors
/// As [`run`] says it of a file, but for hosts that a line names.
pub(crate) fn count_in(file: &Path) -> Result<u64, WireError> {
    Lines::of_file(file, |_, _| Ok(1)).map(|lines| lines.results.unwrap_or_default())
}
