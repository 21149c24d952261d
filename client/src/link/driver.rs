//! The task itself: one place where orders, frames, attempts and time meet.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use rcmd_protocol::{
    frame::{Frame, ServerHello},
    io::ConnectionError,
    limits::CREDIT,
    outcome::{ErrorKind, WireError},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::error::Error;

use super::{
    backoff::Backoff,
    channel::{Channel, Next},
    connection::{Connection, PeerWork, until},
    dial::{ByteStream, Connector, DialError, Dialing},
    order::Order,
    patience::Patience,
};

mod healing;

/// The grace of a server that has not said its own.
const GRACE: Duration = Duration::from_secs(10);
/// Bytes of output after which others have a turn: part of one stream's credit, so that some is
/// given back while the rest still comes.
const YIELD_EVERY: usize = CREDIT as usize / 8;
/// The longest grace that is believed, which is the longest that a server can be set to.
const LONGEST_GRACE: Duration = Duration::from_secs(3600);

/// The task that owns the connection.
pub(super) struct ConnectionDriver {
    host: Arc<str>,
    connector: Box<dyn Connector>,
    orders: mpsc::UnboundedReceiver<Order>,
    /// The present connection.
    connection: Option<Connection>,
    /// All commands without a report, by the number that their handles know.
    channels: BTreeMap<u64, Channel>,
    /// The commands on the present connection: from the number of a channel to the number in `channels`.
    numbers: HashMap<u32, u64>,
    /// The server's part of the last hello that came.
    server: Option<ServerHello>,
    healing: Healing,
    suspended: bool,
    /// Bytes that came since others had a turn.
    since_yield: usize,
}

/// The making of the next connection.
#[derive(Default)]
struct Healing {
    next: NextDial,
    /// The beginning of the silence for which another connection is made beside the present one.
    racing_since: Option<Instant>,
    backoff: Backoff,
    /// The reason why the last connection ended.
    lost: Option<String>,
    dial_error: Option<Error>,
}

/// The proof of a server about commands that no other connection had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Proof {
    /// The commands have not run.
    NothingRan,
    None,
}

/// The next attempt to connect.
#[derive(Default)]
enum NextDial {
    /// None is wanted.
    #[default]
    Unwanted,
    /// The connection is to be made at this time.
    Due(Instant),
    /// The connection is being made.
    Running(Dialing),
}

impl NextDial {
    /// Returns when the attempt is to be made, if it waits for that.
    fn due(&self) -> Option<Instant> {
        match self {
            Self::Due(at) => Some(*at),
            Self::Unwanted | Self::Running(_) => None,
        }
    }
}

/// An event that wakes the task.
enum Event {
    Order(Option<Order>),
    Frame(Result<Frame, ConnectionError>),
    Attempt(Result<Box<dyn ByteStream>, DialError>),
    Time,
}

impl ConnectionDriver {
    pub(super) fn new(
        host: Arc<str>,
        connector: Box<dyn Connector>,
        orders: mpsc::UnboundedReceiver<Order>,
    ) -> Self {
        Self {
            host,
            connector,
            orders,
            connection: None,
            channels: BTreeMap::new(),
            numbers: HashMap::new(),
            server: None,
            healing: Healing::default(),
            suspended: false,
            since_yield: 0,
        }
    }

    /// Lives until the last handle is gone, or until it is told to close.
    pub(super) async fn run(mut self, stream: Box<dyn ByteStream>) {
        self.connection = Some(Connection::new(stream, self.connector.compression()));
        let closed = loop {
            match self.event().await {
                Event::Order(None) => break None,
                Event::Order(Some(Order::Close(closed))) => break Some(closed),
                Event::Order(Some(order)) => self.order(order),
                Event::Frame(Ok(frame)) => {
                    let bytes = frame.payload().len();
                    self.frame(frame).await;
                    self.yield_after(bytes).await;
                }
                Event::Frame(Err(ended)) => self.lost(ended).await,
                Event::Attempt(Ok(stream)) => self.adopt(stream),
                Event::Attempt(Err(dial_error)) => self.dial_error(dial_error),
                Event::Time => self.tick(),
            }
        };
        self.close(closed).await;
    }

