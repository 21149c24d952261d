//! One command: what was sent of it, what came back, and what that proves.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use rcmd_protocol::{
    digest::Algorithm,
    fault::{Corrupt, Fault},
    frame::{Attach, Attached, Data, End, Exit, Frame, Refusal, Start, Stream, Window},
    ids::{Instance, JobId},
    incoming::EndError,
    outcome::{ErrorKind, Failure, Outcome},
    signal::Signal,
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{Opening, input::Input, receiving::Receiving, report, wire::Wire};
use crate::child::{Notice, Progress, Started};

/// Signals that are kept to be sent again after a loss.
const SIGNALS: usize = 64;
/// Starts that are sent again because another client's generation was higher.
const BIDS: u32 = 2;

/// Which server process may have had the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sent {
    /// None: it was never handed to a connection.
    No,
    /// The one behind the present connection, whose hello has not come.
    Unlearned,
    /// This one.
    To(Instance),
    /// One that was never learned: the connection broke before its hello.
    Unsure,
}

/// What the channel waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// A connection.
    Adrift,
    /// The answer to a start.
    Asking,
    /// The answer to an attach.
    Attaching,
    /// The end.
    Running,
}

/// Whether a channel goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(super) enum Step {
    /// It does.
    On,
    /// It wants to be put onto the connection anew, as a start.
    Again,
    /// It has its report.
    Ended,
}

/// One command.
pub(super) struct Channel {
    host: Arc<str>,
    /// The start, with the channel and generation that were last used.
    start: Start,
    sent: Sent,
    state: State,
    progress: watch::Sender<Progress>,
    notices: mpsc::Sender<Notice>,
    input: Option<Input>,
    stdout: Receiving,
    stderr: Receiving,
    /// Signals that the server may not have carried out, and the number of the last.
    signals: VecDeque<(u64, Signal)>,
    number: u64,
    cancelled: bool,
    job: Option<(JobId, Algorithm)>,
    started_at: Option<u64>,
    /// Since when no connection has it.
    lost: Option<Instant>,
    bids: u32,
}

impl Channel {
    pub(super) fn new(host: Arc<str>, opening: Opening) -> Self {
        let Opening { start, progress, notices, stdout, stderr, room, .. } = opening;
        Self {
            host,
            input: start.stdin.then(|| Input::new(room)),
            start,
            sent: Sent::No,
            state: State::Adrift,
            progress,
            notices,
            stdout: Receiving::new(Stream::Stdout, stdout),
            stderr: Receiving::new(Stream::Stderr, stderr),
            signals: VecDeque::new(),
            number: 0,
            cancelled: false,
            job: None,
            started_at: None,
            lost: None,
            bids: 0,
        }
    }

    /// Its number on the present connection.
    pub(super) fn ch(&self) -> u32 {
        self.start.ch
    }

    /// Whether the server can have heard of it on no other connection than the present.
    pub(super) fn is_fresh(&self) -> bool {
        matches!(self.sent, Sent::No | Sent::Unlearned)
    }

    /// When it is to be given up, if no connection has it.
    pub(super) fn deadline(&self, grace: Duration) -> Option<Instant> {
        let wanted = self.start.grace_ms.map_or(grace, Duration::from_millis);
        self.lost.map(|lost| lost + wanted.min(grace))
    }

    // --- on and off a connection ---

    /// Goes onto a connection: as a start if none had it before, else to take it up.
    pub(super) fn board(&mut self, wire: &mut Wire) -> Step {
        let Some(ch) = wire.open_channel() else {
            let failure = Failure::new(ErrorKind::Resources, "all channel numbers are used up");
            return self.end_without(failure.hint("Connect again."));
        };
        self.start.ch = ch;
        self.raise_generation(0);
        if self.sent == Sent::No {
            self.send_start(wire);
        } else {
            self.state = State::Attaching;
            wire.send(Frame::Attach(Attach {
                ch,
                key: self.start.key,
                generation: self.start.generation,
                digest: self.start.digest,
                stdout: self.stdout.received(),
                stderr: self.stderr.received(),
            }));
        }
        Step::On
    }

