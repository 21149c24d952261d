//! The task itself: one place where orders, frames, attempts and time meet.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use rcmd_protocol::{
    frame::{Frame, ServerHello},
    io::Ended,
    outcome::{ErrorKind, Failure, Outcome},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    Dial, Dialing, Io, Missed, Order,
    channel::{Channel, Step},
    heal::Backoff,
    wire::{Silence, Wire, until},
};
use crate::child::Notice;

/// The grace of a server that has not said its own.
const GRACE: Duration = Duration::from_secs(10);
/// The longest grace that is believed: past a day, nobody waits.
const LONGEST_GRACE: Duration = Duration::from_secs(86_400);

/// The task that owns the connection.
pub(super) struct Actor {
    host: Arc<str>,
    dial: Box<dyn Dial>,
    orders: mpsc::UnboundedReceiver<Order>,
    /// The present connection.
    wire: Option<Wire>,
    /// All commands without a report, by the number that their handles know.
    channels: BTreeMap<u64, Channel>,
    /// Those on the present connection, by their number there.
    numbers: HashMap<u32, u64>,
    /// What the last server that spoke said of itself.
    server: Option<ServerHello>,
    healing: Healing,
    suspended: bool,
}

/// The making of the next connection.
#[derive(Default)]
struct Healing {
    attempt: Option<Dialing>,
    /// When the next attempt is due.
    due: Option<Instant>,
    backoff: Backoff,
    /// Why the last connection ended, and why the last attempt failed.
    lost: Option<String>,
    missed: Option<Failure>,
}

/// What the task wakes up for.
enum Event {
    Order(Option<Order>),
    Frame(Result<Frame, Ended>),
    Attempt(Result<Box<dyn Io>, Missed>),
    Time,
}

impl Actor {
    pub(super) fn new(
        host: Arc<str>,
        dial: Box<dyn Dial>,
        orders: mpsc::UnboundedReceiver<Order>,
    ) -> Self {
        Self {
            host,
            dial,
            orders,
            wire: None,
            channels: BTreeMap::new(),
            numbers: HashMap::new(),
            server: None,
            healing: Healing::default(),
            suspended: false,
        }
    }

    /// Lives until the last handle is gone, or until it is told to close.
    pub(super) async fn run(mut self, stream: Box<dyn Io>) {
        self.wire = Some(Wire::new(stream));
        let closed = loop {
            match self.event().await {
                Event::Order(None) => break None,
                Event::Order(Some(Order::Close(closed))) => break Some(closed),
                Event::Order(Some(order)) => self.order(order),
                Event::Frame(Ok(frame)) => self.frame(frame).await,
                Event::Frame(Err(ended)) => self.lost(ended).await,
                Event::Attempt(Ok(stream)) => self.adopt(stream),
                Event::Attempt(Err(missed)) => self.missed(missed),
                Event::Time => self.tick(),
            }
        };
        self.close(closed).await;
    }

