//! One target of a run, from its connection to its end.

use std::{fs::File, pin::pin, sync::Arc, time::Duration};

use rcmd_protocol::{
    frame::Stream,
    outcome::{ErrorKind, Outcome, WireError},
    signal::Signal,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep},
};

use super::{FleetEvent, MakeCommand, control::Control, rules::Stop};
use crate::{
    child::Child,
    client::Client,
    config::Config,
    error::Error,
    link::{
        connection::until,
        feed::Chunk,
        progress::{Notice, Started},
    },
    report::Report,
    stream::ChildOutput,
    target::Target,
};

mod ask;
mod input;

/// From TERM, at the deadline, to the kill.
const PATIENCE: Duration = Duration::from_secs(5);
/// From the kill to giving up on hearing of the end.
const LAST_WORD: Duration = Duration::from_secs(2);
/// The pause before a target is tried again, which doubles up to the longest.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What the targets of a run have in common.
pub(super) struct Errands {
    pub(super) config: Config,
    pub(super) targets: Vec<Target>,
    pub(super) command: Box<MakeCommand>,
    pub(super) input: Option<Arc<File>>,
    /// True if hosts are asked what they would permit, and run nothing.
    pub(super) asks: bool,
    pub(super) retries: u32,
    pub(super) credit: u64,
    pub(super) events: mpsc::Sender<(usize, FleetEvent)>,
    pub(super) control: watch::Receiver<Control>,
}

/// A target that ended.
pub(super) struct Done {
    pub(super) target: usize,
    /// True unless the command exited with 0, or would be permitted where that is all that was asked.
    pub(super) failed: bool,
}

impl Errands {
    /// Returns what one target is called.
    pub(super) fn host(&self, target: usize) -> String {
        self.targets.get(target).map(ToString::to_string).unwrap_or_default()
    }

    /// Returns what is to be done at one target.
    pub(super) fn one(self: &Arc<Self>, place: usize) -> Errand {
        let control = self.control.clone();
        let seen = *control.borrow();
        Errand { place, run: Arc::clone(self), control, seen }
    }
}

/// What is to be done at one target.
pub(super) struct Errand {
    place: usize,
    run: Arc<Errands>,
    control: watch::Receiver<Control>,
    /// What was told before.
    seen: Control,
}

/// How a target ended, and whether the run itself kept it from beginning.
struct End {
    report: Report,
    held_back: Option<Stop>,
}

impl From<Report> for End {
    fn from(report: Report) -> Self {
        Self { report, held_back: None }
    }
}

impl Errand {
    /// Returns what the schedule needs of the target once its end was told.
    ///
    /// # Cancel safety
    /// Dropped, it has the command killed on its host.
    pub(super) async fn carry_out(mut self) -> Done {
        self.tell(FleetEvent::Begun).await;
        let mut pause = PAUSE;
        let (mut end, mut client) = self.attempt().await;
        for _ in 0..self.run.retries {
            if end.held_back.is_some() || !may_help(&end.report) {
                break;
            }
            let failure = end.report.error.clone();
            self.tell(FleetEvent::Retried(failure.unwrap_or_else(lost))).await;
            close(client.take()).await;
            tokio::select! {
                () = sleep(pause) => {}
                _ = self.stopped() => break,
            }
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
            (end, client) = self.attempt().await;
        }
        let End { report, held_back } = end;
        let well = report.has_succeeded() || self.run.asks && report.error.is_none();
        self.tell(FleetEvent::Ended { report: Box::new(report), held_back }).await;
        // Only now: a host that says nothing more takes seconds of this.
        close(client).await;
        Done { target: self.place, failed: !well }
    }

    async fn tell(&self, event: FleetEvent) {
        // Where nobody listens the run was dropped, and this task with it.
        let _ = self.run.events.send((self.place, event)).await;
    }

    /// Waits until the run begins no further target, and returns why.
    async fn stopped(&mut self) -> Stop {
        let stopped = self.control.wait_for(|control| control.stopped().is_some()).await;
        stopped.ok().and_then(|control| control.stopped()).unwrap_or(Stop::Caller)
    }

