//! One command: what was sent of it, what came back, and what that proves.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use rcmd_protocol::{
    frame::{Frame, OutputOffsets, Stream, capability},
    ids::Instance,
    outcome::{ErrorKind, Outcome, WireError},
    signal::Signal,
};
use tokio::time::Instant;

use super::{
    connection::Connection,
    input::Input,
    notices::Notice,
    order::{NewChannel, Purpose},
    progress::Reporter,
    receiving::Receiving,
    start::StartSource,
};

mod busy;
mod busy_retry;
mod end;
mod on_frame;
mod overdue;
mod requests;
mod state;
mod streams;

use busy_retry::BusyRetry;
use overdue::Overdue;
use requests::Requests;
use state::{Job, Lost, StartSent, State};
use streams::Streams;

/// Starts that are sent again because another client's generation was higher.
const GENERATION_RETRIES: u32 = 2;

/// The next action that a channel needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(super) enum Next {
    /// No action: the channel continues.
    Continue,
    /// The channel must be put onto the present connection anew, as a start.
    Restart,
    /// The channel must be put onto a connection later, as a start.
    RetryLater,
    /// The channel has reported the end of its command.
    Ended,
}

/// One command.
pub(super) struct Channel {
    host: Arc<str>,
    purpose: Purpose,
    start: StartSource,
    sent: StartSent,
    state: State,
    reporter: Reporter,
    streams: Streams,
    requests: Requests,
    job: Job,
    generation_retries: u32,
    busy_retry: BusyRetry,
    overdue: Overdue,
}

impl Channel {
    /// Takes a new command, which no connection has.
    pub(super) fn new(host: Arc<str>, new_channel: NewChannel) -> Self {
        let NewChannel { start, purpose, reporter, stdout, stderr, room, busy_wait, .. } =
            new_channel;
        let credit = start.body().credit();
        let streams = Streams {
            // Nothing would read it in a dry run.
            input: (start.body().stdin() && purpose == Purpose::Run).then(|| Input::new(room)),
            stdout: Receiving::new(Stream::Stdout, stdout, credit),
            stderr: Receiving::new(Stream::Stderr, stderr, credit),
        };
        Self {
            host,
            purpose,
            start,
            // What is only taken up may have been sent by whoever began it.
            sent: match purpose {
                Purpose::Attach => StartSent::Unknown,
                Purpose::Run | Purpose::DryRun => StartSent::Never,
            },
            state: State::Detached { lost: None },
            reporter,
            streams,
            requests: Requests::default(),
            job: Job::Unnamed,
            generation_retries: 0,
            busy_retry: BusyRetry::Untried(busy_wait),
            overdue: Overdue::default(),
        }
    }

    /// Returns whether it is to be put onto the connection when the server has said what it can.
    pub(super) fn awaits_hello(&self) -> bool {
        matches!(self.state, State::Detached { .. }) && self.sent == StartSent::Never
    }

    /// Returns whether it is a question, of which nothing runs.
    pub(super) fn asks(&self) -> bool {
        self.purpose == Purpose::DryRun
    }

    /// Returns its number on the present connection, if that has it.
    pub(super) fn ch(&self) -> Option<u32> {
        self.state.ch()
    }

    /// Returns whether the server can have heard of it on no other connection than the present.
    pub(super) fn is_fresh(&self) -> bool {
        matches!(self.sent, StartSent::Never | StartSent::AwaitingHello)
    }

    /// Returns how long it outlives its connection, on a server of this grace.
    pub(super) fn grace(&self, grace: Duration) -> Duration {
        self.start.body().grace_ms().map_or(grace, Duration::from_millis).min(grace)
    }

    /// Returns when it is to be given up, unless the server has it.
    pub(super) fn deadline(&self, grace: Duration) -> Option<Instant> {
        let lost = self.state.lost().map(|lost| lost.at + self.grace(grace));
        lost.into_iter().chain(self.busy_retry_ends()).min()
    }

    // --- on and off a connection ---

    /// Goes onto a connection: as a start if none had it before, else to take it up.
    ///
    /// A start that needs more of the server than every server can waits for its hello: a server
    /// that does not know what was asked for would ignore it.
    pub(super) fn attach_to(&mut self, connection: &mut Connection) -> Next {
        if self.sent == StartSent::Never && self.needs().next().is_some() {
            if connection.hello.is_none() {
                self.state = State::Detached { lost: self.state.lost() };
                return Next::RetryLater;
            }
            let lacks = |need: &&str| !connection.capabilities.iter().any(|can| can == need);
            if let Some(need) = self.needs().find(lacks) {
                let message = format!("the server of {} does not know `{need}`", self.host);
                let failure = WireError::new(ErrorKind::Protocol, message)
                    .hint("It is older than this client: bring it up to date, or do without.");
                return self.conclude(Outcome::NotStarted, failure);
            }
        }
        let Some(ch) = connection.open_channel() else {
            let failure = WireError::new(ErrorKind::Resources, "all channel numbers are used up");
            return self.end_without(failure.hint("Connect again."));
        };
        if self.sent == StartSent::Never {
            self.send_start(ch, connection);
        } else {
            self.state = State::Attaching { ch, lost: self.state.lost() };
            let received = OutputOffsets {
                stdout: self.streams.stdout.received(),
                stderr: self.streams.stderr.received(),
            };
            connection.send(Frame::Attach(self.start.attach(ch, received)));
        }
        Next::Continue
    }

