//! Attends a running command: its streams, its end, signals to this process, notices.

use std::io::{self, IsTerminal as _};
use std::pin::pin;

use rcmd_client::{
    Child, ChildStdin, ChildStdout, Client, ErrorKind, Outcome, Report, Signal, Started, WireError,
};
use rcmd_protocol::frame::Stream;
use tokio::time::Instant;

use super::ended::{Cause, Ended, LocalFailure, unwritten};
use crate::input;
use crate::notices::{LinkNotices, SignalNotices};
use crate::output::piece::Piece;
use crate::output::sink::{Feed, Place};
use crate::output::writer::OutputWriter;
use crate::session::not_started;
use crate::settings::{Run, Verbosity};
use crate::signals::interrupts::{Interrupt, Interrupts, until};
use crate::signals::{self, Action};

/// A running command and what is known about it so far.
struct RunSession<'a> {
    run: &'a Run,
    host: &'a str,
    client: &'a Client,
    child: Child,
    writer: &'a mut OutputWriter,
    notices: LinkNotices,
    signal_notices: SignalNotices,
    started: bool,
    job: Option<String>,
    report: Option<Report>,
    reader_gone: bool,
    trouble: Option<LocalFailure>,
    given_up: Option<Signal>,
}

/// A message of the host about a command, in this order.
enum Step {
    Started(Option<Started>),
    Ended(Box<Report>),
}

/// Forwards the streams until the command has ended and its whole output was handed to the writers, or until the
/// user gives up.
pub(super) async fn attend(
    run: &Run,
    host: &str,
    client: &Client,
    mut child: Child,
    writer: &mut OutputWriter,
    interrupts: &mut Interrupts,
) -> Ended {
    let mut notices = child.notices();
    let mut hear = true;
    let mut input = pin!(forward(child.stdin.take()));
    let mut reading = true;
    let mut output = pin!(pump_both(
        pump(Stream::Stdout, child.stdout.take(), writer.stdout.clone()),
        pump(Stream::Stderr, child.stderr.take(), writer.stderr.clone()),
    ));
    let mut printing = true;
    let mut at = RunSession::new(run, host, client, child, writer);
    loop {
        let timeouts = [at.notices.timeout(), at.signal_notices.timeout()];
        let timeout = timeouts.into_iter().flatten().min();
        tokio::select! {
            step = next(&mut at.child, at.started), if at.report.is_none() => at.hear(step).await,
            // Not before the event of the start, which must come first.
            () = &mut output, if printing && at.started => printing = false,
            failed = &mut input, if reading => {
                reading = false;
                if let Some((stdin, error)) = failed {
                    at.spoil(unread(&error));
                    // Dropped only after the kill, so that the command does not read an end of file.
                    drop(stdin);
                }
            }
            failure = at.writer.tend() => at.handle_failure(failure),
            notice = notices.next(), if hear => match notice {
                Some(notice) => {
                    let notice = at.notices.handle(&notice, Instant::now());
                    at.note(notice);
                }
                None => hear = false,
            },
            interrupt = interrupts.next() => at.handle_interrupt(interrupt).await,
            () = until(timeout) => {
                let now = Instant::now();
                let notice = at.notices.handle_timeout(now);
                at.note(notice);
                let news = at.signal_notices.handle_timeout(now);
                at.note_signal(news);
            }
        }
        if let Some(ended) = at.ended(printing) {
            return ended;
        }
    }
}

impl<'a> RunSession<'a> {
    fn new(
        run: &'a Run,
        host: &'a str,
        client: &'a Client,
        child: Child,
        writer: &'a mut OutputWriter,
    ) -> Self {
        Self {
            run,
            host,
            client,
            child,
            writer,
            notices: LinkNotices::default(),
            signal_notices: SignalNotices::default(),
            started: false,
            job: None,
            report: None,
            reader_gone: false,
            trouble: None,
            given_up: None,
        }
    }

    async fn hear(&mut self, step: Step) {
        self.notices.handle_start();
        match step {
            Step::Started(None) => self.started = true,
            Step::Started(Some(Started { job, note, started_at })) => {
                self.started = true;
                self.job = Some(job.clone());
                if self.run.output.verbosity == Verbosity::Verbose {
                    self.note(Some(format!("started as job {job}")));
                }
                self.note(note);
                // This is the first piece, so there is room for it. The error of a writer is handled elsewhere.
                let _ = self.writer.stdout.send(Piece::Started { job, started_at }).await;
            }
            Step::Ended(report) => self.report = Some(*report),
        }
    }