    /// Returns the end of one attempt, and the connection, which is to be closed.
    async fn attempt(&mut self) -> (End, Option<Client>) {
        let run = Arc::clone(&self.run);
        let Some(target) = run.targets.get(self.place) else {
            return (Report::without_job("", Outcome::NotStarted, lost()).into(), None);
        };
        let host = target.to_string();
        let client = tokio::select! {
            client = Client::connect(&run.config, target) => client,
            // Nothing was sent yet.
            why = self.stopped() => {
                let report = held_back(&host, why);
                return (End { report, held_back: Some(why) }, None);
            }
        };
        let unstarted =
            |error: Error| Report::without_job(&host, Outcome::NotStarted, error.into()).into();
        match client {
            Err(error) => (unstarted(error), None),
            Ok(client) if self.run.asks => (self.ask(&host, &client).await, Some(client)),
            Ok(client) => {
                let end = match self.start(&client).await {
                    Err(error) => unstarted(error),
                    Ok(child) => self.attend(&host, &client, child).await,
                };
                (end, Some(client))
            }
        }
    }

    async fn start(&self, client: &Client) -> Result<Child, Error> {
        let mut command = (self.run.command)(self.place, client)?;
        command.credit(self.run.credit).spawn().await
    }

    /// Stays with a command until its end and all of its output are told.
    async fn attend(&mut self, host: &str, client: &Client, mut child: Child) -> End {
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

async fn close(client: Option<Client>) {
    if let Some(client) = client {
        client.close().await;
    }
}

/// What the host says about a command, in this order.
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

/// A command that was sent off, with what came of it so far.
struct Attending<'a> {
    client: &'a Client,
    child: Child,
    output: Outputs,
    /// What waits to be told.
    event: Option<FleetEvent>,
    /// True once the start, or that there was none, is known.
    started: bool,
    /// True once the host said that the command waits for its turn or its lock, or is busy.
    waits: bool,
    job: Option<String>,
    hears: bool,
    report: Option<Report>,
    /// What could not be done here, for which the command was killed.
    trouble: Option<WireError>,
    ending: Ending,
    /// When the next step of the ending is due.
    timeout: Option<Instant>,
}

/// How far the ending of a command has gone that did not end by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    /// Nobody ends it.
    None,
    /// Its time is over: it was sent TERM.
    Late,
    /// It was killed, because its time was over or because the run was.
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
            self.timeout = Instant::now().checked_add(PATIENCE);
        }
        if control.is_killed() && !matches!(self.ending, Ending::Killed { .. }) {
            self.kill();
        }
    }

    fn kill(&mut self) {
        self.child.cancel();
        self.ending = Ending::Killed { late: self.ending == Ending::Late };
        self.timeout = Instant::now().checked_add(LAST_WORD);
    }

    /// Returns the report of a command whose host does not confirm its end.
    fn handle_timeout(&mut self, host: &str) -> Option<Report> {
        self.timeout = None;
        if self.ending == Ending::Late {
            self.kill();
            return None;
        }
        let message = format!("{host} did not confirm that the command was ended");
        let failure = WireError::new(ErrorKind::Lost, message)
            .hint("Look on the host for what became of the command.");
        let report = Report::without_job(host, Outcome::Unknown, failure);
        Some(Report { job: self.job.take(), ..report })
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

/// Returns whether trying again can't run anything twice, and may end otherwise.
fn may_help(report: &Report) -> bool {
    let kind = report.error.as_ref().map(|error| &error.kind);
    let passing = matches!(
        kind,
        Some(
            ErrorKind::Unreachable
                | ErrorKind::Tls
                | ErrorKind::Busy
                | ErrorKind::Resources
                | ErrorKind::Lost
                | ErrorKind::ServerStopped
        )
    );
    report.outcome == Outcome::NotStarted && report.retry_safe && passing
}

/// Returns whether a command that did not start may owe that to the run, and not to its host's answer.
fn is_called_off(report: &Report) -> bool {
    let kind = report.error.as_ref().map(|error| &error.kind);
    matches!(kind, None | Some(ErrorKind::Busy | ErrorKind::Lost | ErrorKind::HeldBack))
}

fn lost() -> WireError {
    WireError::new(ErrorKind::Lost, "nothing is known of it")
}

/// Returns the report of a target that the run itself did not begin.
pub(super) fn held_back(host: &str, why: Stop) -> Report {
    let failure = WireError::new(ErrorKind::HeldBack, why.why());
    Report::without_job(host, Outcome::NotStarted, failure)
}
