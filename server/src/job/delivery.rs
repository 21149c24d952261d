//! The half of a job that has the client: the output that was not confirmed, what is sent, the
//! exit, and the connection that has the job at the moment, which another may replace at any time.
//!
//! It knows nothing of processes: it takes frames and [`Event`]s, and returns frames and
//! [`Action`]s.

mod input;
mod output;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rcmd_protocol::{
    digest::Algorithm,
    error::ProtocolError,
    frame::{
        Attached, Data, End, Exit, Frame, OutputOffsets, Refusal, Started, Stream, StreamTotal,
    },
    ids::JobId,
    stream::EndError,
};

use self::{input::InputLog, output::OutputLog};
use super::{
    Attachment, Sink, StartOptions,
    action::{Action, Control, Event, OutputStream, Reason, Room},
};
use crate::admission::budget::IdentityBudget;

/// The half of a job that has the client.
pub(super) struct Delivery {
    id: JobId,
    algorithm: Algorithm,
    budget: Arc<IdentityBudget>,
    sink: Option<Sink>,
    generation: u64,
    stdout: OutputLog,
    stderr: OutputLog,
    input: InputLog,
    last_signal: u64,
    note: Option<String>,
    phase: Phase,
    absence: Absence,
    /// True once the client that has the job has reported that it needs nothing more of it.
    is_done: bool,
}

/// The progress of the command as its client knows it.
enum Phase {
    /// The command has not started.
    Waiting,
    /// The command runs since this time, in milliseconds since 1970.
    Running(u64),
    /// The command has ended.
    Ended { exit: Box<Exit>, is_sent: bool },
}

/// The times for which a job is kept without a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// The time until the command has ended.
    pub(super) grace: Duration,
    /// The time after it has ended.
    pub(super) retain: Duration,
}

struct Absence {
    patience: Patience,
    /// The time at which the job is given up, while the client is gone.
    until: Option<Instant>,
}

impl Delivery {
    /// Makes the delivery of a job that has not started, to the client that asked for it.
    pub(super) fn new(
        id: JobId,
        options: StartOptions,
        sink: Sink,
        patience: Patience,
        budget: &Arc<IdentityBudget>,
    ) -> Self {
        let algorithm = options.algorithm;
        Self {
            id,
            algorithm,
            budget: Arc::clone(budget),
            generation: sink.generation,
            sink: Some(sink),
            stdout: OutputLog::new(Stream::Stdout, options, budget),
            stderr: OutputLog::new(Stream::Stderr, options, budget),
            input: InputLog::new(options.stdin, algorithm),
            last_signal: 0,
            note: None,
            phase: Phase::Waiting,
            absence: Absence { patience, until: None },
            is_done: false,
        }
    }

    /// Sets a note that the client is sent with the start although it is no error.
    pub(super) fn set_note(&mut self, note: Option<String>) {
        self.note = note;
    }

    /// Sends a frame to the connection that has the job, if one has it.
    pub(super) fn send(&self, frame: impl FnOnce(u32) -> Frame) {
        if let Some(sink) = &self.sink {
            sink.link.send(frame(sink.ch));
        }
    }

    /// Returns how much output may be read now.
    pub(super) fn room(&self) -> Room {
        Room {
            stdout: self.stdout.room(&self.budget),
            stderr: self.stderr.room(&self.budget),
            keeps_blocks: self.budget.has_room(),
        }
    }

    /// Takes an event of the process. The exit is ignored here: [`Delivery::ended`] takes it once
    /// it has been recorded.
    pub(super) fn take(&mut self, event: Event) {
        match event {
            Event::Started(started_at) => self.started(started_at),
            Event::Output { stream, bytes, time } => self.output(stream).append(bytes, time),
            Event::OutputEnded { stream, is_open } => self.output(stream).finish(is_open),
            Event::InputTaken(count) => self.input.taken(count),
            Event::InputClosed => {
                self.input.close();
                self.send(|ch| Frame::Stop { ch, stream: Stream::Stdin });
            }
            Event::InputDropped => self.input.close(),
            Event::Exited(_) => {}
        }
    }