    /// Returns what the server must have said that it can, beyond `exec`.
    fn needs(&self) -> impl Iterator<Item = &'static str> + use<> {
        let ask = self.asks().then_some(capability::ASK);
        self.start.body().needs().chain(ask)
    }

    /// Sends the start again, on a channel of its own.
    pub(super) fn start_again(&mut self, connection: &mut Connection) -> Next {
        if self.purpose == Purpose::Attach {
            return self.attach_to(connection);
        }
        // With the caller's own key the record answers, and needs no input.
        if !self.streams.rewind_input() && !self.start.body().keep() {
            let message =
                format!("{} has no trace of the command, and its input is gone", self.host);
            return self
                .end_without(WireError::new(ErrorKind::Lost, message).hint("Start it again."));
        }
        self.sent = StartSent::Never;
        self.attach_to(connection)
    }

    fn send_start(&mut self, ch: u32, connection: &mut Connection) {
        self.sent = match &connection.hello {
            Some(hello) => StartSent::To(hello.instance),
            None => StartSent::AwaitingHello,
        };
        self.state = State::Starting { ch, lost: self.state.lost() };
        self.await_start();
        let start = self.start.start(ch);
        connection.send(match self.purpose {
            Purpose::Run | Purpose::Attach => Frame::Start(start),
            Purpose::DryRun => Frame::Ask(start),
        });
        self.repeat_requests(connection);
        self.send_input(connection);
    }

    /// Notes which server process is behind the present connection.
    pub(super) fn learn(&mut self, instance: Instance) {
        if self.sent == StartSent::AwaitingHello {
            self.sent = StartSent::To(instance);
        }
    }

    /// Leaves its connection, which is gone and was silent from `since` on. One that rests has lost
    /// nothing.
    pub(super) fn lose(&mut self, since: Instant) {
        if let State::Resting { .. } = self.state {
            return;
        }
        let lost = self.state.lost().unwrap_or_else(|| Lost { at: Instant::now(), since });
        self.state = State::Detached { lost: Some(lost) };
        match (self.purpose, self.sent) {
            // A question runs nothing, so that it may be asked again, wherever it was asked before.
            (Purpose::DryRun, _) => self.sent = StartSent::Never,
            (_, StartSent::AwaitingHello) => self.sent = StartSent::Unknown,
            (_, _) => {}
        }
    }

    /// Sends a notice to a person who waits. If too many wait unread, it is dropped.
    pub(super) fn notice(&self, notice: Notice) {
        self.reporter.notice(notice);
    }

    // --- what the caller asks ---

    pub(super) fn stdin(&mut self, bytes: Bytes, connection: Option<&mut Connection>) {
        if let Some(input) = &mut self.streams.input {
            input.append(bytes);
        }
        self.send_input_if(connection);
    }

    pub(super) fn finish_stdin(&mut self, connection: Option<&mut Connection>) {
        if let Some(input) = &mut self.streams.input {
            input.finish();
        }
        self.send_input_if(connection);
    }

    fn send_input_if(&mut self, connection: Option<&mut Connection>) {
        if let Some(connection) = connection {
            self.send_input(connection);
        }
    }

    fn send_input(&mut self, connection: &mut Connection) {
        let (Some(ch), Some(input)) = (self.state.open_ch(), &mut self.streams.input) else {
            return;
        };
        while let Some(frame) = input.next(ch) {
            connection.send(frame);
        }
    }

    /// Returns credit for what the reader of a stream has taken away.
    pub(super) fn consumed(&mut self, stream: Stream, connection: Option<&mut Connection>) {
        self.streams.output(stream).consumed();
        if let (Some(connection), State::Running { .. }) = (connection, self.state) {
            self.send_window_due(stream, connection);
        }
    }

    /// Notifies the server that nobody reads a stream any more.
    pub(super) fn stop(&mut self, stream: Stream, connection: Option<&mut Connection>) {
        if self.streams.output(stream).stop() {
            self.request(connection, |ch| Frame::Stop { ch, stream });
        }
    }

    /// Sends the command a signal.
    pub(super) fn signal(&mut self, signal: Signal, connection: Option<&mut Connection>) {
        let number = self.requests.signal(signal);
        self.request(connection, |ch| Frame::Signal { ch, number, signal });
    }

    /// Asks the server to kill the command.
    pub(super) fn cancel(&mut self, connection: Option<&mut Connection>) {
        self.requests.cancel();
        self.request(connection, |ch| Frame::Cancel { ch });
    }

    /// Sends what the caller asks for, if the server takes it now; else it is sent later.
    fn request(&self, connection: Option<&mut Connection>, frame: impl FnOnce(u32) -> Frame) {
        if let (Some(connection), Some(ch)) = (connection, self.state.open_ch()) {
            connection.send(frame(ch));
        }
    }

    /// Abandons the command: nobody waits for its end. What still comes for its channel is ignored,
    /// its exit answered.
    pub(super) fn abandon(&mut self, connection: &mut Connection) {
        let Some(ch) = self.state.ch() else { return };
        if self.purpose != Purpose::DryRun {
            connection.send(Frame::Cancel { ch });
            connection.send(Frame::Stop { ch, stream: Stream::Stdout });
            connection.send(Frame::Stop { ch, stream: Stream::Stderr });
        }
        connection.forget(ch);
    }

    /// Repeats on another connection what the server may not have heard.
    fn repeat_requests(&mut self, connection: &mut Connection) {
        let Some(ch) = self.state.ch() else { return };
        self.requests.signals(ch).for_each(|signal| connection.send(signal));
        for stream in self.streams.stopped() {
            connection.send(Frame::Stop { ch, stream });
        }
        if let Some(cancel) = self.requests.cancellation(ch) {
            connection.send(cancel);
        }
    }
}
