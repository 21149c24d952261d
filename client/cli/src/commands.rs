//! `run --commands`: many commands over one connection, a result as a line of JSON each, or as text at
//! a terminal.
//!
//! At most `--parallel` commands run, and as many results again wait for their turn to be printed:
//! a first command that is slow, or a reader that is, holds up the lines behind it and costs no
//! more memory.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rcmd_client::{Client, ErrorKind, Signal, Stdio, WireError};
use tokio::sync::mpsc::Permit;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout};

use crate::arguments::commands::Commands;
use crate::arguments::words::CommandSpec;
use crate::interrupts::{Interrupt, Interrupts, until};
use crate::output::Form;
use crate::output::piece::Piece;
use crate::output::render;
use crate::output::sink::{self, Feed, Place, Written};
use crate::session::{self, not_started};
use crate::settings::Run;
use crate::signals::{self, Action, LAST_OUTPUT};
use crate::{status, text};

mod lines;
mod one;
mod progress;
mod results;
mod shown;
mod tally;

use lines::{Line, Lines};
use one::{Controls, Done};
use progress::Progress;
use results::Results;
use tally::Tally;

/// Notices that wait to be told; further ones say the same.
const NOTICES: usize = 16;

/// Runs the commands and returns the exit status of all.
///
/// # Errors
/// When nothing was tried: a line of the file is no command, or the host is not reached.
pub(crate) fn run(run: &Run, commands: &Commands) -> Result<u8, WireError> {
    let lines = match &commands.file {
        Some(file) => Lines::of_file(file)?,
        None => Lines::of_stdin()?,
    };
    let runtime = session::runtime()?;
    let status = runtime.block_on(carry_out(run, commands, lines));
    runtime.shutdown_background();
    status
}

/// Returns how many commands a file has.
///
/// # Errors
/// As [`run`] says it of a file.
pub(crate) fn count_in(file: &Path) -> Result<u64, WireError> {
    Lines::of_file(file).map(|lines| lines.count.unwrap_or_default())
}

async fn carry_out(run: &Run, commands: &Commands, lines: Lines) -> Result<u8, WireError> {
    let host = run.connect.target.to_string();
    let form = Form::Text { encoding: None, timestamps: false };
    let (out, mut written) = sink::open(Place::Stdout, render::text(form));
    let progress = Progress::open(&host, run.output.verbosity);
    let client = match session::connect(run).await {
        Ok(client) => client,
        Err(failure) => {
            text::say(&text::failure(Some(&host), &failure));
            return Ok(failure.kind.not_started_status());
        }
    };
    let mut interrupts = Interrupts::catch().map_err(|error| {
        WireError::new(ErrorKind::LocalIo, format!("cannot catch signals: {error}"))
    })?;
    let (actions, _) = watch::channel(None);
    let (notices, mut noticed) = mpsc::channel(NOTICES);
    let mut commands_run = CommandsRun {
        run,
        commands,
        host: host.into(),
        client,
        tally: Tally::new(lines.count),
        lines: Some(lines),
        running: JoinSet::new(),
        results: Results::new(commands.ordered),
        controls: Controls { actions, notices },
        interrupted: None,
        progress,
        abort: None,
    };
    while !commands_run.is_over() {
        let at = &mut commands_run;
        let (room, ready) = (at.has_room(), at.results.is_ready());
        let timeout = at.progress.timeout();
        tokio::select! {
            line = next(&mut at.lines), if room => at.handle_line(line),
            Some(done) = at.running.join_next() => at.handle_end(done),
            // Why there is no place any more, its writer says.
            Ok(place) = out.reserve(), if ready => at.print(place),
            end = &mut written => at.abort = Abort::by_writing(end),
            Some(notice) = noticed.recv() => at.progress.handle_notice(&notice, Instant::now()),
            interrupt = interrupts.next() => at.handle_interrupt(interrupt).await,
            () = until(timeout) => at.progress.handle_timeout(&at.tally, Instant::now()),
        }
    }
    Ok(commands_run.conclude(out, written, interrupts).await)
}

/// Waits for the next line, while there may be one.
///
/// # Cancel safety
/// Nothing is lost when it is dropped.
async fn next(lines: &mut Option<Lines>) -> Option<io::Result<Line>> {
    lines.as_mut()?.next().await
}

/// Many commands on their way.
struct CommandsRun<'a> {
    run: &'a Run,
    commands: &'a Commands,
    host: Arc<str>,
    client: Client,
    /// None after the last.
    lines: Option<Lines>,
    running: JoinSet<Done>,
    results: Results,
    controls: Controls,
    /// The first of our signals, after which nothing begins.
    interrupted: Option<Signal>,
    tally: Tally,
    progress: Progress,
    abort: Option<Abort>,
}

/// Why it ends before its commands do.
#[derive(Debug)]
enum Abort {
    /// Nobody reads the results.
    ReaderGone,
    /// Something could not be written or read here.
    LocalIo(WireError),
    /// This signal of ours; the ends that it brought did not come in time.
    GivenUp(Signal),
}