    /// Lets the readers take away what came, before all credit is used up: on a runtime of one
    /// thread nobody else would run as long as the socket has more, and the server would have to
    /// wait.
    async fn yield_after(&mut self, bytes: usize) {
        self.since_yield += bytes;
        if self.since_yield >= YIELD_EVERY {
            self.since_yield = 0;
            tokio::task::yield_now().await;
        }
    }

    async fn event(&mut self) -> Event {
        let deadline = self.deadline();
        let Self { orders, connection, healing, .. } = self;
        tokio::select! {
            order = orders.recv() => Event::Order(order),
            frame = async {
                match connection {
                    Some(connection) => connection.next().await,
                    None => std::future::pending().await,
                }
            } => Event::Frame(frame),
            attempt = async {
                match &mut healing.next {
                    NextDial::Running(attempt) => attempt.await,
                    NextDial::Unwanted | NextDial::Due(_) => std::future::pending().await,
                }
            } => Event::Attempt(attempt),
            () = until(deadline) => Event::Time,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        // While an attempt runs beside a silent connection, only its end or a frame matters.
        let watched = self.connection.as_ref().filter(|_| self.is_idle()).zip(self.patience());
        let silence = watched.map(|(connection, patience)| connection.timeout(patience));
        let grace = self.grace();
        let given_up = self.channels.values().filter_map(|channel| channel.deadline(grace)).min();
        let rested = self.channels.values().filter_map(Channel::resting).min();
        let overdue = self.channels.values().filter_map(Channel::overdue).min();
        let overdue = overdue.filter(|_| !self.suspended);
        [silence, self.healing.next.due(), given_up, rested, overdue].into_iter().flatten().min()
    }

    /// Returns how long the connection may be silent; none while its silence means nothing.
    fn patience(&self) -> Option<Patience> {
        let awake = self.channels.values().filter(|channel| channel.resting().is_none());
        let grace = awake.map(|channel| channel.grace(self.grace())).min();
        grace.filter(|_| !self.suspended).map(Patience::within)
    }

    fn grace(&self) -> Duration {
        self.server
            .as_ref()
            .map_or(GRACE, |server| Duration::from_millis(server.grace_ms).min(LONGEST_GRACE))
    }

    // --- orders ---

    fn order(&mut self, order: Order) {
        match order {
            Order::Start(new_channel) => {
                let id = new_channel.id;
                let mut channel = Channel::new(Arc::clone(&self.host), *new_channel);
                if self.connection.is_none() {
                    channel.lose(Instant::now());
                }
                self.channels.insert(id, channel);
                match self.connection {
                    Some(_) => self.attach_to(id, Channel::attach_to),
                    None => self.dial_soon(),
                }
            }
            Order::Stdin { id, bytes } => {
                self.ask(id, |channel, connection| channel.stdin(bytes, connection))
            }
            Order::FinishStdin { id } => self.ask(id, Channel::finish_stdin),
            Order::Consumed { id, stream } => {
                self.ask(id, |channel, connection| channel.consumed(stream, connection));
            }
            Order::Stop { id, stream } => {
                self.ask(id, |channel, connection| channel.stop(stream, connection))
            }
            Order::Signal { id, signal } => {
                self.ask(id, |channel, connection| channel.signal(signal, connection));
            }
            Order::Cancel { id } => self.ask(id, Channel::cancel),
            Order::Abandon { id } => {
                if let Some(mut channel) = self.channels.remove(&id) {
                    if let Some(connection) = &mut self.connection {
                        channel.abandon(connection);
                    }
                    self.release(id, &channel);
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
                if let Some(connection) = &mut self.connection {
                    connection.reset_silence();
                }
                self.channels.values_mut().for_each(Channel::forgive);
            }
            // The loop above takes it.
            Order::Close(_) => {}
        }
    }

    fn ask(&mut self, id: u64, ask: impl FnOnce(&mut Channel, Option<&mut Connection>)) {
        if let Some(channel) = self.channels.get_mut(&id) {
            ask(channel, self.connection.as_mut());
        }
    }

    fn tell(&mut self, frame: Frame) {
        if let Some(connection) = &mut self.connection {
            connection.send(frame);
        }
    }

    /// Puts a channel onto the present connection.
    fn attach_to(&mut self, id: u64, how: impl FnOnce(&mut Channel, &mut Connection) -> Next) {
        let (Some(channel), Some(connection)) = (self.channels.get_mut(&id), &mut self.connection)
        else {
            return;
        };
        let next = how(channel, connection);
        if let (Next::Continue, Some(ch)) = (next, channel.ch()) {
            self.numbers.insert(ch, id);
        }
        self.advance(id, next);
    }

    fn advance(&mut self, id: u64, next: Next) {
        match next {
            Next::Continue => {}
            Next::Restart => {
                self.numbers.retain(|_, &mut of| of != id);
                self.attach_to(id, Channel::start_again);
            }
            Next::RetryLater => self.numbers.retain(|_, &mut of| of != id),
            Next::Ended => {
                if let Some(channel) = self.channels.remove(&id) {
                    self.release(id, &channel);
                }
                self.rest();
            }
        }
    }

    /// Forgets the number of a channel that is gone.
    fn release(&mut self, id: u64, channel: &Channel) {
        if let Some(ch) = channel.ch()
            && self.numbers.get(&ch) == Some(&id)
        {
            self.numbers.remove(&ch);
        }
    }

    /// Calls off what is dialled if no command needs a connection.
    fn rest(&mut self) {
        if self.channels.is_empty() {
            self.healing.next = NextDial::Unwanted;
            self.healing.racing_since = None;
        }
    }

    // --- frames ---

    async fn frame(&mut self, frame: Frame) {
        let Some(connection) = &mut self.connection else { return };
        connection.clear_pending();
        self.recover();
        let Some(connection) = &mut self.connection else { return };
        if let Frame::Hello(hello) = frame {
            connection.hello.clone_from(&hello.server);
            connection.capabilities = hello.capabilities;
            self.healing.backoff.greeted();
            if let Some(server) = &hello.server {
                self.channels.values_mut().for_each(|channel| channel.learn(server.instance));
            }
            self.server = hello.server;
            let waiting = self.channels.iter().filter(|(_, channel)| channel.awaits_hello());
            let ids: Vec<_> = waiting.map(|(&id, _)| id).collect();
            ids.into_iter().for_each(|id| self.attach_to(id, Channel::attach_to));
            return;
        }
        let Some(ch) = frame.channel() else { return };
        let id = self.numbers.get(&ch).copied();
        let Some((id, channel)) = id.and_then(|id| Some((id, self.channels.get_mut(&id)?))) else {
            // Of a channel that was given up. Its end needs to be kept for nobody.
            if let Frame::Exit { .. } = frame {
                connection.send(Frame::Done { ch });
            }
            return;
        };
        match channel.handle(frame, connection) {
            Ok(next) => self.advance(id, next),
            Err(fault) => {
                connection.send(Frame::Error(fault.failure()));
                self.lost(ConnectionError::Protocol(fault)).await;
            }
        }
    }

    // --- the end ---

    async fn close(mut self, closed: Option<oneshot::Sender<()>>) {
        self.orders.close();
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Start(new_channel) => new_channel.refuse(&self.host),
                // What was asked before the close is still said.
                order => self.order(order),
            }
        }
        let peer = if self.channels.is_empty() { PeerWork::Idle } else { PeerWork::Busy };
        if let Some(connection) = &mut self.connection {
            self.channels.values_mut().for_each(|channel| channel.abandon(connection));
        }
        let message = format!("the client of {} was closed", self.host);
        self.end_all(&WireError::new(ErrorKind::Lost, message), Proof::None);
        if let Some(connection) = self.connection.take() {
            connection.close(peer).await;
        }
        if let Some(closed) = closed {
            // Nobody need wait for it.
            let _ = closed.send(());
        }
    }
}
