//! The run itself: it begins commands, takes their ends and tells of them.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use rcmd_client::{Client, Config, ErrorKind, Notice, Outcome, Report, Signal, WireError};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinError, JoinSet, yield_now};
use tokio::time::Instant;

use super::account::CommandsAccount;
use super::dispatch::{Dispatch, Entry, HostId};
use super::interruption::{Interruption, Wanted};
use super::lines::{Line, Lines};
use super::maker::Maker;
use super::names_no_host;
use super::one::{Controls, Done, Told};
use super::progress::Progress;
use super::results::Results;
use super::shown;
use super::tally::Tally;
use super::whose::{Hosts, Whose};
use crate::arguments::commands::Commands;
use crate::arguments::fleet::Summary;
use crate::notices::SignalNotices;
use crate::output::Form;
use crate::output::piece::Piece;
use crate::output::render;
use crate::output::sink::{self, Feed, Place, Written};
use crate::session::not_started;
use crate::settings::Verbosity;
use crate::signals::interrupts::until;

mod begin;
mod ending;
mod interrupting;
mod refusals;

use ending::Abort;
use refusals::Refusals;

/// Notices that wait to be told; further ones say the same.
const NOTICES: usize = 16;

/// One host, or many.
pub(super) enum Scope<'a> {
    /// One, which was reached already. A line that never began has no result.
    One { host: Arc<str>, config: Config },
    /// Each line has a result for each of its hosts.
    Many { whose: Box<Whose<'a>>, config: Config, account: Box<CommandsAccount>, summary: Summary },
}

impl<'a> Scope<'a> {
    /// Returns the scope of many hosts.
    pub(super) fn many(whose: Whose<'a>, config: Config, summary: Summary) -> Self {
        Self::Many { whose: Box::new(whose), config, account: Box::default(), summary }
    }

    fn is_many(&self) -> bool {
        matches!(self, Self::Many { .. })
    }

    /// Returns how hosts are connected to.
    fn config(&self) -> &Config {
        match self {
            Self::One { config, .. } | Self::Many { config, .. } => config,
        }
    }
}

/// The result of a task.
enum Finished {
    Connected(HostId, Result<Client, WireError>),
    Ended(HostId, Box<Done>),
    /// None was never taken for connected.
    Left(Option<HostId>),
}

/// An event that wakes the run up.
enum Wake {
    Line(Option<io::Result<Line>>),
    Task(Result<Finished, JoinError>),
    Printed,
    Written(io::Result<()>),
    Notice(Arc<str>, Notice),
    Wanted(Wanted),
    Time,
}

/// Many commands on their way.
pub(super) struct CommandsRun<'a> {
    scope: Scope<'a>,
    commands: &'a Commands,
    maker: Maker<'a>,
    /// None after the last.
    lines: Option<Lines>,
    dispatch: Dispatch<Client>,
    tasks: JoinSet<Finished>,
    connecting: HashMap<HostId, AbortHandle>,
    refusals: Refusals,
    results: Results,
    /// Commands that run and results that wait, together at most.
    held: usize,
    out: Feed,
    written: Written,
    controls: Controls,
    noticed: mpsc::Receiver<(Arc<str>, Notice)>,
    interruption: Interruption,
    /// The first of our signals, after which nothing begins.
    interrupted: Option<Signal>,
    signal_notices: SignalNotices,
    reader_gone: bool,
    tally: Tally,
    progress: Progress,
    verbosity: Verbosity,
    /// The failure of reading a further line, told when all that was read has ended.
    unread: Option<WireError>,
    abort: Option<Abort>,
}

impl<'a> CommandsRun<'a> {
    /// Begins the run. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Kind `local_io` when signals can't be caught.
    pub(super) fn new(
        scope: Scope<'a>,
        commands: &'a Commands,
        lines: Lines,
        dispatch: Dispatch<Client>,
        maker: Maker<'a>,
        held: usize,
        verbosity: Verbosity,
    ) -> Result<Self, WireError> {
        let form = Form::Text { encoding: None, timestamps: false };
        let (out, written) = sink::open(Place::Stdout, render::text(form));
        let (notices, noticed) = mpsc::channel(NOTICES);
        Ok(Self {
            interruption: Interruption::catch(scope.is_many())?,
            controls: Controls::new(notices, scope.is_many()),
            progress: Progress::open(verbosity),
            tally: Tally::new(lines.results),
            results: Results::new(commands.ordered),
            refusals: Refusals::new(lines.results.is_some()),
            lines: Some(lines),
            tasks: JoinSet::new(),
            connecting: HashMap::new(),
            interrupted: None,
            signal_notices: SignalNotices::default(),
            reader_gone: false,
            unread: None,
            abort: None,
            verbosity,
            scope,
            commands,
            maker,
            dispatch,
            held,
            out,
            written,
            noticed,
        })
    }

