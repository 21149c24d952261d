//! The phases of a job: waiting for a turn, running, ended.

use std::{mem, pin::Pin, sync::Arc, time::Instant};

use rcmd_protocol::{
    frame::{Exit, Frame, Lock, Stream},
    ids::{JobId, Key, RequestDigest},
    outcome::{Outcome, WireError},
    signal::Signal,
};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::{
    JobSpec, Message, Prepared, Shared, Sink, StartOptions, delivery::Order, exit, input::Input,
    output::Output,
};
use crate::{
    admission::{RunSlot, budget::Share, locks::LockGuard},
    audit, clock,
    config::limits,
    job::timers::{Due, Timers},
    policy::{AuthorizedRequest, Denial, Rules},
    process::{Process, ProcessExit, TreeKill},
    request::authorize::Refused,
    trust::Peer,
};

/// A job, with the connection that has it at the moment.
pub(super) struct Job {
    pub(super) mailbox: mpsc::Receiver<Message>,
    pub(super) shared: Arc<Shared>,
    pub(super) id: JobId,
    pub(super) options: StartOptions,
    pub(super) sink: Option<Sink>,
    pub(super) generation: u64,
    pub(super) input: Input,
    pub(super) stdout: Output,
    pub(super) stderr: Output,
    pub(super) last_signal: u64,
    pub(super) started_at: Option<u64>,
    pub(super) timers: Timers,
    pub(super) exit: Option<Exit>,
    pub(super) exit_sent: bool,
    /// Whether it is being judged whether it may run.
    pub(super) is_preparing: bool,
    /// Rules that came meanwhile.
    pub(super) newer: Option<Arc<Rules>>,
    /// What came for the process before there was one, or when there was none any more.
    pub(super) heard: Vec<Order>,
    /// What was permitted, as long as another policy may end it.
    pub(super) authorized: Option<AuthorizedRequest>,
    /// Why it is no longer permitted.
    pub(super) denial: Option<Denial>,
    pub(super) held: Option<Share>,
    pub(super) kept: Option<Key>,
    pub(super) digest: RequestDigest,
    /// Its start in the audit, until its end is there.
    pub(super) audited: Option<audit::AuditedStart>,
    pub(super) peer: Arc<Peer>,
    pub(super) note: Option<String>,
}

/// Why the server ends a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reason {
    /// Its time was up.
    Timeout,
    /// Its client asked for it, or reads no more.
    Client,
    /// Its client is gone and the grace is over.
    Lost,
    /// Its client sent an input whose digest differs.
    Corrupt,
    /// The server stops.
    Stopping,
    /// The policy no longer permits it.
    Denied,
}

pub(super) type Killing = Pin<Box<dyn Future<Output = TreeKill> + Send>>;

/// A running process, and what is being done to end it.
pub(super) struct Running {
    pub(super) process: Process,
    pub(super) began: Instant,
    pub(super) ended: Option<ProcessExit>,
    pub(super) reason: Option<Reason>,
    /// Whether it was told to end, so that what its leader leaves behind is to end with it.
    pub(super) kill_tree_at_exit: bool,
    pub(super) killing: Option<Killing>,
    pub(super) _turn: RunSlot,
    pub(super) lock_guard: Option<LockGuard>,
    /// Whether something of its tree could not be killed.
    pub(super) is_left: bool,
}

impl Job {
    /// A job that nothing is known of yet, and the lock that it wants.
    pub(super) fn new(
        spec: JobSpec,
        mailbox: mpsc::Receiver<Message>,
        shared: Arc<Shared>,
    ) -> (Self, Option<Lock>) {
        let JobSpec { id, kept, digest, peer, sink, options, lock } = spec;
        let share = || Share::new(Arc::clone(&shared.budget));
        let algorithm = options.algorithm;
        let job = Self {
            input: Input::new(options.stdin, algorithm, share()),
            stdout: Output::new(Stream::Stdout, algorithm, options.timestamps, share()),
            stderr: Output::new(Stream::Stderr, algorithm, options.timestamps, share()),
            generation: sink.generation,
            sink: Some(sink),
            mailbox,
            shared,
            id,
            options,
            last_signal: 0,
            started_at: None,
            timers: Timers::default(),
            exit: None,
            exit_sent: false,
            is_preparing: true,
            newer: None,
            heard: Vec::new(),
            authorized: None,
            denial: None,
            held: None,
            kept,
            digest,
            audited: None,
            peer,
            note: None,
        };
        (job, lock)
    }

