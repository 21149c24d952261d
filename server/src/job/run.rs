//! The phases of a job: waiting for a turn, running, ended.

use std::{os::unix::ffi::OsStrExt as _, pin::Pin, sync::Arc, time::Instant};

use rcmd_protocol::{
    frame::{Exit, Frame, Lock, Started, Stream},
    ids::{JobId, Key, RequestDigest},
    outcome::{Failure, Outcome},
    signal::Signal,
};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::{
    Beginning, Message, Shared, Sink, Wishes, ending, input::Input, linked::Order, output::Output,
};
use crate::{
    admission::{RunSlot, budget::Share, locks::LockGuard},
    audit, clock,
    config::{OnReload, limits},
    job::timers::{Due, Timers},
    policy::{AuthorizedRequest, Denial, Permit},
    process::{Ended, Process, TreeKill},
    trust::Peer,
};

/// A job, with the connection that has it at the moment.
pub(super) struct Job {
    pub(super) mailbox: mpsc::Receiver<Message>,
    pub(super) shared: Arc<Shared>,
    pub(super) id: JobId,
    pub(super) wishes: Wishes,
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
    /// What was permitted, as long as another policy may end it.
    pub(super) authorized: Option<AuthorizedRequest>,
    /// Why it is no longer permitted.
    pub(super) denial: Option<Denial>,
    held: Option<Share>,
    kept: Option<Key>,
    digest: RequestDigest,
    /// Its start in the audit, until its end is there.
    audited: Option<audit::Started>,
    pub(super) peer: Arc<Peer>,
    note: Option<String>,
}

/// What is to be run; used up by the start, since it may be large and need not be kept beside it.
pub(super) struct Asked {
    permit: Permit,
    lock: Option<Lock>,
    held: Share,
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

type Killing = Pin<Box<dyn Future<Output = TreeKill> + Send>>;

/// A running process, and what is being done to end it.
struct Running {
    process: Process,
    began: Instant,
    ended: Option<Ended>,
    reason: Option<Reason>,
    /// Whether it was told to end, so that what its leader leaves behind is to end with it.
    doomed: bool,
    killing: Option<Killing>,
    _turn: RunSlot,
    lock_guard: Option<LockGuard>,
    /// Whether something of its tree could not be killed.
    is_left: bool,
}

impl Job {
    pub(super) fn new(
        beginning: Beginning,
        mailbox: mpsc::Receiver<Message>,
        shared: Arc<Shared>,
    ) -> (Self, Asked) {
        let Beginning { id, kept, digest, permit, authorized, held, note, sink, wishes, lock } =
            beginning;
        let share = || Share::new(Arc::clone(&shared.budget));
        let algorithm = wishes.algorithm;
        let job = Self {
            input: Input::new(wishes.stdin, algorithm, share()),
            stdout: Output::new(Stream::Stdout, algorithm, wishes.timestamps, share()),
            stderr: Output::new(Stream::Stderr, algorithm, wishes.timestamps, share()),
            generation: sink.generation,
            sink: Some(sink),
            mailbox,
            shared,
            id,
            wishes,
            last_signal: 0,
            started_at: None,
            timers: Timers::default(),
            exit: None,
            exit_sent: false,
            authorized: Some(authorized),
            denial: None,
            held: None,
            kept,
            digest,
            audited: None,
            peer: Arc::clone(permit.peer()),
            note,
        };
        (job, Asked { permit, lock, held })
    }

    /// Lives the whole life; `on_end` is called when nothing runs any more and only the end is kept.
    pub(super) async fn live(mut self, asked: Asked, on_end: impl FnOnce(bool)) -> bool {
        let mut exit = match self.start(asked).await {
            Ok(running) => self.run(running).await,
            Err(failure) => ending::exit_without_process(self.started_at, failure),
        };
        self.note_end(&mut exit).await;
        self.exit = Some(exit);
        on_end(self.started_at.is_some());
        self.keep().await;
        self.started_at.is_some()
    }