    /// Runs until each command has ended and each result is on its way to be printed, or until it has to
    /// end before.
    pub(super) async fn carry_out(&mut self) {
        loop {
            self.begin();
            if self.is_over() {
                return;
            }
            match self.wake().await {
                Wake::Line(line) => {
                    // What a line of a file means is known by now. To find it out for one of standard input may
                    // take long, so that signals and connections come between two.
                    let is_known = self.lines.as_ref().is_some_and(|lines| lines.results.is_some());
                    self.handle_line(line);
                    if !is_known {
                        yield_now().await;
                    }
                }
                Wake::Task(finished) => {
                    self.interruption.note_progress();
                    self.handle_task(finished);
                }
                Wake::Printed => self.interruption.note_progress(),
                Wake::Written(end) => self.handle_written(end),
                Wake::Notice(host, notice) => {
                    self.progress.handle_notice(&host, &notice, Instant::now());
                }
                Wake::Wanted(wanted) => self.handle_interruption(wanted).await,
                Wake::Time => {
                    let now = Instant::now();
                    self.progress.handle_timeout(&self.tally, now);
                    let news = self.signal_notices.handle_timeout(now);
                    self.tell_signal(news);
                }
            }
        }
    }

    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    async fn wake(&mut self) -> Wake {
        let reads = self.has_room() && self.begins() && self.dispatch.wants_lines();
        let timeouts = [self.progress.timeout(), self.signal_notices.timeout()];
        let timeout = timeouts.into_iter().flatten().min();
        tokio::select! {
            line = next(&mut self.lines), if reads => Wake::Line(line),
            Some(finished) = self.tasks.join_next() => Wake::Task(finished),
            // Why there is no place any more, its writer says.
            Ok(place) = self.out.reserve(), if self.results.is_ready() => {
                if let Some(done) = self.results.pop() {
                    place.send(Piece::Note(printed(&done, self.commands)));
                }
                Wake::Printed
            }
            end = &mut self.written, if !self.reader_gone => Wake::Written(end),
            Some((host, notice)) = self.noticed.recv() => Wake::Notice(host, notice),
            wanted = self.interruption.next() => Wake::Wanted(wanted),
            () = until(timeout) => Wake::Time,
        }
    }

    fn has_room(&self) -> bool {
        self.dispatch.running() + self.results.len() < self.held
    }

    /// Returns whether anything may still begin, or end without having begun.
    fn begins(&self) -> bool {
        // On one host what never began has no result.
        let ends = self.interrupted.is_some() && !self.scope.is_many();
        !ends && (self.lines.is_some() || self.dispatch.waiting() > 0)
    }

    fn is_over(&self) -> bool {
        let ended = self.tasks.is_empty() && self.results.len() == 0;
        self.abort.is_some() || !self.begins() && ended
    }

    fn handle_line(&mut self, line: Option<io::Result<Line>>) {
        match line {
            None => {
                self.lines = None;
                self.dispatch.complete();
            }
            Some(Err(error)) => {
                let message = format!("cannot read standard input: {error}");
                let failure = WireError::new(ErrorKind::LocalIo, message)
                    .hint("Commands that still ran were killed on their hosts; write the lines to a file.");
                if self.scope.is_many() {
                    // What was read has its results all the same.
                    self.unread = Some(failure);
                    self.hold_back();
                    self.controls.tell(Told::Kill);
                } else {
                    self.abort = Some(Abort::LocalIo(failure));
                }
            }
            Some(Ok(line)) => self.push(line),
        }
    }

