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
            if at.is_over() {
                return at.end(host);
            }
            let begun = at.has_begun();
            tokio::select! {
                place = events.reserve(), if at.event.is_some() => {
                    if let (Ok(place), Some(event)) = (place, at.event.take()) {
                        place.send((self.place, event));
                    }
                }
                step = next(&mut at.child, begun), if at.awaits_step() => at.handle_step(step),
                (stream, chunk) = at.output.next(), if at.reads() => at.take(stream, chunk),
                notice = notices.next(), if at.hears && at.event.is_none() => {
                    at.hears = notice.is_some();
                    if let Some(Notice::Queued(_) | Notice::Busy(_)) = notice {
                        at.note_wait();
                    }
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
                () = until(at.ending.timeout()) => match at.ending {
                    Ending::Late { .. } => at.kill(),
                    Ending::None | Ending::Killed { .. } => return at.give_up(host),
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

/// Waits for the start of the command or, if it has `started`, for its end.
///
/// # Cancel safety
/// Nothing is lost if the future is dropped.
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
    phase: Phase,
    hears: bool,
    /// The failure on this side for which the command was killed.
    trouble: Option<WireError>,
    ending: Ending,
}

/// The phase of a command, by the words of its host.
#[derive(Debug)]
enum Phase {
    /// The command was sent; `waits` is true once the host said that it waits for its turn or its lock, or is busy.
    Sent { waits: bool },
    /// The command's process runs, under the name of its job, or the command will end without one.
    Begun { job: Option<String> },
    /// The command ended. Its output may still be on its way.
    Ended(Box<Report>),
}

/// The stages of ending a command that did not end by itself.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// The command is left to end by itself.
    None,
    /// The command was sent TERM, because its time was over. It is killed at `kill`.
    Late { kill: Option<Instant> },
    /// The command was killed, because its time or the run was over. It is given up at `give_up`.
    Killed { late: bool, give_up: Option<Instant> },
}

impl Ending {
    /// Returns when the next step is due.
    fn timeout(self) -> Option<Instant> {
        match self {
            Self::None => None,
            Self::Late { kill: at } | Self::Killed { give_up: at, .. } => at,
        }
    }

    /// Returns whether the time of the command was over.
    fn is_late(self) -> bool {
        matches!(self, Self::Late { .. } | Self::Killed { late: true, .. })
    }
}

impl<'a> Attending<'a> {
    fn new(client: &'a Client, mut child: Child) -> Self {
        let output = Outputs { stdout: child.stdout.take(), stderr: child.stderr.take() };
        Self {
            client,
            child,
            output,
            event: None,
            phase: Phase::Sent { waits: false },
            hears: true,
            trouble: None,
            ending: Ending::None,
        }
    }

    /// Returns whether the start, or that there was none, is known.
    fn has_begun(&self) -> bool {
        !matches!(self.phase, Phase::Sent { .. })
    }

    /// Returns whether the next word of the host can be taken: a start is told at once.
    fn awaits_step(&self) -> bool {
        match self.phase {
            Phase::Sent { .. } => self.event.is_none(),
            Phase::Begun { .. } => true,
            Phase::Ended(_) => false,
        }
    }

    fn handle_step(&mut self, step: Step) {
        match step {
            Step::Started(started) => {
                let job = started.as_ref().map(|started| started.job.clone());
                self.phase = Phase::Begun { job };
                self.event = started.map(FleetEvent::Started);
            }
            Step::Ended(report) => self.phase = Phase::Ended(report),
        }
    }

    /// Notes that the host has the command wait, which matters until it starts.
    fn note_wait(&mut self) {
        if let Phase::Sent { waits } = &mut self.phase {
            *waits = true;
        }
    }

    /// Returns whether output may be taken: after the start was told, and one piece at a time.
    fn reads(&self) -> bool {
        self.has_begun() && self.event.is_none() && self.output.are_open()
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
        if let Phase::Ended(_) = self.phase {
            return;
        }
        // Nothing further starts, wherever it waits.
        let stopped = matches!(control.stopped(), Some(Stop::Caller | Stop::Deadline));
        if stopped && let (Phase::Sent { waits: true }, Ending::None) = (&self.phase, self.ending) {
            self.kill();
        }
        if control.is_late()
            && let Ending::None = self.ending
        {
            self.child.signal(Signal::TERM);
            self.ending = Ending::Late { kill: Instant::now().checked_add(Child::PATIENCE) };
        }
        if control.is_killed() && !matches!(self.ending, Ending::Killed { .. }) {
            self.kill();
        }
    }

    fn kill(&mut self) {
        self.child.cancel();
        let give_up = Instant::now().checked_add(Child::LAST_WORD);
        self.ending = Ending::Killed { late: self.ending.is_late(), give_up };
    }

    /// Returns whether the command ended and all that came before is told.
    fn is_over(&self) -> bool {
        let told = self.event.is_none() && !self.output.are_open();
        told && matches!(self.phase, Phase::Ended(_))
    }

    /// Returns the end of a command whose host does not confirm it.
    fn give_up(mut self, host: &str) -> End {
        let job = match self.phase {
            Phase::Sent { .. } => None,
            Phase::Begun { job } => job,
            Phase::Ended(report) => report.job,
        };
        self.phase = Phase::Ended(Box::new(Report::unconfirmed(host, job)));
        self.end(host)
    }

    /// Returns the end of a command that is over.
    fn end(self, host: &str) -> End {
        let Phase::Ended(report) = self.phase else { return self.give_up(host) };
        let mut report = *report;
        if let Some(trouble) = self.trouble {
            // It was killed for that, and how it ended tells nothing of the command.
            report.outcome = Outcome::Unknown;
            report.error = Some(trouble);
        }
        let held_back = match report.outcome {
            Outcome::Exited | Outcome::Signaled if self.ending.is_late() => {
                report.outcome = Outcome::TimedOut;
                None
            }
            Outcome::NotStarted if !is_called_off(&report) => None,
            Outcome::NotStarted => match self.ending {
                Ending::None => None,
                Ending::Late { .. } | Ending::Killed { late: true, .. } => Some(Stop::Deadline),
                Ending::Killed { late: false, .. } => Some(Stop::Caller),
            },
            Outcome::TimedOut | Outcome::Exited | Outcome::Signaled | Outcome::Unknown => None,
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
