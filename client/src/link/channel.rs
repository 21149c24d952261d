//! One command: what was sent of it, what came back, and what that proves.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use rcmd_protocol::{
    digest::Algorithm,
    frame::{Attach, Frame, OutputOffsets, Start, StartBody, Stream, capability},
    ids::{Instance, JobId, Key},
    outcome::{ErrorKind, Failure, Outcome},
    signal::Signal,
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    connection::Connection,
    input::Input,
    order::{NewChannel, Purpose},
    progress::{Notice, Progress},
    receiving::Receiving,
};

mod busy;
mod busy_retry;
mod end;
mod on_frame;

use busy_retry::BusyRetry;

/// Signals that are kept to be sent again after a loss.
const SIGNALS: usize = 64;
/// Starts that are sent again because another client's generation was higher.
const GENERATION_RETRIES: u32 = 2;

/// Which server process may have had the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum StartSent {
    /// None: it was never handed to a connection.
    Never,
    /// The one behind the present connection, whose hello has not come.
    AwaitingHello,
    /// This one.
    To(Instance),
    /// One that was never learned: the connection broke before its hello.
    Unknown,
}

/// What the channel waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// A connection.
    Detached,
    /// The answer to a start.
    Starting,
    /// The answer to an attach.
    Attaching,
    /// The end.
    Running,
}

/// Whether a channel goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(super) enum Next {
    /// It does.
    Continue,
    /// It wants to be put onto the connection anew, as a start.
    Restart,
    /// It wants to be put onto a connection later, as a start.
    RetryLater,
    /// It has its report.
    Ended,
}

/// That no connection has it.
#[derive(Clone, Copy, Debug)]
struct Lost {
    /// When the connection was given up, from which the grace counts.
    at: Instant,
    /// When it was heard last, as a person saw it.
    since: Instant,
}

/// One command.
pub(super) struct Channel {
    host: Arc<str>,
    purpose: Purpose,
    key: Key,
    body: StartBody,
    /// The number on the connection that had it last; 0 before the first.
    ch: u32,
    generation: u64,
    sent: StartSent,
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
    lost: Option<Lost>,
    generation_retries: u32,
    busy_retry: BusyRetry,
}

impl Channel {
    pub(super) fn new(host: Arc<str>, new_channel: NewChannel) -> Self {
        let NewChannel {
            key,
            body,
            progress,
            notices,
            stdout,
            stderr,
            room,
            purpose,
            busy_wait,
            ..
        } = new_channel;
        Self {
            host,
            // Nothing would read it in a dry run.
            input: (body.stdin() && purpose == Purpose::Run).then(|| Input::new(room)),
            purpose,
            key,
            body,
            ch: 0,
            generation: 0,
            sent: StartSent::Never,
            state: State::Detached,
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
            generation_retries: 0,
            busy_retry: BusyRetry::new(busy_wait),
        }
    }

    /// Whether it is to be put onto the connection when the server has said what it can.
    pub(super) fn awaits_hello(&self) -> bool {
        self.state == State::Detached && self.sent == StartSent::Never && self.resting().is_none()
    }

    /// Its number on the present connection.
    pub(super) fn ch(&self) -> u32 {
        self.ch
    }

    /// Whether the server can have heard of it on no other connection than the present.
    pub(super) fn is_fresh(&self) -> bool {
        matches!(self.sent, StartSent::Never | StartSent::AwaitingHello)
    }

    /// When it is to be given up, if no connection has it.
    pub(super) fn deadline(&self, grace: Duration) -> Option<Instant> {
        let wanted = self.body.grace_ms().map_or(grace, Duration::from_millis);
        let lost = self.lost.map(|lost| lost.at + wanted.min(grace));
        lost.into_iter().chain(self.busy_retry_ends()).min()
    }

    // --- on and off a connection ---

    /// Goes onto a connection: as a start if none had it before, else to take it up.
    ///
    /// A start that needs more of the server than every server can waits for its hello: a server that
    /// does not know what was asked for would ignore it.
    pub(super) fn attach_to(&mut self, connection: &mut Connection) -> Next {
        if self.sent == StartSent::Never && self.needs().next().is_some() {
            if connection.hello.is_none() {
                self.wake();
                return Next::RetryLater;
            }
            let lacks = |need: &&str| !connection.capabilities.iter().any(|can| can == need);
            if let Some(need) = self.needs().find(lacks) {
                let message = format!("the server of {} does not know `{need}`", self.host);
                let failure = Failure::new(ErrorKind::Protocol, message)
                    .hint("It is older than this client: bring it up to date, or do without.");
                return self.conclude(Outcome::NotStarted, failure);
            }
        }
        let Some(ch) = connection.open_channel() else {
            let failure = Failure::new(ErrorKind::Resources, "all channel numbers are used up");
            return self.end_without(failure.hint("Connect again."));
        };
        self.wake();
        self.ch = ch;
        self.raise_generation(0);
        if self.sent == StartSent::Never {
            self.send_start(connection);
        } else {
            self.state = State::Attaching;
            connection.send(Frame::Attach(Attach {
                ch,
                key: self.key,
                generation: self.generation,
                digest: self.body.digest(),
                received: OutputOffsets {
                    stdout: self.stdout.received(),
                    stderr: self.stderr.received(),
                },
            }));
        }
        Next::Continue
    }