    async fn event(&mut self) -> Event {
        let deadline = self.deadline();
        let Self { orders, wire, healing, .. } = self;
        tokio::select! {
            order = orders.recv() => Event::Order(order),
            frame = async {
                match wire {
                    Some(wire) => wire.next().await,
                    None => std::future::pending().await,
                }
            } => Event::Frame(frame),
            attempt = async {
                match &mut healing.attempt {
                    Some(attempt) => attempt.await,
                    None => std::future::pending().await,
                }
            } => Event::Attempt(attempt),
            () = until(deadline) => Event::Time,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let silence = self.wire.as_ref().filter(|_| self.watches()).map(Wire::timeout);
        // While an attempt runs beside a silent connection, only its end or a frame matters.
        let silence = silence.filter(|_| self.healing.attempt.is_none() && self.healing.due.is_none());
        let grace = self.grace();
        let given_up = self.channels.values().filter_map(|channel| channel.deadline(grace)).min();
        [silence, self.healing.due, given_up].into_iter().flatten().min()
    }

    /// Whether silence means anything now.
    fn watches(&self) -> bool {
        !self.suspended && !self.channels.is_empty()
    }

    fn grace(&self) -> Duration {
        self.server.as_ref().map_or(GRACE, |server| {
            Duration::from_millis(server.grace_ms).min(LONGEST_GRACE)
        })
    }

    // --- orders ---

    fn order(&mut self, order: Order) {
        match order {
            Order::Start(opening) => {
                let id = opening.id;
                let mut channel = Channel::new(Arc::clone(&self.host), *opening);
                match &self.wire {
                    Some(_) => {}
                    None => {
                        channel.lose(Instant::now());
                        self.dial_soon();
                    }
                }
                self.channels.insert(id, channel);
                if self.wire.is_some() {
                    self.board(id, Channel::board);
                }
            }
            Order::Stdin { id, bytes } => self.ask(id, |channel, wire| channel.stdin(bytes, wire)),
            Order::FinishStdin { id } => self.ask(id, Channel::finish_stdin),
            Order::Consumed { id, stream } => {
                self.ask(id, |channel, wire| channel.consumed(stream, wire));
            }
            Order::Stop { id, stream } => self.ask(id, |channel, wire| channel.stop(stream, wire)),
            Order::Signal { id, signal } => {
                self.ask(id, |channel, wire| channel.signal(signal, wire));
            }
            Order::Cancel { id } => self.ask(id, Channel::cancel),
            Order::Abandon { id } => {
                if let Some(mut channel) = self.channels.remove(&id) {
                    if let Some(wire) = &mut self.wire {
                        channel.abandon(wire);
                    }
                    self.numbers.remove(&channel.ch());
                }
                self.rest();
            }
            Order::Suspend => {
                self.suspended = true;
                self.tell(Frame::Suspend);
            }
            Order::Resume => {
                self.suspended = false;
                self.tell(Frame::Resume);
                if let Some(wire) = &mut self.wire {
                    wire.forgive();
                }
            }
            // The loop above takes it.
            Order::Close(_) => {}
        }
    }

    fn ask(&mut self, id: u64, ask: impl FnOnce(&mut Channel, Option<&mut Wire>)) {
        if let Some(channel) = self.channels.get_mut(&id) {
            ask(channel, self.wire.as_mut());
        }
    }

    fn tell(&mut self, frame: Frame) {
        if let Some(wire) = &mut self.wire {
            wire.send(frame);
        }
    }

    /// Puts a channel onto the present connection.
    fn board(&mut self, id: u64, how: impl FnOnce(&mut Channel, &mut Wire) -> Step) {
        let (Some(channel), Some(wire)) = (self.channels.get_mut(&id), &mut self.wire) else {
            return;
        };
        self.numbers.remove(&channel.ch());
        let step = how(channel, wire);
        self.numbers.insert(channel.ch(), id);
        self.step(id, step);
    }

    fn step(&mut self, id: u64, step: Step) {
        match step {
            Step::On => {}
            Step::Again => self.board(id, Channel::start_again),
            Step::Ended => {
                if let Some(channel) = self.channels.remove(&id) {
                    self.numbers.remove(&channel.ch());
                }
                self.rest();
            }
        }
    }

    /// With nothing to heal for, nothing is dialled.
    fn rest(&mut self) {
        if self.channels.is_empty() {
            self.healing.attempt = None;
            self.healing.due = None;
        }
    }

    // --- frames ---

    async fn frame(&mut self, frame: Frame) {
        let Some(wire) = &mut self.wire else { return };
        wire.settle();
        if wire.is_answered() && self.healing.attempt.take().is_some() | self.healing.due.take().is_some()
        {
            // It was only slow. What was dialled beside it is not needed.
            self.healing.backoff.reset();
        }
        let Some(wire) = &mut self.wire else { return };
        if let Frame::Hello(hello) = frame {
            wire.hello.clone_from(&hello.server);
            self.healing.backoff.reset();
            if let Some(server) = &hello.server {
                self.channels.values_mut().for_each(|channel| channel.learn(server.instance));
            }
            self.server = hello.server;
            return;
        }
        let Some(ch) = frame.channel() else { return };
        let id = self.numbers.get(&ch).copied();
        let Some((id, channel)) = id.and_then(|id| Some((id, self.channels.get_mut(&id)?))) else {
            // Of a channel that was given up. Its end needs to be kept for nobody.
            if let Frame::Exit(_) = frame {
                wire.send(Frame::Done { ch });
            }
            return;
        };
        match channel.handle(frame, wire) {
            Ok(step) => self.step(id, step),
            Err(fault) => {
                wire.send(Frame::Error(fault.failure()));
                self.lost(Ended::Fault(fault)).await;
            }
        }
    }

    // --- loss and healing ---

    /// The connection has ended. What that proves for each channel is decided here.
    async fn lost(&mut self, ended: Ended) {
        let Some(wire) = self.wire.take() else { return };
        self.numbers.clear();
        let greeted = wire.hello.is_some();
        let reason = ended.to_string();
        let verdict = match ended {
            Ended::Fault(fault) => {
                // Nothing that this server says can be relied on.
                let failure = fault.failure();
                let message = format!("{} broke the protocol: {}", self.host, failure.message);
                wire.close().await;
                Some((Failure { message, ..failure }, false))
            }
            // The server judges a client before it takes any start from it.
            Ended::Told(failure) if !greeted => {
                let passing = failure.kind == ErrorKind::Busy && self.server.is_some();
                if passing { None } else { Some((failure, true)) }
            }
            Ended::Told(failure) => Some((failure, false)),
            Ended::Io(error) if !greeted => {
                self.dial.refusal(&error).map(|failure| (failure, true))
            }
            Ended::Io(_) | Ended::Closed | Ended::Gone(_) => None,
        };
        if let Some((failure, nothing_ran)) = verdict {
            return self.end_all(&failure, nothing_ran);
        }
        self.set_adrift(Instant::now(), &reason);
        self.dial_soon();
    }

    fn set_adrift(&mut self, since: Instant, reason: &str) {
        for channel in self.channels.values_mut() {
            channel.lose(since);
            channel.notice(Notice::Lost(reason.to_owned()));
        }
        self.healing.lost = Some(reason.to_owned());
    }

    /// Ends all commands for one reason. With `nothing_ran`, those that no other connection had did not
    /// start.
    fn end_all(&mut self, failure: &Failure, nothing_ran: bool) {
        for channel in self.channels.values_mut() {
            let _ended = if nothing_ran && channel.is_fresh() {
                channel.conclude(Outcome::NotStarted, failure.clone())
            } else {
                channel.end_without(failure.clone())
            };
        }
        self.channels.clear();
        self.numbers.clear();
        self.rest();
    }

    fn dial_soon(&mut self) {
        let idle = self.healing.attempt.is_none() && self.healing.due.is_none();
        if idle && !self.channels.is_empty() {
            self.healing.due = Some(Instant::now() + self.healing.backoff.pause());
        }
    }

    fn missed(&mut self, missed: Missed) {
        self.healing.attempt = None;
        if missed.is_final && self.wire.is_none() {
            return self.end_all(&missed.failure, false);
        }
        self.healing.missed = Some(missed.failure);
        self.dial_soon();
    }

    /// Takes a new connection. The one before is dropped first, with all that it may still have said:
    /// only then do the offsets that each channel states stay true.
    fn adopt(&mut self, stream: Box<dyn Io>) {
        self.healing.attempt = None;
        self.healing.missed = None;
        if self.wire.take().is_some() {
            self.channels.values_mut().for_each(|channel| channel.lose(Instant::now()));
        }
        self.numbers.clear();
        self.wire = Some(Wire::new(stream));
        if self.suspended {
            self.tell(Frame::Suspend);
        }
        let ids: Vec<_> = self.channels.keys().copied().collect();
        ids.into_iter().for_each(|id| self.board(id, Channel::board));
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if self.healing.due.is_some_and(|due| now >= due) {
            self.healing.due = None;
            self.healing.attempt = Some(self.dial.dial());
        }
        self.give_up(now);
        if self.watches()
            && let Some(wire) = &mut self.wire
            && let Silence::Since(since) = wire.silence(now)
            && self.healing.attempt.is_none()
            && self.healing.due.is_none()
        {
            let silent = now.duration_since(since).as_secs();
            for channel in self.channels.values() {
                channel.notice(Notice::Lost(format!("nothing was heard for {silent} s")));
            }
            self.dial_soon();
        }
    }

    fn give_up(&mut self, now: Instant) {
        let grace = self.grace();
        let late = |channel: &Channel| channel.deadline(grace).is_some_and(|deadline| now >= deadline);
        let ids: Vec<_> =
            self.channels.iter().filter(|(_, channel)| late(channel)).map(|(&id, _)| id).collect();
        for id in ids {
            let failure = self.grace_is_over();
            if let Some(channel) = self.channels.get_mut(&id) {
                let step = channel.end_without(failure);
                self.step(id, step);
            }
        }
    }

    fn grace_is_over(&self) -> Failure {
        let Healing { lost, missed, .. } = &self.healing;
        let lost = lost.as_deref().unwrap_or("it was never made");
        let mut message = format!("the connection to {} was lost ({lost})", self.host);
        match missed {
            Some(missed) => message.push_str(&format!(" and could not be made again: {missed}")),
            None => message.push_str(" and the command was not taken up again in time"),
        }
        Failure::new(ErrorKind::Lost, message).hint(format!(
            "Try `rcmd-client doctor {}`; look on the host for what the command did.",
            self.host
        ))
    }

    // --- the end ---

    async fn close(mut self, closed: Option<oneshot::Sender<()>>) {
        self.orders.close();
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Start(opening) => opening.refuse(&self.host),
                // What was asked before the close is still said.
                order => self.order(order),
            }
        }
        if let Some(wire) = &mut self.wire {
            self.channels.values_mut().for_each(|channel| channel.abandon(wire));
        }
        let message = format!("the client of {} was closed", self.host);
        self.end_all(&Failure::new(ErrorKind::Lost, message), false);
        if let Some(wire) = self.wire.take() {
            wire.close().await;
        }
        if let Some(closed) = closed {
            // Nobody need wait for it.
            let _ = closed.send(());
        }
    }
}
