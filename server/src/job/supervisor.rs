//! The half of a job that has the process: its streams, its deadlines and its tree, from start to
//! end.
//!
//! ```text
//!            its status is there,                the tree is gone,
//!            or it was killed                    pipes closed
//!  Running ---------------------> (its tree is killed) ----------------> Exited
//!      |                                                                    ^
//!      +--------------------------------------------------------------------+
//!                       ended by itself, and pipes closed
//! ```
//!
//! It knows nothing of connections and frames: it takes [`Control`]s and returns [`Event`]s.

mod input;
mod output;
#[cfg(test)]
mod tests;
mod timers;

use std::{collections::VecDeque, mem, pin::Pin, time::Instant};

use bytes::Bytes;
use rcmd_certs::clock;
use rcmd_protocol::signal::Signal;

pub(super) use self::input::InputWriter;
use self::{
    input::Written,
    output::OutputReader,
    timers::{Due, Timers},
};
use super::{
    action::{Control, Event, Exited, OutputStream, Reason, Room},
    at,
};
use crate::{
    config::limits,
    process::{Process, ProcessExit, Survivor, TreeKill},
};

/// The maximum number of events of one step: output, both ends, the input's end, the exit.
const EVENTS: usize = 8;

/// The terms by which a process is supervised.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// The time in milliseconds after which it is ended; 0 for never.
    pub(super) timeout_ms: u64,
    /// True if output carries the time at which it was read.
    pub(super) timestamps: bool,
    /// True if it holds a lock. A command that is killed has not tidied up what the lock protects,
    /// so the processes that it leaves must end too.
    pub(super) holds_lock: bool,
}

/// A process, and the state of ending it.
pub(super) struct Supervisor {
    process: Process,
    terms: Terms,
    began: Instant,
    status: Option<ProcessExit>,
    reason: Option<Reason>,
    tree: TreeState,
    /// True once the whole tree must end, and not only the process.
    is_to_end: bool,
    stdout: OutputReader,
    stderr: OutputReader,
    input: InputWriter,
    timers: Timers,
    events: VecDeque<Event>,
    is_over: bool,
}

/// The treatment of the processes that a command started.
enum TreeState {
    /// The processes are left alone: those that outlive the command are daemons.
    Left,
    /// The processes are killed once the command has ended.
    KillAtExit,
    /// The processes are being killed.
    Killing(Pin<Box<dyn Future<Output = TreeKill> + Send>>),
    /// The processes were killed, except for these.
    Killed(Vec<Survivor>),
}

impl Supervisor {
    /// Takes over a process that has started. `input` holds what arrived for it before.
    pub(super) fn new(mut process: Process, terms: Terms, mut input: InputWriter) -> Self {
        let began = Instant::now();
        let mut timers = Timers::default();
        timers.started(terms.timeout_ms, began);
        input.connect(process.stdin.take());
        let mut events = VecDeque::with_capacity(EVENTS);
        events.push_back(Event::Started(clock::now_ms()));
        Self {
            stdout: OutputReader::new(process.stdout.take(), terms.timestamps),
            stderr: OutputReader::new(process.stderr.take(), terms.timestamps),
            process,
            terms,
            began,
            status: None,
            reason: None,
            tree: TreeState::Left,
            is_to_end: false,
            input,
            timers,
            events,
            is_over: false,
        }
    }

    /// Returns the process ID, for the log.
    pub(super) fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// Removes and returns the next event to report.
    pub(super) fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Obeys an order.
    pub(super) fn apply(&mut self, control: Control) {
        match control {
            Control::Signal(signal) => {
                if asks_for_the_end(signal) {
                    self.kill_tree_at_exit();
                }
                self.process.signal_group(signal);
            }
            Control::Kill(reason) => self.kill(reason),
            Control::Terminate(reason) => self.terminate(reason),
            Control::ReaderGone(OutputStream::Stdout) => {
                self.stdout.close();
                self.timers.reader_gone();
            }
            Control::ReaderGone(OutputStream::Stderr) => self.stderr.close(),
            Control::InputData(bytes) => self.input.push(bytes),
            Control::InputEnd => self.input.end(),
        }
        self.settle();
    }

    /// Waits until something happens to the process or is due, and handles it.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is lost.
    pub(super) async fn step(&mut self, room: Room) {
        let deadline = self.timers.next();
        let keeps = room.keeps_blocks;
        tokio::select! {
            status = self.process.exited(), if self.status.is_none() => self.ended(status),
            read = self.stdout.read(room.stdout, keeps), if self.stdout.wants(room.stdout) => {
                self.read(OutputStream::Stdout, read);
            }
            read = self.stderr.read(room.stderr, keeps), if self.stderr.wants(room.stderr) => {
                self.read(OutputStream::Stderr, read);
            }
            written = self.input.write(), if self.input.wants() => self.events.push_back(match written {
                Written::Bytes(count) => Event::InputTaken(count as u64),
                Written::Closed => Event::InputClosed,
            }),
            killed = self.tree.killed(), if self.tree.is_being_killed() => self.tree_is_gone(killed),
            () = at(deadline) => self.expire(),
        }
        self.settle();
    }