    /// Lives the whole life; `on_end` is called when nothing runs any more and only the end is kept.
    pub(super) async fn live(
        mut self,
        preparing: impl Future<Output = Result<Prepared, Refused>>,
        lock: Option<Lock>,
        on_end: impl FnOnce(bool),
    ) -> bool {
        let prepared = match self.prepare(preparing).await {
            Ok(prepared) => prepared,
            Err(failure) => {
                let exit = self.note_end(Exit::not_started(failure, clock::now_ms()));
                self.exit = Some(exit);
                on_end(false);
                self.dismiss().await;
                return false;
            }
        };
        let exit = match self.start(prepared, lock).await {
            Ok(running) => self.run(running).await,
            Err(failure) => exit::exit_without_process(self.started_at, failure),
        };
        let exit = self.note_end(exit);
        self.note_end_of_key(&exit).await;
        self.exit = Some(exit);
        on_end(self.started_at.is_some());
        self.keep().await;
        self.started_at.is_some()
    }

    async fn run(&mut self, mut running: Running) -> Exit {
        self.flush();
        loop {
            if !self.is_over(&running) {
                self.step(&mut running).await;
                self.flush();
            } else if running.kill_tree_at_exit {
                self.sweep(&mut running);
            } else {
                break;
            }
        }
        running.process.reap();
        if let Some(lock_guard) = running.lock_guard.take().filter(|_| !running.is_left) {
            lock_guard.release();
        }
        // Nobody reads it any more, and an end that is kept for its client holds no descriptor.
        self.input.discard();
        self.exit_of(&running)
    }

    fn is_over(&self, running: &Running) -> bool {
        running.ended.is_some()
            && running.killing.is_none()
            && self.stdout.is_closed()
            && self.stderr.is_closed()
    }

    async fn step(&mut self, running: &mut Running) {
        let budget = Arc::clone(&self.shared.budget);
        let deadline = self.timers.next();
        tokio::select! {
            message = self.mailbox.recv() => {
                if let Some(order) = message.and_then(|message| self.take(message)) {
                    self.apply(order, running);
                }
            }
            ended = running.process.exited(), if running.ended.is_none() => {
                self.ended(running, ended);
            }
            () = self.stdout.read(&budget), if self.stdout.wants(&budget) => {}
            () = self.stderr.read(&budget), if self.stderr.wants(&budget) => {}
            closed = self.input.write(), if self.input.wants() => {
                if closed {
                    self.send(|ch| Frame::Stop { ch, stream: Stream::Stdin });
                }
            }
            kill = killed(&mut running.killing), if running.killing.is_some() => {
                running.killing = None;
                self.tree_is_gone(&kill);
                running.is_left = !kill.left.is_empty();
            }
            () = at(deadline) => self.expire(running),
        }
        // Its pipes close a moment before it is seen to end: then both ends and the exit leave as one.
        if running.ended.is_none() && self.stdout.is_closed() && self.stderr.is_closed() {
            let ended = running.process.has_exited();
            ended.into_iter().for_each(|ended| self.ended(running, ended));
        }
        if running.ended.is_some() && (self.stdout.is_held_open() || self.stderr.is_held_open()) {
            self.timers.pipe_held();
        }
    }

    fn ended(&mut self, running: &mut Running, ended: ProcessExit) {
        // Who was killed has not left what it held in order: what it leaves behind ends too.
        running.kill_tree_at_exit |=
            running.lock_guard.is_some() && matches!(ended, ProcessExit::Signal(_));
        running.ended = Some(ended);
        self.stdout.process_ended();
        self.stderr.process_ended();
    }

    pub(super) fn apply(&mut self, order: Order, running: &mut Running) {
        match order {
            Order::Signal(signal) => {
                running.kill_tree_at_exit |= asks_for_the_end(signal);
                running.process.signal_group(signal);
            }
            Order::Kill(reason) => self.kill(running, reason),
            Order::Term(reason) => self.terminate(running, reason),
            Order::ReaderGone => self.timers.reader_gone(),
            // A client that is done before the end has given the command up.
            Order::Done => self.kill(running, Reason::Client),
        }
    }

    fn expire(&mut self, running: &mut Running) {
        for due in self.timers.expired(Instant::now()) {
            match due {
                Due::Timeout => self.terminate(running, Reason::Timeout),
                Due::ReaderGone => self.terminate(running, Reason::Client),
                Due::Kill => self.kill(running, running.reason.unwrap_or(Reason::Client)),
                Due::Grace => self.kill(running, Reason::Lost),
                Due::PipeHeld => {
                    // Nothing was said of who holds it, so whatever is left of the tree goes.
                    self.stdout.give_up();
                    self.stderr.give_up();
                    self.sweep(running);
                }
            }
        }
    }

    fn terminate(&mut self, running: &mut Running, reason: Reason) {
        if running.ended.is_none() {
            running.reason.get_or_insert(reason);
        }
        let tree = running.process.tree();
        let grace = match reason {
            Reason::Stopping => limits::DRAIN_TERM_TO_KILL,
            _ => limits::TERM_TO_KILL,
        };
        running.kill_tree_at_exit = true;
        running.process.signal_group(Signal::TERM);
        tree.terminate();
        self.timers.kill_in(grace);
    }