    fn output(&mut self, stream: OutputStream) -> &mut OutputLog {
        match stream {
            OutputStream::Stdout => &mut self.stdout,
            OutputStream::Stderr => &mut self.stderr,
        }
    }

    fn started(&mut self, started_at: u64) {
        self.phase = Phase::Running(started_at);
        let note = self.note.take();
        let (job, digest) = (self.id.clone(), self.algorithm);
        self.send(|ch| Frame::Started(Started { ch, job, digest, started_at, note }));
    }

    fn started_at(&self) -> Option<u64> {
        match &self.phase {
            Phase::Waiting => None,
            Phase::Running(started_at) => Some(*started_at),
            Phase::Ended { exit, .. } => exit.started_at(),
        }
    }

    /// Adds to the exit of a process the totals of its output and its times.
    pub(super) fn complete(&mut self, exit: Exit, ran_for: Duration) -> Exit {
        let ran_for = u64::try_from(ran_for.as_millis()).unwrap_or(u64::MAX);
        exit.with_output(self.stdout.total(), self.stderr.total())
            .with_open(self.stdout.was_open() || self.stderr.was_open())
            .with_times(self.started_at(), Some(ran_for))
    }

    /// Takes the exit, and keeps it until the client has it.
    pub(super) fn ended(&mut self, exit: Exit) {
        self.phase = Phase::Ended { exit: Box::new(exit), is_sent: false };
        let retain = self.absence.patience.retain;
        self.absence.until = self.sink.is_none().then(|| Instant::now() + retain);
    }