    async fn start(&mut self, mut asked: Asked) -> Result<Running, Failure> {
        // Before the turn: who waits for a lock holds up nobody who needs none.
        let Some(lock) = asked.lock.take() else { return self.launch(asked).await };
        let lock_guard = self.wait_for_lock(&lock).await?;
        match self.launch(asked).await {
            Ok(running) => Ok(Running { lock_guard: Some(lock_guard), ..running }),
            Err(failure) => {
                lock_guard.release();
                Err(failure)
            }
        }
    }

    async fn launch(&mut self, asked: Asked) -> Result<Running, Failure> {
        let turn = self.wait_for_turn().await?;
        if let Some(key) = self.kept {
            let user = self.peer.user();
            self.shared.idempotency.begin(user, key, self.digest, &self.id).await?;
        }
        let permit = &asked.permit;
        let asked_for =
            self.authorized.as_ref().and_then(|authorized| authorized.request.user.as_deref());
        let user = asked_for.unwrap_or(self.shared.user.as_bytes());
        self.audited = Some(self.shared.audit.start(user, permit).await?);
        let mut process = match self.shared.processes.spawn(permit.plan()).await {
            Ok(process) => process,
            Err(error) => {
                if error.may_have_run() {
                    self.started_at = Some(clock::now_ms());
                }
                return Err(error.into());
            }
        };
        match self.shared.on_reload {
            OnReload::Keep => self.authorized = None,
            OnReload::End => self.held = Some(asked.held),
        }
        let started_at = clock::now_ms();
        self.started_at = Some(started_at);
        self.input.connect(process.stdin.take());
        self.stdout.connect(process.stdout.take());
        self.stderr.connect(process.stderr.take());
        let began = Instant::now();
        self.timers.started(self.wishes.timeout_ms, began);
        if let Some(sink) = &self.sink {
            sink.link.send(Frame::Started(Started {
                ch: sink.ch,
                job: self.id.clone(),
                digest: self.wishes.algorithm,
                started_at,
                note: self.note.take(),
            }));
        }
        debug!(job = %self.id, peer = %self.peer, pid = process.pid(), "started");
        Ok(Running {
            process,
            began,
            ended: None,
            reason: None,
            doomed: false,
            killing: None,
            _turn: turn,
            lock_guard: None,
            is_left: false,
        })
    }

    async fn wait_for_lock(&mut self, lock: &Lock) -> Result<LockGuard, Failure> {
        let waiter = self.shared.locks.enqueue(lock, self.peer.identity(), &self.id)?;
        if waiter.must_wait() {
            self.send(|ch| Frame::Queued { ch, position: waiter.position() as u64 });
        }
        self.wait_for(waiter.acquire()).await
    }

    async fn wait_for_turn(&mut self) -> Result<RunSlot, Failure> {
        let admission = Arc::clone(&self.shared.admission);
        let quota = self.shared.limits.load().quota_of(self.peer.identity());
        if let Some(turn) = admission.try_slot(self.peer.user(), &quota) {
            return Ok(turn);
        }
        let mut ticket = admission.enqueue(self.peer.user(), &quota)?;
        self.send(|ch| Frame::Queued { ch, position: ticket.position() as u64 });
        self.wait_for(ticket.slot()).await
    }

    /// Waits for what it needs to start, as long as anybody wants it to.
    async fn wait_for<T>(
        &mut self,
        what: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::pin!(what);
        loop {
            let gone_at = self.timers.next();
            tokio::select! {
                came = &mut what => return came,
                message = self.mailbox.recv() => match message.and_then(|m| self.take(m)) {
                    None | Some(Order::ReaderGone) => {}
                    Some(Order::Signal(_) | Order::Kill(_) | Order::Done) => {
                        return Err(ending::given_up("its client ended it while it waited for its turn"));
                    }
                    Some(Order::Term(Reason::Denied)) => return Err(self.denied()),
                    Some(Order::Term(_)) => return Err(ending::draining()),
                },
                () = at(gone_at) => {
                    return Err(ending::given_up("its client went away while it waited for its turn"));
                }
            }
        }
    }

