//! A job and the connection that has it: attachments, frames in, frames out.

use rcmd_protocol::{
    error::ProtocolError,
    frame::{Attached, Data, End, Frame, OutputOffsets, Refusal, Stream},
    signal::Signal,
    stream::EndError,
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tracing::info;

use super::{
    Attachment, Message, Sink, Urgency,
    run::{Job, Reason},
};
use crate::policy::Rules;

/// What a message asks of the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// Send its group this signal.
    Signal(Signal),
    /// Kill its tree.
    Kill(Reason),
    /// End its tree gently.
    Term(Reason),
    /// Nobody reads its stdout any more.
    ReaderGone,
    /// The client has the end.
    Done,
}

impl Job {
    /// Takes a message; gives what is left to be done with the process.
    pub(super) fn take(&mut self, message: Message) -> Option<Order> {
        match message {
            Message::Attach(attachment) => {
                self.attach(attachment);
                None
            }
            Message::Frame { generation, frame } if generation == self.generation => {
                self.frame(frame)
            }
            Message::Lost { generation, resumable } if generation == self.generation => {
                self.lost(resumable)
            }
            Message::Frame { .. } | Message::Lost { .. } => None,
            Message::Forget => self.exit.as_ref().map(|_| Order::Done),
            Message::Judge(rules) => self.judge_again(&rules),
            Message::Stop(Urgency::Term) => Some(Order::Term(Reason::Stopping)),
            Message::Stop(Urgency::Kill) => Some(Order::Kill(Reason::Stopping)),
        }
    }

    /// Judges by other rules what waits, and what runs if those are to end it. A client that is gone
    /// learns of it from the end, like everything else.
    pub(super) fn judge_again(&mut self, rules: &Arc<Rules>) -> Option<Order> {
        let Some(authorized) = &self.authorized else {
            // It may be being judged by the rules before these.
            self.newer = Some(Arc::clone(rules)).filter(|_| self.is_preparing);
            return None;
        };
        let denial = authorized.recheck(rules, &self.peer, SystemTime::now()).err()?;
        info!(job = %self.id, peer = %self.peer, why = denial.kind.as_str(), %denial, "no longer permitted");
        self.authorized = None;
        self.denial = Some(denial);
        Some(Order::Term(Reason::Denied))
    }

    fn lost(&mut self, resumable: bool) -> Option<Order> {
        self.sink = None;
        let grace = self.options.grace_ms.map(Duration::from_millis);
        match self.exit {
            Some(_) => self.timers.retain(self.shared.retain),
            None if !resumable => return Some(Order::Kill(Reason::Client)),
            None => self.timers.lost(grace.unwrap_or(self.shared.grace).min(self.shared.grace)),
        }
        None
    }

    /// Gives the job to a connection, if no later one has it.
    fn attach(&mut self, attachment: Attachment) {
        let Some((sink, received)) = attachment.take() else { return };
        if sink.generation <= self.generation {
            return superseded(&sink, self.generation);
        }
        let (stdout, stderr) = received.map(|got| (got.stdout, got.stderr)).unzip();
        let offsets =
            self.stdout.resume(stdout).and_then(|from| Ok((from, self.stderr.resume(stderr)?)));
        let (stdout, stderr) = match offsets {
            Ok(offsets) => offsets,
            Err(fault) => return sink.fault(&fault),
        };
        if let Some(old) = self.sink.take() {
            old.link.forget(old.ch);
            superseded(&old, sink.generation);
        }
        self.generation = sink.generation;
        self.timers.attached();
        self.exit_sent = false;
        sink.link.send(Frame::Attached(Attached {
            ch: sink.ch,
            job: self.id.clone(),
            digest: self.options.algorithm,
            started_at: self.started_at,
            stdin: self.input.received(),
            stdin_ended: self.input.has_ended(),
            number: self.last_signal,
            output: OutputOffsets { stdout, stderr },
        }));
        if let Some(window) = self.input.window(sink.ch) {
            sink.link.send(Frame::Window(window));
        }
        if self.input.is_stopped() {
            sink.link.send(Frame::Stop { ch: sink.ch, stream: Stream::Stdin });
        }
        self.sink = Some(sink);
        self.flush();
    }

    fn frame(&mut self, frame: Frame) -> Option<Order> {
        let order = match frame {
            Frame::Data(Data { offset, payload, .. }) => {
                self.input.data(offset, payload).map(|()| None)
            }
            Frame::End(End { total, digest, .. }) => match self.input.end(total, digest) {
                Ok(()) => Ok(None),
                Err(EndError::Corrupt(_)) => Ok(Some(Order::Kill(Reason::Corrupt))),
                Err(EndError::Protocol(fault)) => Err(fault),
            },
            Frame::Window(window) => match window.stream {
                Stream::Stdout => self.stdout.window(window.got, window.upto),
                Stream::Stderr | Stream::Stdin => self.stderr.window(window.got, window.upto),
            }
            .map(|()| None),
            Frame::Stop { stream: Stream::Stdout, .. } => {
                self.stdout.stop();
                Ok(Some(Order::ReaderGone))
            }
            Frame::Stop { .. } => {
                self.stderr.stop();
                Ok(None)
            }
            Frame::Signal { number, signal, .. } if number > self.last_signal => {
                self.last_signal = number;
                Ok(Some(Order::Signal(signal)))
            }
            Frame::Cancel { .. } => Ok(Some(Order::Kill(Reason::Client))),
            Frame::Done { .. } => Ok(Some(Order::Done)),
            _ => Ok(None),
        };
        match order {
            Ok(order) => {
                if let Some(window) =
                    self.sink.as_ref().and_then(|sink| self.input.window_due(sink.ch))
                {
                    self.send(|_| Frame::Window(window));
                }
                order
            }
            Err(fault) => self.broken(&fault),
        }
    }

    fn broken(&mut self, fault: &ProtocolError) -> Option<Order> {
        if let Some(sink) = self.sink.take() {
            sink.fault(fault);
        }
        Some(Order::Kill(Reason::Client))
    }

    /// Sends a frame to the connection that has the job, if one has it.
    pub(super) fn send(&self, frame: impl FnOnce(u32) -> Frame) {
        if let Some(sink) = &self.sink {
            sink.link.send(frame(sink.ch));
        }
    }

    /// Sends what may be sent: data under credit, then the ends in their order, then the exit.
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
        let started = self.started_at.is_some();
        if let Some(end) = self.stdout.next_end(ch) {
            link.send(Frame::End(end));
        }
        if !self.stdout.end_sent() && started {
            return;
        }
        if let Some(end) = self.stderr.next_end(ch) {
            link.send(Frame::End(end));
        }
        if !self.stderr.end_sent() && started {
            return;
        }
        if let Some(exit) = self.exit.as_ref().filter(|_| !self.exit_sent) {
            self.exit_sent = true;
            link.send(Frame::Exit { ch, exit: exit.clone() });
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
