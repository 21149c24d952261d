//! Stays with a running command: its streams, its end, our signals, the link.

use std::io;
use std::pin::pin;

use rcmd_client::{
    Child, ChildStdin, ChildStdout, Client, ErrorKind, Outcome, Report, Signal, Started, WireError,
};
use rcmd_protocol::frame::Stream;
use tokio::time::Instant;

use super::ended::{Cause, Ended, unwritten};
use crate::input;
use crate::interrupts::{Interrupt, Interrupts, until};
use crate::notices::LinkNotices;
use crate::output::piece::Piece;
use crate::output::sink::{Feed, Place};
use crate::output::writer::OutputWriter;
use crate::session::not_started;
use crate::settings::{Run, Verbosity};
use crate::signals::{self, Action};

/// A command that runs, with all that came of it so far.
struct RunSession<'a> {
    run: &'a Run,
    host: &'a str,
    client: &'a Client,
    child: Child,
    writer: &'a mut OutputWriter,
    notices: LinkNotices,
    started: bool,
    job: Option<String>,
    report: Option<Report>,
    reader_gone: bool,
    trouble: Option<WireError>,
    given_up: Option<Signal>,
}

/// What the host says about a command, in this order.
enum Step {
    Started(Option<Started>),
    Ended(Box<Report>),
}

/// Moves the streams until the command has ended and all of them is on its way to be printed, or
/// nobody waits any more.
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
        let timeout = at.notices.timeout();
        tokio::select! {
            step = next(&mut at.child, at.started), if at.report.is_none() => at.hear(step).await,
            // Not before the start is told: its event comes first.
            () = &mut output, if printing && at.started => printing = false,
            failed = &mut input, if reading => {
                reading = false;
                if let Some((stdin, error)) = failed {
                    at.spoil(unread(&error));
                    // Only now: what ends with the command killed is no end of file.
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
                let notice = at.notices.handle_timeout(Instant::now());
                at.note(notice);
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
                // The first piece of all: it waits for nobody. A writer that failed says so itself.
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

    fn handle_failure(&mut self, (place, error): (Place, io::Error)) {
        match (place, error.kind()) {
            // Its stream was dropped with its writer, and so the command meets a broken pipe too.
            (Place::Stdout, io::ErrorKind::BrokenPipe) => self.reader_gone = true,
            (Place::Stderr, io::ErrorKind::BrokenPipe) => {}
            _ => self.spoil(unwritten(place, &error)),
        }
    }

    fn spoil(&mut self, failure: WireError) {
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
        match action {
            Action::Pass(signal) => self.child.signal(signal),
            Action::Kill => self.child.cancel(),
            Action::GiveUp(signal) => self.given_up = Some(signal),
        }
    }

    /// How it ended, once it has, and all is printed.
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
            "the command was killed, and its end not confirmed",
        )
        .hint(
            "If the host is reachable it ends now, if not, when the grace is over; what the \
                     server may not end stands in its log.",
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

/// The next thing that the host says.
///
/// # Cancel safety
/// Nothing is lost when it is dropped, as with what it calls.
async fn next(child: &mut Child, started: bool) -> Step {
    if started {
        Step::Ended(Box::new(child.wait().await))
    } else {
        Step::Started(child.started().await)
    }
}

/// Sends our standard input. One that fails comes back, still open, with the reason.
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

/// Moves a stream to its writer. It ends, and drops the stream, when the writer has.
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

fn unread(error: &io::Error) -> WireError {
    WireError::new(ErrorKind::LocalIo, format!("cannot read standard input: {error}"))
        .hint("The command was killed there; -n sends no standard input.")
}