    fn note(&mut self, note: Option<String>) {
        if let Some(note) = note.filter(|_| self.run.output.verbosity > Verbosity::Quiet) {
            self.writer.note(self.host, &note);
        }
    }

    /// Prints, for a person at a terminal, what becomes of a command that a signal of ours has not ended.
    fn note_signal(&mut self, news: Option<String>) {
        let wanted = self.report.is_none() && self.run.output.verbosity > Verbosity::Quiet;
        if news.is_some() && wanted && io::stderr().is_terminal() {
            // The terminal has echoed the key that was typed.
            self.writer.break_line();
            self.note(news);
        }
    }

    fn handle_failure(&mut self, (place, error): (Place, io::Error)) {
        match (place, error.kind()) {
            // The stream is dropped with its writer, so the command gets a broken pipe too.
            (Place::Stdout, io::ErrorKind::BrokenPipe) => self.reader_gone = true,
            (Place::Stderr, io::ErrorKind::BrokenPipe) => {}
            _ => self.spoil(unwritten(place, &error)),
        }
    }

    fn spoil(&mut self, failure: LocalFailure) {
        self.child.cancel();
        self.trouble.get_or_insert(failure);
    }

    async fn handle_interrupt(&mut self, interrupt: Interrupt) {
        match interrupt {
            Interrupt::Act(action) => self.act(action),
            Interrupt::Suspend => signals::suspend([self.client]).await,
        }
    }

    fn act(&mut self, action: Action) {
        let news = self.signal_notices.handle(action, Instant::now());
        self.note_signal(news);
        match action {
            Action::Pass(signal) => self.child.signal(signal),
            Action::Kill => self.child.cancel(),
            Action::GiveUp(signal) => self.given_up = Some(signal),
        }
    }

    /// Returns the end, once the command has ended and its output is printed.
    fn ended(&mut self, printing: bool) -> Option<Ended> {
        if let Some(signal) = self.given_up {
            let report = self.report.take().unwrap_or_else(|| self.unconfirmed());
            return Some(Ended { report, cause: Cause::GivenUp(signal) });
        }
        let ended = Ended::by_report(if printing { None } else { self.report.take() }?);
        Some(match self.trouble.take() {
            Some(failure) => ended.spoiled(failure),
            None if self.reader_gone => Ended { cause: Cause::ReaderGone, ..ended },
            None => ended,
        })
    }

    fn unconfirmed(&self) -> Report {
        let failure = WireError::new(
            ErrorKind::Lost,
            "the command was killed, but the host did not confirm its end",
        )
        .hint(
            "If the host can be reached, the command ends now, otherwise when the grace is over; \
                     the server's log names processes that it could not end.",
        );
        Report {
            job: self.job.clone(),
            outcome: Outcome::Unknown,
            retry_safe: false,
            truncated: true,
            ..not_started(self.host, failure)
        }
    }
}

/// Waits for the next message of the host.
///
/// # Cancel safety
/// Nothing is lost if the future is dropped.
async fn next(child: &mut Child, started: bool) -> Step {
    if started {
        Step::Ended(Box::new(child.wait().await))
    } else {
        Step::Started(child.started().await)
    }
}

/// Sends standard input. If it fails, returns it still open, with the error.
async fn forward(stdin: Option<ChildStdin>) -> Option<(ChildStdin, io::Error)> {
    let mut stdin = stdin?;
    match input::forward(&mut stdin).await {
        Ok(()) => {
            stdin.finish().await;
            None
        }
        Err(error) => Some((stdin, error)),
    }
}

async fn pump_both(stdout: impl Future<Output = ()>, stderr: impl Future<Output = ()>) {
    tokio::join!(stdout, stderr);
}

/// Forwards a stream to its writer. Ends, and drops the stream, when the writer has ended.
async fn pump(stream: Stream, source: Option<ChildStdout>, feed: Feed) {
    let Some(mut source) = source else { return };
    loop {
        let chunk = tokio::select! {
            chunk = source.chunk() => chunk,
            () = feed.closed() => return,
        };
        let last = chunk.is_none();
        let piece = chunk.map_or(Piece::End(stream), |chunk| Piece::Data(stream, chunk));
        if feed.send(piece).await.is_err() || last {
            return;
        }
    }
}

fn unread(error: &io::Error) -> LocalFailure {
    LocalFailure {
        message: format!("cannot read standard input: {error}"),
        loss: "",
        remedy: "leave standard input out with -n, or give another one",
    }
}