    /// Puts a line where it waits for its hosts.
    fn push(&mut self, line: Line) {
        let Line { place, number, hosts, words } = line;
        let Scope::Many { whose, .. } = &mut self.scope else {
            let words = words.and_then(|words| names_no_host(&hosts).map(|()| words));
            return self.dispatch.push(Entry { place, number, words });
        };
        let hosts = whose.hosts(&hosts, &mut self.dispatch);
        whose.notices.drain(..).for_each(|notice| self.progress.tell(&notice));
        match (hosts, words) {
            (Ok(Hosts::Set), words) => self.dispatch.push(Entry { place, number, words }),
            (Ok(Hosts::Named(hosts)), words) => {
                self.dispatch.push_named(Entry { place, number, words }, &hosts);
            }
            // Nobody can tell whose it is. What is wrong with the command goes first.
            (Err(_), Err(failure)) | (Err(failure), Ok(_)) => {
                self.end(Done::not_started(place, number, None, not_started("", failure)));
            }
        }
    }

    fn handle_task(&mut self, finished: Result<Finished, JoinError>) {
        match finished {
            Ok(Finished::Connected(id, connected)) => match self.connecting.remove(&id) {
                Some(_) => {
                    if let Err(failure) = &connected {
                        self.refusals.add(id, failure, Instant::now());
                    }
                    self.dispatch.connected(id, connected);
                }
                // It was called off too late.
                None => connected.into_iter().for_each(|client| self.leave(None, client)),
            },
            Ok(Finished::Left(id)) => id.into_iter().for_each(|id| self.dispatch.left(id)),
            Ok(Finished::Ended(id, done)) => {
                let refusal = refusal(&done.report);
                if let Some(failure) = refusal {
                    self.refusals.add(id, failure, Instant::now());
                }
                // A connection to one host heals by itself, unless the host refuses this client.
                let lost = refusal.is_some() || self.scope.is_many() && is_lost(&done.report);
                self.dispatch.ended(id, lost);
                self.end(*done);
            }
            // It was called off.
            Err(error) if error.is_cancelled() => {}
            Err(error) => {
                let message = format!("the task of a command is lost: {error}");
                self.abort = Some(Abort::LocalIo(WireError::new(ErrorKind::LocalIo, message)));
            }
        }
    }

    /// Takes the end of a line on a host.
    fn end(&mut self, done: Done) {
        self.tally.add(&done.report);
        self.progress.handle_end(Instant::now());
        let held_back = done.report.error.as_ref().is_some_and(|e| e.kind == ErrorKind::HeldBack);
        if let Scope::Many { account, .. } = &mut self.scope {
            account.add(&done.report);
        }
        // At a terminal the account says what was held back.
        let is_shown = !(held_back && self.commands.as_text);
        if is_shown && !self.reader_gone && self.abort.is_none() {
            self.results.add(done);
        }
    }

    fn handle_written(&mut self, end: io::Result<()>) {
        match Abort::by_writing(end) {
            Some(Abort::ReaderGone) if self.scope.is_many() => {
                self.reader_gone = true;
                self.results.clear();
                if let Some(Wanted::Act(action)) = self.interruption.end() {
                    self.act(action);
                }
            }
            abort => self.abort = abort,
        }
    }
}

/// Waits for the next line, while there may be one.
///
/// # Cancel safety
/// Nothing is lost when it is dropped.
async fn next(lines: &mut Option<Lines>) -> Option<io::Result<Line>> {
    lines.as_mut()?.next().await
}

/// Returns what is printed of a command that ended.
fn printed(done: &Done, commands: &Commands) -> String {
    if commands.as_text { shown::text(done) } else { done.record() }
}

/// Returns why a host does not take this client, which it may say only in answer to the first commands.
fn refusal(report: &Report) -> Option<&WireError> {
    let error = report.error.as_ref().filter(|_| report.outcome == Outcome::NotStarted);
    error.filter(|error| matches!(error.kind, ErrorKind::Unreachable | ErrorKind::Tls))
}

/// Returns whether a command met its end with its connection.
fn is_lost(report: &Report) -> bool {
    let kind = report.error.as_ref().map(|error| error.kind);
    match report.outcome {
        Outcome::NotStarted => {
            matches!(kind, Some(ErrorKind::Lost | ErrorKind::Unreachable | ErrorKind::Tls))
        }
        Outcome::Unknown => kind == Some(ErrorKind::Lost),
        _ => false,
    }
}