    fn read(&mut self, stream: OutputStream, (bytes, time): (Bytes, Option<u64>)) {
        if !bytes.is_empty() {
            self.events.push_back(Event::Output { stream, bytes, time });
        }
    }

    fn ended(&mut self, status: ProcessExit) {
        if self.terms.holds_lock && matches!(status, ProcessExit::Signal(_)) {
            self.kill_tree_at_exit();
        }
        self.status = Some(status);
        self.stdout.process_ended();
        self.stderr.process_ended();
    }

    /// Acts on the changes of a step: closes, ends, kills or finishes what is due.
    fn settle(&mut self) {
        let closed = |this: &Self| this.stdout.is_closed() && this.stderr.is_closed();
        // The pipes close a moment before the process is seen to end. Checked here, both ends and
        // the exit are sent together.
        if self.status.is_none()
            && closed(self)
            && let Some(status) = self.process.has_exited()
        {
            self.ended(status);
        }
        if self.status.is_some() && (self.stdout.is_held_open() || self.stderr.is_held_open()) {
            self.timers.pipe_held();
        }
        let ends = [
            (OutputStream::Stdout, self.stdout.end_to_tell()),
            (OutputStream::Stderr, self.stderr.end_to_tell()),
        ];
        for (stream, end) in ends {
            self.events.extend(end.map(|is_open| Event::OutputEnded { stream, is_open }));
        }
        match (&self.tree, self.status) {
            (TreeState::KillAtExit, Some(_)) if closed(self) => self.kill_tree(),
            (TreeState::Left | TreeState::Killed(_), Some(status)) if closed(self) => {
                self.finish(status);
            }
            // The process itself could not be killed and may live for ever, so it is given up.
            (TreeState::Killed(left), None) if left.iter().any(|left| left.pid == self.pid()) => {
                self.ended(ProcessExit::Lost);
                self.settle();
            }
            _ => {}
        }
    }

    fn finish(&mut self, status: ProcessExit) {
        if mem::replace(&mut self.is_over, true) {
            return;
        }
        self.process.reap();
        // Nobody reads the input any longer, and an exit that is kept for its client must hold no
        // descriptor.
        self.drop_input();
        let left = match mem::replace(&mut self.tree, TreeState::Left) {
            TreeState::Killed(left) => left,
            _ => Vec::new(),
        };
        let (reason, ran_for, was_to_end) = (self.reason, self.began.elapsed(), self.is_to_end);
        self.events.push_back(Event::Exited(Exited { status, reason, ran_for, left, was_to_end }));
    }

    fn expire(&mut self) {
        for due in self.timers.expired(Instant::now()) {
            match due {
                Due::Timeout => self.terminate(Reason::Timeout),
                Due::ReaderGone => self.terminate(Reason::Client),
                Due::Kill => self.kill(self.reason.unwrap_or(Reason::Client)),
                Due::PipeHeld => {
                    // Nobody knows who holds the pipe, so all that is left of the tree is killed.
                    self.stdout.give_up();
                    self.stderr.give_up();
                    if !matches!(self.tree, TreeState::Killed(_)) {
                        self.kill_tree();
                    }
                }
            }
        }
    }

    /// Notes the reason for ending the process, unless it has ended already or has a reason.
    fn give_reason(&mut self, reason: Reason) {
        if self.status.is_none() {
            self.reason.get_or_insert(reason);
        }
    }

    fn terminate(&mut self, reason: Reason) {
        self.give_reason(reason);
        let grace = match reason {
            Reason::Stopping => limits::DRAIN_TERM_TO_KILL,
            _ => limits::TERM_TO_KILL,
        };
        self.kill_tree_at_exit();
        self.process.signal_group(Signal::TERM);
        self.process.tree().terminate();
        self.timers.kill_in(grace);
    }

    fn kill(&mut self, reason: Reason) {
        self.give_reason(reason);
        self.is_to_end = true;
        self.kill_tree();
    }

    fn kill_tree_at_exit(&mut self) {
        self.is_to_end = true;
        if matches!(self.tree, TreeState::Left) {
            self.tree = TreeState::KillAtExit;
        }
    }

    fn kill_tree(&mut self) {
        self.timers.killing();
        if !self.tree.is_being_killed() {
            let tree = self.process.tree();
            self.tree = TreeState::Killing(Box::pin(async move { tree.kill().await }));
        }
    }

    // Standard input may close only now: before, the command could have taken that for the end of
    // its input.
    fn tree_is_gone(&mut self, killed: TreeKill) {
        self.tree = TreeState::Killed(killed.left);
        self.drop_input();
    }

    fn drop_input(&mut self) {
        self.input.discard();
        self.events.push_back(Event::InputDropped);
    }
}

impl TreeState {
    fn is_being_killed(&self) -> bool {
        matches!(self, Self::Killing(_))
    }

    async fn killed(&mut self) -> TreeKill {
        match self {
            Self::Killing(killing) => killing.await,
            _ => std::future::pending().await,
        }
    }
}

/// Returns whether a client that sends this signal wants the command to end, daemons included.
fn asks_for_the_end(signal: Signal) -> bool {
    [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::KILL].contains(&signal)
}