    fn kill(&mut self, running: &mut Running, reason: Reason) {
        if running.ended.is_none() {
            running.reason.get_or_insert(reason);
        }
        self.sweep(running);
    }

    fn sweep(&mut self, running: &mut Running) {
        running.kill_tree_at_exit = false;
        self.timers.killing();
        let tree = running.process.tree();
        running.killing.get_or_insert_with(|| Box::pin(async move { tree.kill().await }));
    }

    // Only now may standard input close: before, a command could have taken it for its end.
    fn tree_is_gone(&mut self, kill: &TreeKill) {
        self.input.discard();
        if !kill.left.is_empty() {
            warn!(job = %self.id, left = ?kill.left, "processes could not be killed");
        }
    }

    fn exit_of(&mut self, running: &Running) -> Exit {
        let (stdout, stderr) = (self.stdout.totals(), self.stderr.totals());
        let (code, signal) = match running.ended {
            Some(ProcessExit::Code(code)) => (Some(code), None),
            Some(ProcessExit::Signal(signal)) => (None, Some(signal)),
            Some(ProcessExit::Lost) | None => (None, None),
        };
        let (outcome, failure) = match running.reason {
            Some(Reason::Timeout) => (Outcome::TimedOut, None),
            Some(Reason::Corrupt) => (Outcome::Unknown, Some(exit::corrupt())),
            Some(Reason::Lost) => (exit::ended_as(code, signal), Some(exit::lost())),
            Some(Reason::Stopping) => (exit::ended_as(code, signal), Some(exit::stopped())),
            Some(Reason::Denied) => (exit::ended_as(code, signal), Some(self.denied())),
            Some(Reason::Client) | None => (exit::ended_as(code, signal), None),
        };
        let now = clock::now_ms();
        // Without a status nothing is proved, whatever the reason was.
        let exit = Exit::new(outcome, code, signal, failure, now)
            .unwrap_or_else(|_| Exit::unknown(exit::untold(), now));
        let ran_for = u64::try_from(running.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        exit.with_output(stdout, stderr)
            .with_open(self.stdout.was_open() || self.stderr.was_open())
            .with_times(self.started_at, Some(ran_for))
    }

    /// Why it may run no longer.
    pub(super) fn denied(&self) -> WireError {
        self.denial.clone().map_or_else(exit::draining, WireError::from)
    }

    fn note_end(&mut self, mut exit: Exit) -> Exit {
        match (self.audited.take(), &self.denial, exit.failure()) {
            (Some(started), ..) => {
                let head = started.end(&exit);
                exit = exit.with_audit(head);
            }
            (None, Some(denial), _) => {
                self.shared.audit.denied(&self.peer, Some(&self.id), denial);
            }
            (None, None, Some(failure)) => {
                self.shared.audit.refused(&self.peer, &self.id, failure);
            }
            (None, None, None) => {}
        }
        debug!(
            job = %self.id,
            peer = %self.peer,
            outcome = %exit.outcome(),
            code = exit.code(),
            signal = exit.signal().map(|signal| signal.to_string()),
            kind = exit.failure().map(|failure| failure.kind.as_str()),
            "ended"
        );
        exit
    }

    async fn note_end_of_key(&mut self, exit: &Exit) {
        let Some(key) = self.kept else { return };
        let (shared, peer) = (Arc::clone(&self.shared), Arc::clone(&self.peer));
        self.hear_during(shared.idempotency.end(peer.user(), key, exit)).await;
    }

    /// Tells those who are there that nothing runs. Nothing is kept: whoever asks again starts again.
    async fn dismiss(&mut self) {
        self.flush();
        self.mailbox.close();
        while let Some(message) = self.mailbox.recv().await {
            self.take(message);
            self.flush();
        }
    }

    /// Keeps the end until the client has it, or for as long as it is retained.
    async fn keep(&mut self) {
        self.flush();
        self.timers.ended();
        if self.sink.is_none() {
            self.timers.retain(self.shared.retain);
        }
        if mem::take(&mut self.heard).contains(&Order::Done) {
            return;
        }
        loop {
            let until = self.timers.next();
            tokio::select! {
                message = self.mailbox.recv() => {
                    let Some(message) = message else { return };
                    if matches!(self.take(message), Some(Order::Done)) {
                        return;
                    }
                }
                () = at(until) => return,
            }
            self.flush();
        }
    }
}

async fn killed(killing: &mut Option<Killing>) -> TreeKill {
    match killing {
        Some(killing) => killing.await,
        None => std::future::pending().await,
    }
}

pub(super) async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Whether a client that sends this wants the command to be gone, daemons of it included.
fn asks_for_the_end(signal: Signal) -> bool {
    [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::KILL].contains(&signal)
}
