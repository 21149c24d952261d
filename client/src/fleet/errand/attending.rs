//! Stays with a command that was sent to a target: its streams, its end, what the run tells it.

use std::pin::pin;

use rcmd_protocol::{
    frame::Stream,
    outcome::{ErrorKind, Outcome, WireError},
    signal::Signal,
};
use tokio::time::Instant;

use super::{End, Errand, held_back, input};
use crate::{
    child::Child,
    client::Client,
    fleet::{FleetEvent, control::Control, rules::Stop},
    link::{connection::until, feed::Chunk, notices::Notice, progress::Started},
    report::Report,
    stream::ChildOutput,
};

impl Errand {
    /// Stays with a command until its end and all of its output are told.
    pub(super) async fn attend(&mut self, host: &str, client: &Client, mut child: Child) -> End {
        let mut notices = child.notices();
        let mut input = pin!(input::send(self.run.input.clone(), child.stdin.take()));
        let mut at = Attending::new(client, child);
        let mut reading = true;
        let events = self.run.events.clone();
        self.obey(&mut at);
        loop {
            if let Some(report) = at.ended() {
                return at.end(host, report);
            }
            tokio::select! {
                place = events.reserve(), if at.event.is_some() => {
                    if let (Ok(place), Some(event)) = (place, at.event.take()) {
                        place.send((self.place, event));
                    }
                }
                step = next(&mut at.child, at.started), if at.awaits_step() => at.handle_step(step),
                (stream, chunk) = at.output.next(), if at.reads() => at.take(stream, chunk),
                notice = notices.next(), if at.hears && at.event.is_none() => {
                    at.hears = notice.is_some();
                    at.waits |= matches!(notice, Some(Notice::Queued(_) | Notice::Busy(_)));
                    at.event = notice.map(FleetEvent::Notice);
                    self.obey(&mut at);
                }
                failed = &mut input, if reading => {
                    reading = false;
                    if let Some((stdin, failure)) = failed {
                        at.spoil(failure);
                        // Only now: what ends with the command killed is no end of file.
                        drop(stdin);
                    }
                }
                Ok(()) = self.control.changed() => self.obey(&mut at),
                () = until(at.timeout) => if let Some(report) = at.handle_timeout(host) {
                    return at.end(host, report);
                },
            }
        }
    }

    /// Carries out what was told since the last time.
    fn obey(&mut self, at: &mut Attending<'_>) {
        let control = *self.control.borrow_and_update();
        at.obey(&control, &self.seen);
        self.seen = control;
    }
}

/// A word of the host about a command, in this order.
enum Step {
    Started(Option<Started>),
    Ended(Box<Report>),
}

/// # Cancel safety
/// Nothing is lost when it is dropped.
async fn next(child: &mut Child, started: bool) -> Step {
    match started {
        false => Step::Started(child.started().await),
        true => Step::Ended(Box::new(child.wait().await)),
    }
}

/// The two streams of a command.
struct Outputs {
    stdout: Option<ChildOutput>,
    stderr: Option<ChildOutput>,
}

impl Outputs {
    /// Waits for the next piece of either; none is the end of that stream.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    async fn next(&mut self) -> (Stream, Option<Chunk>) {
        let Self { stdout, stderr } = self;
        tokio::select! {
            chunk = chunk(stdout) => (Stream::Stdout, chunk),
            chunk = chunk(stderr) => (Stream::Stderr, chunk),
        }
    }

    fn are_open(&self) -> bool {
        self.stdout.is_some() || self.stderr.is_some()
    }
}

async fn chunk(stream: &mut Option<ChildOutput>) -> Option<Chunk> {
    match stream {
        Some(stream) => stream.chunk().await,
        None => std::future::pending().await,
    }
}

/// A command that was sent to its target, with what came of it so far.
struct Attending<'a> {
    client: &'a Client,
    child: Child,
    output: Outputs,
    /// An event that waits to be told.
    event: Option<FleetEvent>,
    /// True once the start, or that there was none, is known.
    started: bool,
    /// True once the host said that the command waits for its turn or its lock, or is busy.
    waits: bool,
    job: Option<String>,
    hears: bool,
    report: Option<Report>,
    /// The failure on this side for which the command was killed.
    trouble: Option<WireError>,
    ending: Ending,
    /// The time at which the next step of the ending is due.
    timeout: Option<Instant>,
}

/// The stages of ending a command that did not end by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    /// The command is left to end by itself.
    None,
    /// The command was sent TERM, because its time was over.
    Late,
    /// The command was killed, because its time or the run was over.
    Killed { late: bool },
}