    /// Returns what the server must have said that it can, beyond `exec`.
    fn needs(&self) -> impl Iterator<Item = &'static str> + use<> {
        let ask = (self.purpose == Purpose::DryRun).then_some(capability::ASK);
        self.body.needs().chain(ask)
    }

    /// Sends the start again, on a channel of its own.
    pub(super) fn start_again(&mut self, connection: &mut Connection) -> Next {
        // With the caller's own key the record answers, and needs no input.
        if !self.input.as_mut().is_none_or(Input::rewind) && !self.body.keep() {
            let message =
                format!("{} has no trace of the command, and its input is gone", self.host);
            return self
                .end_without(Failure::new(ErrorKind::Lost, message).hint("Start it again."));
        }
        self.sent = StartSent::Never;
        self.attach_to(connection)
    }

    fn send_start(&mut self, connection: &mut Connection) {
        self.sent = match &connection.hello {
            Some(hello) => StartSent::To(hello.instance),
            None => StartSent::AwaitingHello,
        };
        self.state = State::Starting;
        let (ch, key, generation) = (self.ch, self.key, self.generation);
        let start = Start { ch, key, generation, body: self.body.clone() };
        connection.send(match self.purpose {
            Purpose::Run => Frame::Start(start),
            Purpose::DryRun => Frame::Ask(start),
        });
        self.repeat_requests(connection);
        self.send_input(connection);
    }

    /// Microseconds since 1970 for the first, so that a later process goes before an earlier one.
    fn raise_generation(&mut self, other: u64) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        self.generation = now
            .max(self.generation.saturating_add(1))
            .max(other.saturating_add(1))
            .min(rcmd_protocol::limits::INTEGER);
    }

    /// The present connection's server has named itself.
    pub(super) fn learn(&mut self, instance: Instance) {
        if self.sent == StartSent::AwaitingHello {
            self.sent = StartSent::To(instance);
        }
    }

    /// The connection is gone, and has been silent since then. One that rests has lost nothing.
    pub(super) fn lose(&mut self, since: Instant) {
        if self.resting().is_some() {
            return;
        }
        self.state = State::Detached;
        match (self.purpose, self.sent) {
            // A question runs nothing, so that it may be asked again, wherever it was asked before.
            (Purpose::DryRun, _) => self.sent = StartSent::Never,
            (Purpose::Run, StartSent::AwaitingHello) => self.sent = StartSent::Unknown,
            (Purpose::Run, _) => {}
        }
        self.lost.get_or_insert(Lost { at: Instant::now(), since });
    }

    /// Tells a person who waits; one that does not read misses it.
    pub(super) fn notice(&self, notice: Notice) {
        let _ = self.notices.try_send(notice);
    }

    // --- what the caller asks ---

    pub(super) fn stdin(&mut self, bytes: Bytes, connection: Option<&mut Connection>) {
        if let Some(input) = &mut self.input {
            input.append(bytes);
        }
        self.send_input_if(connection);
    }

    pub(super) fn finish_stdin(&mut self, connection: Option<&mut Connection>) {
        if let Some(input) = &mut self.input {
            input.finish();
        }
        self.send_input_if(connection);
    }

    fn send_input_if(&mut self, connection: Option<&mut Connection>) {
        if let (Some(connection), State::Starting | State::Running) = (connection, self.state) {
            self.send_input(connection);
        }
    }

    fn send_input(&mut self, connection: &mut Connection) {
        let Some(input) = &mut self.input else { return };
        while let Some(frame) = input.next(self.ch) {
            connection.send(frame);
        }
    }

    pub(super) fn consumed(&mut self, stream: Stream, connection: Option<&mut Connection>) {
        self.receiving(stream).consumed();
        if let (Some(connection), State::Running) = (connection, self.state) {
            self.send_window(stream, connection, false);
        }
    }

    pub(super) fn stop(&mut self, stream: Stream, connection: Option<&mut Connection>) {
        let ch = self.ch;
        if let (true, Some(connection), State::Starting | State::Running) =
            (self.receiving(stream).stop(), connection, self.state)
        {
            connection.send(Frame::Stop { ch, stream });
        }
    }

    pub(super) fn signal(&mut self, signal: Signal, connection: Option<&mut Connection>) {
        self.number += 1;
        if self.signals.len() >= SIGNALS {
            self.signals.pop_front();
        }
        self.signals.push_back((self.number, signal));
        if let (Some(connection), State::Starting | State::Running) = (connection, self.state) {
            connection.send(Frame::Signal { ch: self.ch, number: self.number, signal });
        }
    }

    pub(super) fn cancel(&mut self, connection: Option<&mut Connection>) {
        self.cancelled = true;
        if let (Some(connection), State::Starting | State::Running) = (connection, self.state) {
            connection.send(Frame::Cancel { ch: self.ch });
        }
    }

    /// Nobody waits for its end. What still comes for its channel is ignored, its exit answered.
    pub(super) fn abandon(&mut self, connection: &mut Connection) {
        let ch = self.ch;
        if self.state != State::Detached && self.purpose == Purpose::Run {
            connection.send(Frame::Cancel { ch });
            connection.send(Frame::Stop { ch, stream: Stream::Stdout });
            connection.send(Frame::Stop { ch, stream: Stream::Stderr });
        }
        connection.forget(ch);
    }

    /// What the server has to hear again on another connection.
    fn repeat_requests(&mut self, connection: &mut Connection) {
        let ch = self.ch;
        for &(number, signal) in &self.signals {
            connection.send(Frame::Signal { ch, number, signal });
        }
        for (stream, receiving) in [(Stream::Stdout, &self.stdout), (Stream::Stderr, &self.stderr)]
        {
            if receiving.is_stopped() {
                connection.send(Frame::Stop { ch, stream });
            }
        }
        if self.cancelled {
            connection.send(Frame::Cancel { ch });
        }
    }
}
