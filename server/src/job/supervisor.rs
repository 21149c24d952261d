//! A process from its start to its end: its streams, its deadlines, and its tree.
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
//! It knows nothing of connections and frames: [`Control`] goes in, [`Event`] comes out.

mod input;
mod output;
#[cfg(test)]
mod tests;
mod timers;

use std::{collections::VecDeque, mem, pin::Pin, time::Instant};

use bytes::Bytes;
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
    clock,
    config::limits,
    process::{Process, ProcessExit, Survivor, TreeKill},
};

/// Events that come of one step at most: output, both ends, the input's end, the exit.
const EVENTS: usize = 8;

/// How a process is to be supervised.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Milliseconds after which it is ended; 0 for never.
    pub(super) timeout_ms: u64,
    /// Whether output carries the time at which it was read.
    pub(super) timestamps: bool,
    /// Whether it holds a lock. One that was killed has not left what it held in order: what it leaves
    /// behind is to end too.
    pub(super) holds_lock: bool,
}

/// A process, and what is being done to end it.
pub(super) struct Supervisor {
    process: Process,
    terms: Terms,
    began: Instant,
    status: Option<ProcessExit>,
    reason: Option<Reason>,
    tree: TreeState,
    /// True once somebody wants all of the tree to end, and not only the process.
    is_to_end: bool,
    stdout: OutputReader,
    stderr: OutputReader,
    input: InputWriter,
    timers: Timers,
    events: VecDeque<Event>,
    is_over: bool,
}

/// What becomes of the processes that a command started.
enum TreeState {
    /// Nothing: those that outlive it are daemons.
    Left,
    /// They are killed once it has ended.
    KillAtExit,
    /// They are being killed.
    Killing(Pin<Box<dyn Future<Output = TreeKill> + Send>>),
    /// They were killed, but for these.
    Killed(Vec<Survivor>),
}

impl Supervisor {
    /// Takes over a process that has started. `input` holds what came for it before.
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

    /// Returns its pid, for the log.
    pub(super) fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// Takes the next thing to report.
    pub(super) fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Does what it is told.
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

    /// Waits until something happens to the process or is due, and takes it.
    ///
    /// # Cancel safety
    /// Nothing is lost.
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

    /// Draws the conclusions of whatever has happened.
    fn settle(&mut self) {
        let closed = |this: &Self| this.stdout.is_closed() && this.stderr.is_closed();
        // Its pipes close a moment before it is seen to end: then both ends and the exit leave as one.
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
            // It may live for ever: nobody here can end it.
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
        // Nobody reads it any more, and an end that is kept for its client holds no descriptor.
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
                    // Nothing was said of who holds it, so whatever is left of the tree goes.
                    self.stdout.give_up();
                    self.stderr.give_up();
                    if !matches!(self.tree, TreeState::Killed(_)) {
                        self.kill_tree();
                    }
                }
            }
        }
    }

    /// Notes why the process is ended, unless it has ended already or there is a reason before.
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

    // Only now may standard input close: before, a command could have taken it for its end.
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

/// Returns whether a client that sends this wants the command to be gone, its daemons included.
fn asks_for_the_end(signal: Signal) -> bool {
    [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::KILL].contains(&signal)
}