impl<'a> Attending<'a> {
    fn new(client: &'a Client, mut child: Child) -> Self {
        let output = Outputs { stdout: child.stdout.take(), stderr: child.stderr.take() };
        Self {
            client,
            child,
            output,
            event: None,
            started: false,
            waits: false,
            job: None,
            hears: true,
            report: None,
            trouble: None,
            ending: Ending::None,
            timeout: None,
        }
    }

    /// Returns whether the next word of the host can be taken: a start is told at once.
    fn awaits_step(&self) -> bool {
        if self.started { self.report.is_none() } else { self.event.is_none() }
    }

    fn handle_step(&mut self, step: Step) {
        match step {
            Step::Started(started) => {
                self.started = true;
                self.job = started.as_ref().map(|started| started.job.clone());
                self.event = started.map(FleetEvent::Started);
            }
            Step::Ended(report) => self.report = Some(*report),
        }
    }

    /// Returns whether output may be taken: after the start was told, and one piece at a time.
    fn reads(&self) -> bool {
        self.started && self.event.is_none() && self.output.are_open()
    }

    fn take(&mut self, stream: Stream, chunk: Option<Chunk>) {
        match (stream, chunk) {
            (stream, Some(chunk)) => self.event = Some(FleetEvent::Output { stream, chunk }),
            (Stream::Stderr, None) => self.output.stderr = None,
            (_, None) => self.output.stdout = None,
        }
    }

    fn spoil(&mut self, failure: WireError) {
        self.child.cancel();
        self.trouble.get_or_insert(failure);
    }

    fn obey(&mut self, control: &Control, seen: &Control) {
        if let Some(signal) = control.signal_after(seen) {
            self.child.signal(signal);
        }
        match (seen.is_suspended(), control.is_suspended()) {
            (false, true) => self.client.suspend(),
            (true, false) => self.client.resume(),
            _ => {}
        }
        // What has ended is not ended again, although its output may still be on its way.
        if self.report.is_some() {
            return;
        }
        // Nothing further starts, wherever it waits.
        let stopped = matches!(control.stopped(), Some(Stop::Caller | Stop::Deadline));
        if stopped && self.waits && !self.started && self.ending == Ending::None {
            self.kill();
        }
        if control.is_late() && self.ending == Ending::None {
            self.child.signal(Signal::TERM);
            self.ending = Ending::Late;
            self.timeout = Instant::now().checked_add(Child::PATIENCE);
        }
        if control.is_killed() && !matches!(self.ending, Ending::Killed { .. }) {
            self.kill();
        }
    }

    fn kill(&mut self) {
        self.child.cancel();
        self.ending = Ending::Killed { late: self.ending == Ending::Late };
        self.timeout = Instant::now().checked_add(Child::LAST_WORD);
    }

    /// Returns the report of a command whose host does not confirm its end.
    fn handle_timeout(&mut self, host: &str) -> Option<Report> {
        self.timeout = None;
        if self.ending == Ending::Late {
            self.kill();
            return None;
        }
        Some(Report::unconfirmed(host, self.job.take()))
    }

    /// Takes the report when all that came before it is told.
    fn ended(&mut self) -> Option<Report> {
        let told = self.event.is_none() && !self.output.are_open();
        if told { self.report.take() } else { None }
    }

    fn end(self, host: &str, mut report: Report) -> End {
        if let Some(trouble) = self.trouble {
            // It was killed for that, and how it ended tells nothing of the command.
            report.outcome = Outcome::Unknown;
            report.error = Some(trouble);
        }
        let late = matches!(self.ending, Ending::Late | Ending::Killed { late: true });
        let held_back = match report.outcome {
            Outcome::Exited | Outcome::Signaled if late => {
                report.outcome = Outcome::TimedOut;
                None
            }
            Outcome::NotStarted if !is_called_off(&report) => None,
            Outcome::NotStarted if late => Some(Stop::Deadline),
            Outcome::NotStarted if self.ending != Ending::None => Some(Stop::Caller),
            _ => None,
        };
        if let Some(why) = held_back {
            // Whatever its host last said, it is the run that did not wait.
            report.error = self::held_back(host, why).error;
        }
        End { report, held_back }
    }
}

/// Returns whether a command that did not start may owe that to the run, and not to its host's answer.
fn is_called_off(report: &Report) -> bool {
    let kind = report.error.as_ref().map(|error| &error.kind);
    matches!(kind, None | Some(ErrorKind::Busy | ErrorKind::Lost | ErrorKind::HeldBack))
}