    /// Sends the start again, on a channel of its own.
    pub(super) fn start_again(&mut self, wire: &mut Wire) -> Step {
        // With the caller's own key the record answers, and needs no input.
        if !self.input.as_mut().is_none_or(Input::rewind) && !self.start.keep {
            let message = format!("{} has no trace of the command, and its input is gone", self.host);
            return self.end_without(Failure::new(ErrorKind::Lost, message).hint("Start it again."));
        }
        self.sent = Sent::No;
        self.board(wire)
    }

    fn send_start(&mut self, wire: &mut Wire) {
        self.sent = match &wire.hello {
            Some(hello) => Sent::To(hello.instance),
            None => Sent::Unlearned,
        };
        self.state = State::Asking;
        wire.send(Frame::Start(self.start.clone()));
        self.repeat_requests(wire);
        self.send_input(wire);
    }

    /// Microseconds since 1970 for the first, so that a later process goes before an earlier one.
    fn raise_generation(&mut self, other: u64) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        self.start.generation = now
            .max(self.start.generation.saturating_add(1))
            .max(other.saturating_add(1))
            .min(rcmd_protocol::limits::INTEGER);
    }

    /// The present connection's server has named itself.
    pub(super) fn learn(&mut self, instance: Instance) {
        if self.sent == Sent::Unlearned {
            self.sent = Sent::To(instance);
        }
    }

    /// The connection is gone, since then.
    pub(super) fn lose(&mut self, since: Instant) {
        self.state = State::Adrift;
        if self.sent == Sent::Unlearned {
            self.sent = Sent::Unsure;
        }
        self.lost.get_or_insert(since);
    }

    /// Tells a person who waits; one that does not read misses it.
    pub(super) fn notice(&self, notice: Notice) {
        let _ = self.notices.try_send(notice);
    }

    // --- what the caller asks ---

    pub(super) fn stdin(&mut self, bytes: Bytes, wire: Option<&mut Wire>) {
        if let Some(input) = &mut self.input {
            input.append(bytes);
        }
        self.send_input_if(wire);
    }

    pub(super) fn finish_stdin(&mut self, wire: Option<&mut Wire>) {
        if let Some(input) = &mut self.input {
            input.finish();
        }
        self.send_input_if(wire);
    }

    fn send_input_if(&mut self, wire: Option<&mut Wire>) {
        if let (Some(wire), State::Asking | State::Running) = (wire, self.state) {
            self.send_input(wire);
        }
    }

    fn send_input(&mut self, wire: &mut Wire) {
        let Some(input) = &mut self.input else { return };
        while let Some(frame) = input.next(self.start.ch) {
            wire.send(frame);
        }
    }

    pub(super) fn consumed(&mut self, stream: Stream, wire: Option<&mut Wire>) {
        self.receiving(stream).consumed();
        if let (Some(wire), State::Running) = (wire, self.state) {
            self.send_window(stream, wire, false);
        }
    }

    pub(super) fn stop(&mut self, stream: Stream, wire: Option<&mut Wire>) {
        let ch = self.start.ch;
        if let (true, Some(wire), State::Asking | State::Running) =
            (self.receiving(stream).stop(), wire, self.state)
        {
            wire.send(Frame::Stop { ch, stream });
        }
    }

    pub(super) fn signal(&mut self, signal: Signal, wire: Option<&mut Wire>) {
        self.number += 1;
        if self.signals.len() >= SIGNALS {
            self.signals.pop_front();
        }
        self.signals.push_back((self.number, signal));
        if let (Some(wire), State::Asking | State::Running) = (wire, self.state) {
            wire.send(Frame::Signal { ch: self.start.ch, number: self.number, signal });
        }
    }

    pub(super) fn cancel(&mut self, wire: Option<&mut Wire>) {
        self.cancelled = true;
        if let (Some(wire), State::Asking | State::Running) = (wire, self.state) {
            wire.send(Frame::Cancel { ch: self.start.ch });
        }
    }

    /// Nobody waits for its end. What still comes for its channel is ignored, its exit answered.
    pub(super) fn abandon(&mut self, wire: &mut Wire) {
        let ch = self.start.ch;
        if self.state != State::Adrift {
            wire.send(Frame::Cancel { ch });
            wire.send(Frame::Stop { ch, stream: Stream::Stdout });
            wire.send(Frame::Stop { ch, stream: Stream::Stderr });
        }
        wire.forget(ch);
    }

    /// What the server has to hear again on another connection.
    fn repeat_requests(&mut self, wire: &mut Wire) {
        let ch = self.start.ch;
        for &(number, signal) in &self.signals {
            wire.send(Frame::Signal { ch, number, signal });
        }
        for (stream, receiving) in
            [(Stream::Stdout, &self.stdout), (Stream::Stderr, &self.stderr)]
        {
            if receiving.is_stopped() {
                wire.send(Frame::Stop { ch, stream });
            }
        }
        if self.cancelled {
            wire.send(Frame::Cancel { ch });
        }
    }

    // --- what the server says ---

    pub(super) fn handle(&mut self, frame: Frame, wire: &mut Wire) -> Result<Step, Fault> {
        match frame {
            Frame::Queued { position, .. } => {
                self.lost = None;
                self.notice(Notice::Queued(position));
            }
            Frame::Started(started) => {
                if self.state == State::Attaching || self.started_at.is_some() {
                    return Err(unexpected("started", "the command had started"));
                }
                self.state = State::Running;
                self.lost = None;
                self.identify(started.job, started.digest, "started")?;
                self.note_start(started.started_at, started.note);
                self.stdout.resume(started.digest, 0);
                self.stderr.resume(started.digest, 0);
            }
            Frame::Attached(attached) => self.attached(attached, wire)?,
            Frame::Refused { reason, generation, .. } => {
                return Ok(self.refused(reason, generation, wire));
            }
            Frame::Data(data) => self.data(data, wire)?,
            Frame::End(end) => return self.end(&end, wire),
            Frame::Window(Window { got, upto, .. }) => {
                if let Some(input) = &mut self.input {
                    input.window(got, upto)?;
                    self.send_input_if(Some(wire));
                }
            }
            Frame::Stop { .. } => {
                if let Some(input) = &mut self.input {
                    input.close();
                }
            }
            Frame::Exit(exit) => return self.exit(exit, wire),
            _ => {}
        }
        Ok(Step::On)
    }

    fn identify(&mut self, job: JobId, digest: Algorithm, frame: &'static str) -> Result<(), Fault> {
        let named = (job, digest);
        if self.job.as_ref().is_some_and(|job| *job != named) {
            return Err(unexpected(frame, "the command had another job or digest"));
        }
        self.job = Some(named);
        Ok(())
    }

    fn note_start(&mut self, started_at: u64, note: Option<String>) {
        if self.started_at.replace(started_at).is_some() {
            return;
        }
        let job = self.job.as_ref().map(|(job, _)| job.to_string()).unwrap_or_default();
        let started = Started { job, note, started_at };
        self.progress.send_modify(|progress| progress.started = Some(started));
    }

    fn attached(&mut self, attached: Attached, wire: &mut Wire) -> Result<(), Fault> {
        let asked = match self.state {
            State::Asking => true,
            State::Attaching => false,
            State::Adrift | State::Running => {
                return Err(unexpected("attached", "nothing was to be attached"));
            }
        };
        self.identify(attached.job, attached.digest, "attached")?;
        self.state = State::Running;
        if let Some(started_at) = attached.started_at {
            self.note_start(started_at, None);
        }
        if let Some(lost) = self.lost.take() {
            self.notice(Notice::Resumed(lost.elapsed()));
        }
        self.stdout.resume(attached.digest, attached.stdout);
        self.stderr.resume(attached.digest, attached.stderr);
        if let Some(input) = &mut self.input {
            let shared = asked || self.start.keep;
            input.resume(attached.stdin, attached.stdin_ended, shared)?;
        }
        if asked {
            // Another client's signals came before; ours follow them.
            self.number += attached.number;
            self.signals.iter_mut().for_each(|(number, _)| *number += attached.number);
        } else {
            self.signals.retain(|&(number, _)| number > attached.number);
        }
        self.repeat_requests(wire);
        self.send_window(Stream::Stdout, wire, true);
        self.send_window(Stream::Stderr, wire, true);
        self.send_input(wire);
        Ok(())
    }

    fn refused(&mut self, reason: Refusal, other: Option<u64>, wire: &mut Wire) -> Step {
        let host = &self.host;
        let asking = self.state == State::Asking;
        match reason {
            Refusal::UnknownKey if !asking && self.may_start_again(wire) => Step::Again,
            Refusal::UnknownKey => {
                let message = format!("{host} knows nothing of the command any more");
                let hint = "The server was started anew; look on the host for what the command did.";
                self.end_without(Failure::new(ErrorKind::Lost, message).hint(hint))
            }
            Refusal::Superseded if asking && self.bids < BIDS => {
                self.bids += 1;
                self.raise_generation(other.unwrap_or_default());
                Step::Again
            }
            Refusal::Superseded => {
                let message = format!("another client has taken the command on {host} over");
                self.end_without(
                    Failure::new(ErrorKind::Lost, message).hint("That client has its output and end."),
                )
            }
            Refusal::Conflict => {
                let message = format!("on {host} this key stands for another request");
                let failure =
                    Failure::new(ErrorKind::KeyConflict, message).hint("Choose another --key.");
                let ran = self.job.is_some();
                self.conclude(if ran { Outcome::Unknown } else { Outcome::NotStarted }, failure)
            }
            Refusal::Gone => {
                let message = format!("{host} keeps the command's end no longer");
                let hint = "Look on the host for what the command did.";
                self.end_without(Failure::new(ErrorKind::Lost, message).hint(hint))
            }
        }
    }

    /// See the reasons above [`super`].
    fn may_start_again(&self, wire: &Wire) -> bool {
        let here = wire.hello.as_ref().map(|hello| hello.instance);
        let never = self.job.is_none() && here.is_some_and(|here| self.sent == Sent::To(here));
        never || self.start.keep
    }

    fn data(&mut self, data: Data, wire: &mut Wire) -> Result<(), Fault> {
        let (stream, timed) = (data.stream, self.start.timestamps);
        self.on_job("data")?;
        self.receiving(stream).data(data, timed)?;
        self.send_window(stream, wire, false);
        Ok(())
    }

    fn end(&mut self, end: &End, wire: &mut Wire) -> Result<Step, Fault> {
        self.on_job("end")?;
        match self.receiving(end.stream).end(end) {
            Ok(()) => Ok(Step::On),
            Err(EndError::Fault(fault)) => Err(fault),
            Err(EndError::Corrupt(corrupt)) => Ok(self.corrupt(&corrupt, wire)),
        }
    }

    fn exit(&mut self, exit: Exit, wire: &mut Wire) -> Result<Step, Fault> {
        match exit.outcome {
            Outcome::NotStarted if self.started_at.is_some() => {
                return Err(unexpected("exit", "the command had started"));
            }
            Outcome::NotStarted | Outcome::Unknown => {}
            Outcome::Exited | Outcome::Signaled | Outcome::TimedOut => {
                self.on_job("exit")?;
                let settled = self
                    .stdout
                    .settle(exit.stdout_bytes, exit.stdout_digest)
                    .and_then(|()| self.stderr.settle(exit.stderr_bytes, exit.stderr_digest));
                match settled {
                    Ok(()) => {}
                    Err(EndError::Fault(fault)) => return Err(fault),
                    Err(EndError::Corrupt(corrupt)) => return Ok(self.corrupt(&corrupt, wire)),
                }
            }
        }
        wire.send(Frame::Done { ch: self.start.ch });
        Ok(self.verified(exit))
    }

    fn on_job(&self, frame: &'static str) -> Result<(), Fault> {
        match self.state {
            State::Running => Ok(()),
            _ => Err(unexpected(frame, "its command has not started")),
        }
    }

    fn send_window(&mut self, stream: Stream, wire: &mut Wire, again: bool) {
        let ch = self.start.ch;
        if let Some(window) = self.receiving(stream).window(ch, again) {
            wire.send(Frame::Window(window));
        }
    }

    fn receiving(&mut self, stream: Stream) -> &mut Receiving {
        match stream {
            Stream::Stdout | Stream::Stdin => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    // --- the end ---

    fn verified(&mut self, exit: Exit) -> Step {
        let ran = !matches!(exit.outcome, Outcome::NotStarted | Outcome::Unknown);
        let mut report = self.report(exit.outcome, exit.failure);
        report.code = exit.code;
        report.signal = exit.signal;
        report.output_open |= exit.open;
        report.ended_at = Some(exit.ended_at);
        report.duration_ms = exit.duration_ms;
        if ran {
            report.stdout_bytes = exit.stdout_bytes;
            report.stderr_bytes = exit.stderr_bytes;
            report.stdout_digest = exit.stdout_digest.map(|digest| digest.to_string());
            report.stderr_digest = exit.stderr_digest.map(|digest| digest.to_string());
        }
        report.truncated =
            self.stdout.lacks(report.stdout_bytes) || self.stderr.lacks(report.stderr_bytes);
        self.publish(report)
    }

    fn corrupt(&mut self, corrupt: &Corrupt, wire: &mut Wire) -> Step {
        self.abandon(wire);
        let message = format!("{corrupt} (from {})", self.host);
        let hint = "Don't use this output; run the command again.";
        self.end_without(Failure::new(ErrorKind::Corrupt, message).hint(hint))
    }

    /// Ends it without an end from the server: unknown, unless nothing of it can have left.
    pub(super) fn end_without(&mut self, failure: Failure) -> Step {
        let outcome = match self.sent {
            Sent::No => Outcome::NotStarted,
            _ => Outcome::Unknown,
        };
        self.conclude(outcome, failure)
    }

    /// Ends it in this way.
    pub(super) fn conclude(&mut self, outcome: Outcome, failure: Failure) -> Step {
        let report = self.report(outcome, Some(failure));
        self.publish(report)
    }

    fn report(&self, outcome: Outcome, error: Option<Failure>) -> crate::Report {
        let nothing = Failure::new(ErrorKind::Lost, "");
        let mut report = report(&self.host, outcome, nothing);
        report.error = error;
        report.job = self.job.as_ref().map(|(job, _)| job.to_string());
        // The caller's own key makes it safe to ask again how it went.
        report.retry_safe |= outcome == Outcome::Unknown && self.start.keep;
        report.stdout_bytes = self.stdout.received();
        report.stderr_bytes = self.stderr.received();
        report.output_open = self.stdout.open || self.stderr.open;
        report.started_at = self.started_at;
        report
    }

    fn publish(&mut self, report: crate::Report) -> Step {
        if let Some(input) = &mut self.input {
            input.close();
        }
        self.stdout.close();
        self.stderr.close();
        self.progress.send_modify(|progress| progress.report = Some(report));
        Step::Ended
    }
}

fn unexpected(frame: &'static str, why: &'static str) -> Fault {
    Fault::Unexpected { frame, why }
}
