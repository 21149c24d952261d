//! One command on many hosts: an end for each of them, and an account of all.
//!
//! | module | holds |
//! | --- | --- |
//! | `runner` | the run itself, and how it is interrupted |
//! | `assignment` | what is done at which target, and the commands that do it |
//! | `display`, `account` | what is shown, by a thread of its own; what came of all targets |
//! | `records`, `resume`, `runs` | runs on disk; what is left to do of one; the subcommand `runs` |
//! | `templates` | what differs from host to host in one command |
//! | `escalation` | how far the user has gone with ending it |
//! | `whole_input`, `fanout` | standard input for all; how many run at once |

use std::collections::HashSet;
use std::sync::Arc;

use rcmd_client::WireError;
use rcmd_client::fleet::FleetRules;

use crate::output::Form;
use crate::session;
use crate::settings::Verbosity;
use crate::settings::fleet::{FleetRun, FleetWork};
use crate::signals::Signals;
use crate::text::{self, Tone};

pub(crate) mod account;
mod assignment;
mod display;
pub(crate) mod escalation;
pub(crate) mod fanout;
pub(crate) mod records;
mod resume;
mod runner;
pub(crate) mod runs;
pub(crate) mod templates;
mod whole_input;

use account::Account;
use assignment::Assignment;
pub(crate) use display::stems;
use display::{Display, DisplayForm, DisplaySettings, Format};
use fanout::AtOnce;
use runner::Runner;

/// Runs a command on many hosts and returns the exit status of all.
///
/// # Errors
/// A failure when nothing was tried.
pub(crate) fn run(run: &FleetRun) -> Result<u8, WireError> {
    let mut display = display_settings(run)?;
    // Whoever has no certificate learns it before standard input is read.
    let runtime = session::runtime()?;
    let config = session::config(&run.layout, run.timeout, run.compress, None);
    let config = runtime.block_on(config)?;
    let input = run.input.map(whole_input::read).transpose()?;
    let assignment = match &run.work {
        FleetWork::New(new) => {
            for notice in new.notices.iter().filter(|_| run.verbosity > Verbosity::Quiet) {
                text::say(&text::line(Tone::Notice, notice));
            }
            Assignment::new(run, new)?
        }
        FleetWork::Resume { id, again, busy_wait } => {
            match Assignment::resumed(run, id, *again, *busy_wait)? {
                Ok(assignment) => assignment,
                Err(status) => return Ok(status),
            }
        }
    };
    display.left_alone = assignment.kept.iter().map(|(index, _)| *index).collect();
    let rules = fitted(run, assignment.targets.len());
    let id = assignment.maker.run();
    let mut account = Account::new(id.clone().unwrap_or_default(), Arc::clone(&assignment.targets));
    account.set_templates(assignment.maker.templates());
    let next = id.filter(|_| run.input.is_none());
    account.set_next(next.map(|id| runs::resuming(&id, run.dir.as_deref())));
    account.set_asks(run.dry_run);
    let shown = Display::open(display, Arc::clone(&assignment.targets))?;
    let status = runtime.block_on(async {
        let signals = Signals::catch()?;
        let runner = Runner::new(&config, rules, input, assignment, shown, account);
        Ok(runner.carry_out(signals).await)
    });
    session::renew_in_own_time(&run.layout, run.verbosity);
    // A look-up of a name may still hang in a thread of its own.
    runtime.shutdown_background();
    status
}

/// Returns the rules with as many hosts at once as there can be, and says so where these are fewer than were
/// asked for.
fn fitted(run: &FleetRun, total: usize) -> FleetRules {
    let rules = run.rules(total);
    let wanted = rules.fanout.min(total.max(1));
    let rules = FleetRules { fanout: wanted, ..rules };
    let memory = (rules.memory, rules.at_once(run.compress));
    let files = run.show.outdir.is_some();
    let fanout = fanout::fitted(AtOnce::Hosts, wanted, memory, files, run.verbosity);
    FleetRules { fanout, ..rules }
}

/// Returns what is to be shown.
///
/// # Errors
/// A usage failure when the text of `--format` is none.
fn display_settings(run: &FleetRun) -> Result<DisplaySettings, WireError> {
    let show = &run.show;
    let (encoding, timestamps) = match show.form {
        Form::Text { encoding, timestamps } => (encoding, timestamps),
        Form::Json { timestamps } => (None, timestamps),
    };
    let form = match (&show.form, &show.format) {
        (Form::Json { .. }, _) => DisplayForm::Json,
        (_, Some(text)) => DisplayForm::Format(Format::parse(text)?),
        _ if show.fold => DisplayForm::Fold,
        _ if show.diff => DisplayForm::Diff,
        _ => DisplayForm::Lines,
    };
    Ok(DisplaySettings {
        form,
        outdir: show.outdir.clone(),
        result: show.result.clone(),
        summary: show.summary,
        progress: show.progress,
        raw: show.raw,
        timestamps,
        encoding,
        verbosity: run.verbosity,
        left_alone: HashSet::new(),
    })
}