impl Abort {
    /// Returns the reason that the end of the writer is, if it is any.
    fn by_writing(end: io::Result<()>) -> Option<Self> {
        let error = end.err()?;
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Some(Self::ReaderGone);
        }
        let message = format!("cannot write standard output: {error}");
        Some(Self::LocalIo(WireError::new(ErrorKind::LocalIo, message).hint(
            "Commands that still ran were killed there; make room here, or send the results elsewhere.",
        )))
    }
}

impl CommandsRun<'_> {
    fn has_room(&self) -> bool {
        let held = self.running.len() + self.results.len();
        let room = self.running.len() < self.commands.parallel && held < 2 * self.commands.parallel;
        room && self.interrupted.is_none() && self.lines.is_some()
    }

    fn is_over(&self) -> bool {
        let begins = self.lines.is_some() && self.interrupted.is_none();
        self.abort.is_some() || !begins && self.running.is_empty() && self.results.len() == 0
    }

    fn handle_line(&mut self, line: Option<io::Result<Line>>) {
        match line {
            None => self.lines = None,
            Some(Err(error)) => {
                let message = format!("cannot read standard input: {error}");
                let failure = WireError::new(ErrorKind::LocalIo, message)
                    .hint("Commands that still ran were killed there; write the lines to a file.");
                self.abort = Some(Abort::LocalIo(failure));
            }
            Some(Ok(Line { place, number, words })) => match words {
                Ok(words) => self.begin(place, number, &words),
                Err(failure) => {
                    let report = not_started(&self.host, failure);
                    self.end(Done::not_started(place, number, report));
                }
            },
        }
    }

    fn begin(&mut self, place: u64, line: u64, words: &CommandSpec) {
        let mut command = session::command(&self.run.command, false, words, &self.client);
        command.stdin(Stdio::Null);
        let handles = self.controls.handles();
        let (host, most) = (Arc::clone(&self.host), self.commands.max_output);
        self.running.spawn(async move {
            let (report, stdout, stderr) = one::carry_out(&host, command, most, handles).await;
            Done { place, line, report, stdout, stderr }
        });
    }

    fn handle_end(&mut self, done: Result<Done, JoinError>) {
        match done {
            Ok(done) => self.end(done),
            Err(error) => {
                let message = format!("the task of a command is lost: {error}");
                self.abort = Some(Abort::LocalIo(WireError::new(ErrorKind::LocalIo, message)));
            }
        }
    }

    fn end(&mut self, done: Done) {
        self.tally.add(&done.report);
        self.progress.handle_end(Instant::now());
        self.results.add(done);
    }

    fn print(&mut self, place: Permit<'_, Piece>) {
        if let Some(done) = self.results.pop() {
            place.send(Piece::Note(printed(&done, self.commands)));
        }
    }

    async fn handle_interrupt(&mut self, interrupt: Interrupt) {
        match interrupt {
            Interrupt::Act(action) => self.act(action),
            Interrupt::Suspend => signals::suspend(&self.client).await,
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            // The first signal is always passed on.
            Action::Pass(signal) => {
                self.interrupted.get_or_insert(signal);
                self.controls.act(action);
            }
            Action::Kill => self.controls.act(action),
            Action::GiveUp(signal) => self.abort = Some(Abort::GivenUp(signal)),
        }
    }

    /// Prints what remains, takes leave, and returns the exit status.
    async fn conclude(mut self, out: Feed, written: Written, interrupts: Interrupts) -> u8 {
        // Lines that nothing came of.
        let left = self.lines.as_ref().is_some_and(Lines::are_left);
        // What still runs is killed there.
        self.running.abort_all();
        if self.abort.is_none() {
            drop(out);
            let written = interrupts.unless_caught(&self.client, written).await;
            self.abort =
                written.map_or_else(|signal| Some(Abort::GivenUp(signal)), Abort::by_writing);
        } else if let Some(Abort::GivenUp(_)) = self.abort {
            // Whoever interrupted twice does not wait for a full pager either.
            let all = print_all(self.results, self.commands, out, written);
            let _ = timeout(LAST_OUTPUT, all).await;
        }
        let status = match (&self.abort, self.interrupted) {
            (Some(Abort::ReaderGone), _) => status::READER_GONE,
            (Some(Abort::LocalIo(_)), _) => status::LOCAL_IO,
            (Some(Abort::GivenUp(signal)), _) => signal.exit_status(),
            (None, Some(signal)) if left => signal.exit_status(),
            (None, _) => self.tally.status(),
        };
        let _ = timeout(LAST_OUTPUT, self.progress.finish(&self.tally)).await;
        if let Some(Abort::LocalIo(failure)) = &self.abort {
            text::say(&text::failure(Some(&self.host), failure));
        }
        if !matches!(self.abort, Some(Abort::GivenUp(_))) {
            session::finish(self.run, Some(self.client)).await;
        }
        status
    }
}

/// Returns what is printed of a command that ended.
fn printed(done: &Done, commands: &Commands) -> String {
    if commands.as_text { shown::text(done) } else { done.record() }
}

/// Prints what ended behind a command that did not.
async fn print_all(mut results: Results, commands: &Commands, out: Feed, written: Written) {
    while let Some(done) = results.pop() {
        // A writer that has ended has nothing more to say here.
        let _ = out.send(Piece::Note(printed(&done, commands))).await;
    }
    drop(out);
    let _ = written.await;
}