    /// Returns whether a connection has the job.
    pub(super) fn is_attached(&self) -> bool {
        self.sink.is_some()
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended { .. })
    }

    /// Returns whether the client needs nothing more of the job. It may have reported that before
    /// the end.
    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }

    /// Returns the time at which the job is given up, while its client is gone.
    pub(super) fn gone_at(&self) -> Option<Instant> {
        self.absence.until
    }

    /// Stops waiting for the client, so that [`Delivery::gone_at`] is not due again.
    pub(super) fn give_up(&mut self) {
        self.absence.until = None;
    }

    /// Notes that a connection has ended, and returns what that means for the process. A client
    /// that broke the protocol is not `resumable`: nothing continues to run for it.
    pub(super) fn lost(&mut self, generation: u64, resumable: bool) -> Option<Action> {
        if generation != self.generation {
            return None;
        }
        self.sink = None;
        let Patience { grace, retain } = self.absence.patience;
        if self.has_ended() {
            self.absence.until = Some(Instant::now() + retain);
        } else if resumable {
            self.absence.until.get_or_insert_with(|| Instant::now() + grace);
        } else {
            return Some(Action::Process(Control::Kill(Reason::Client)));
        }
        None
    }

    /// Attaches a connection to the job, unless a later one has it.
    pub(super) fn attach(&mut self, attachment: Attachment) {
        let Some((sink, received)) = attachment.take() else { return };
        if sink.generation <= self.generation {
            return superseded(&sink, self.generation);
        }
        let output = match self.resume(received) {
            Ok(output) => output,
            Err(fault) => return sink.fault(&fault),
        };
        if let Some(old) = self.sink.take() {
            old.link.forget(old.ch);
            superseded(&old, sink.generation);
        }
        self.generation = sink.generation;
        self.absence.until = None;
        self.is_done = false;
        if let Phase::Ended { is_sent, .. } = &mut self.phase {
            *is_sent = false;
        }
        sink.link.send(Frame::Attached(Attached {
            ch: sink.ch,
            job: self.id.clone(),
            digest: self.algorithm,
            started_at: self.started_at(),
            stdin: self.input.received(),
            stdin_ended: self.input.has_ended(),
            number: self.last_signal,
            output,
        }));
        if let Some(window) = self.input.window(sink.ch) {
            sink.link.send(Frame::Window(window));
        }
        if self.input.is_closed() {
            sink.link.send(Frame::Stop { ch: sink.ch, stream: Stream::Stdin });
        }
        self.sink = Some(sink);
        self.flush();
    }

    fn resume(&mut self, received: Option<OutputOffsets>) -> Result<OutputOffsets, ProtocolError> {
        let stdout = self.stdout.resume(received.map(|received| received.stdout))?;
        let stderr = self.stderr.resume(received.map(|received| received.stderr))?;
        Ok(OutputOffsets { stdout, stderr })
    }

    /// Takes a frame from the connection of this generation, and returns what it means for the job.
    pub(super) fn frame(&mut self, generation: u64, frame: Frame) -> Option<Action> {
        if generation != self.generation {
            return None;
        }
        let action = match frame {
            Frame::Data(Data { offset, payload, .. }) => {
                self.input.data(offset, payload).map(|new| new.map(Control::InputData))
            }
            Frame::End(End { total, digest, .. }) => match self.input.end(total, digest) {
                Ok(()) => Ok(Some(Control::InputEnd)),
                Err(EndError::Corrupt(_)) => Ok(Some(Control::Kill(Reason::Corrupt))),
                Err(EndError::Protocol(fault)) => Err(fault),
            },
            Frame::Window(window) => {
                let output = match window.stream {
                    Stream::Stdout => &mut self.stdout,
                    Stream::Stderr | Stream::Stdin => &mut self.stderr,
                };
                output.window(window.got, window.upto).map(|()| None)
            }
            Frame::Stop { stream, .. } => {
                let stream = match stream {
                    Stream::Stdout => OutputStream::Stdout,
                    Stream::Stderr | Stream::Stdin => OutputStream::Stderr,
                };
                self.output(stream).abandon();
                Ok(Some(Control::ReaderGone(stream)))
            }
            Frame::Signal { number, signal, .. } if number > self.last_signal => {
                self.last_signal = number;
                Ok(Some(Control::Signal(signal)))
            }
            Frame::Cancel { .. } => Ok(Some(Control::Kill(Reason::Client))),
            Frame::Done { .. } => {
                self.is_done = true;
                return Some(Action::Done);
            }
            _ => Ok(None),
        };
        match action {
            Ok(control) => control.map(Action::Process),
            Err(fault) => {
                if let Some(sink) = self.sink.take() {
                    sink.fault(&fault);
                }
                Some(Action::Process(Control::Kill(Reason::Client)))
            }
        }
    }

    /// Sends what may be sent: data within its credit, then the ends of the streams in order, then
    /// the exit.
    pub(super) fn flush(&mut self) {
        let Some(Sink { link, ch, .. }) = &self.sink else { return };
        let ch = *ch;
        loop {
            let (stdout, stderr) = (self.stdout.next(ch), self.stderr.next(ch));
            if stdout.is_none() && stderr.is_none() {
                break;
            }
            stdout.into_iter().chain(stderr).for_each(|data| link.send(Frame::Data(data)));
        }
        if let Some(window) = self.input.window_due(ch) {
            link.send(Frame::Window(window));
        }
        // A job that never had a process has no output to end.
        let has_output = match &self.phase {
            // A stream may be stopped before the start; its end is sent after the start.
            Phase::Waiting => return,
            Phase::Running(_) => true,
            Phase::Ended { exit, .. } => exit.stdout() != StreamTotal::default(),
        };
        for output in [&mut self.stdout, &mut self.stderr] {
            if let Some(end) = output.next_end(ch) {
                link.send(Frame::End(end));
            }
            if has_output && !output.end_sent() {
                return;
            }
        }
        if let Phase::Ended { exit, is_sent } = &mut self.phase
            && !std::mem::replace(is_sent, true)
        {
            link.send(Frame::Exit { ch, exit: Exit::clone(exit) });
        }
    }
}

fn superseded(sink: &Sink, generation: u64) {
    sink.link.send(Frame::Refused {
        ch: sink.ch,
        reason: Refusal::Superseded,
        generation: Some(generation),
    });
}