    async fn run(&mut self, mut running: Running) -> Exit {
        self.deliver();
        loop {
            if !self.is_over(&running) {
                self.step(&mut running).await;
                self.deliver();
            } else if running.doomed {
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
                    self.obey(order, running);
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

    fn ended(&mut self, running: &mut Running, ended: Ended) {
        // Who was killed has not left what it held in order: what it leaves behind ends too.
        running.doomed |= running.lock_guard.is_some() && matches!(ended, Ended::Signal(_));
        running.ended = Some(ended);
        self.stdout.process_ended();
        self.stderr.process_ended();
    }

    fn obey(&mut self, order: Order, running: &mut Running) {
        match order {
            Order::Signal(signal) => {
                running.doomed |= asks_for_the_end(signal);
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
        running.doomed = true;
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
        running.doomed = false;
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
        let (stdout_bytes, stdout_digest) = self.stdout.totals();
        let (stderr_bytes, stderr_digest) = self.stderr.totals();
        let (code, signal) = match running.ended {
            Some(Ended::Code(code)) => (Some(code), None),
            Some(Ended::Signal(signal)) => (None, Some(signal)),
            Some(Ended::Lost) | None => (None, None),
        };
        let (outcome, failure) = match running.reason {
            Some(Reason::Timeout) => (Outcome::TimedOut, None),
            Some(Reason::Corrupt) => (Outcome::Unknown, Some(ending::corrupt())),
            Some(Reason::Lost) => (ending::ended_as(code, signal), Some(ending::lost())),
            Some(Reason::Stopping) => (ending::ended_as(code, signal), Some(ending::stopped())),
            Some(Reason::Denied) => (ending::ended_as(code, signal), Some(self.denied())),
            Some(Reason::Client) | None => (ending::ended_as(code, signal), None),
        };
        Exit {
            ch: 0,
            outcome,
            code,
            signal,
            failure,
            stdout_bytes,
            stderr_bytes,
            stdout_digest: Some(stdout_digest),
            stderr_digest: Some(stderr_digest),
            open: self.stdout.was_open() || self.stderr.was_open(),
            started_at: self.started_at,
            ended_at: clock::now_ms(),
            duration_ms: Some(
                u64::try_from(running.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            ),
            audit: None,
        }
    }

    /// Why it may run no longer.
    fn denied(&self) -> Failure {
        self.denial.clone().map_or_else(ending::draining, Failure::from)
    }

    async fn note_end(&mut self, exit: &mut Exit) {
        match (self.audited.take(), &self.denial, &exit.failure) {
            (Some(started), ..) => exit.audit = started.end(exit).map(Box::new),
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
            outcome = %exit.outcome,
            code = exit.code,
            signal = exit.signal.map(|signal| signal.to_string()),
            kind = exit.failure.as_ref().map(|failure| failure.kind.as_str()),
            "ended"
        );
        if let Some(key) = self.kept {
            self.shared.idempotency.end(self.peer.user(), key, exit).await;
        }
    }

    /// Keeps the end until the client has it, or for as long as it is retained.
    async fn keep(&mut self) {
        self.deliver();
        self.timers.ended();
        if self.sink.is_none() {
            self.timers.retain(self.shared.retain);
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
            self.deliver();
        }
    }
}

async fn killed(killing: &mut Option<Killing>) -> TreeKill {
    match killing {
        Some(killing) => killing.await,
        None => std::future::pending().await,
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Whether a client that sends this wants the command to be gone, daemons of it included.
fn asks_for_the_end(signal: Signal) -> bool {
    [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::KILL].contains(&signal)
}
