//! The link to one host: a task that owns the connection, all channels on it, and their healing.
//!
//! ```text
//!  Client, Command, Child      orders        Actor                          Wire
//!  ChildStdin, ChildOutput  ------------>  channels, healing  <--------> one connection: reader,
//!                           <------------                                writer task, silence
//!                        progress, notices,
//!                        feeds, room
//! ```
//!
//! What a caller holds gives orders and never waits for the task; what the task gives back is bounded
//! by credit: bytes in the `feeds` of output streams, permits for stdin in `room`.
//!
//! The life of a channel, as [`channel`] has it; *sent* is what decides whether it may start again:
//!
//! ```text
//!            start                   started, attached
//!  Adrift ----------> Asking -------------------------------> Running --end,end,exit--> (report)
//!    ^  |               |  ^                                     ^ |
//!    |  | attach        |  | refused unknown_key,       attached | | the connection is lost
//!    |  +---------> Attaching by the instance it went to --------+ |
//!    |                  |                                          |
//!    +------------------+------------------------------------------+   past the grace: (report)
//! ```
//!
//! # Why nothing runs twice
//!
//! - A key starts at most one job on one server process, whatever is sent how often, in whatever
//!   order: a `start` that is known attaches, and one that comes late over an old connection has a
//!   lower generation and is refused. So only another server process can run a command twice.
//! - `unknown_key` therefore allows a new start only when it comes from the very process that had the
//!   first one ([`channel::Sent::To`]), or when the key is the caller's own and thereby durable.
//! - A connection that breaks before its hello leaves open which process had the start
//!   ([`channel::Sent::Unsure`]). It may have run there, so `unknown_key` then means `unknown`.
//! - A start that was never handed to a connection ([`channel::Sent::No`]) can be sent to any.
//! - A server that answers `not_started` has said that nothing ran: after `busy` the start is sent
//!   again, under a key of its own.
//! - After `started`, nothing is ever sent as a start again.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use rcmd_protocol::{
    frame::{StartBody, Stream},
    ids::Key,
    limits::CREDIT,
    outcome::{ErrorKind, Failure, Outcome},
    signal::Signal,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Semaphore, mpsc, oneshot, watch},
};

use crate::{
    child::{Child, Notice, Progress},
    report::Report,
    stdin::ChildStdin,
    stream::{self, Feed},
};

mod actor;
mod channel;
mod heal;
mod input;
mod receiving;
#[cfg(test)]
mod tests;
mod wire;

/// Notices that wait for a caller; further ones are dropped.
const NOTICES: usize = 64;

/// A stream that a connection runs on.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// How the host is reached; tests have their own.
pub(crate) trait Dial: Send + Sync {
    /// Makes one attempt at a connection.
    fn dial(&self) -> Dialing;

    /// Whether the server shall be asked to compress.
    fn compresses(&self) -> bool;

    /// What the server says when `error` is its refusal of this client, which no retry mends.
    fn refusal(&self, error: &io::Error) -> Option<Failure>;
}

/// An attempt at a connection.
pub(crate) type Dialing = Pin<Box<dyn Future<Output = Result<Box<dyn Io>, Missed>> + Send>>;

/// An attempt that failed.
#[derive(Clone, Debug)]
pub(crate) struct Missed {
    pub(crate) failure: Failure,
    /// Whether another attempt would fail likewise.
    pub(crate) is_final: bool,
}

/// What the holders of handles ask of the task.
pub(crate) enum Order {
    /// A new command.
    Start(Box<Opening>),
    /// Bytes for stdin, for which `room` has given permits.
    Stdin { id: u64, bytes: Bytes },
    /// The end of stdin.
    FinishStdin { id: u64 },
    /// The reader of this stream has taken bytes away.
    Consumed { id: u64, stream: Stream },
    /// Nobody reads this stream any more.
    Stop { id: u64, stream: Stream },
    /// A signal for the command.
    Signal { id: u64, signal: Signal },
    /// Kill it.
    Cancel { id: u64 },
    /// Nobody waits for its end.
    Abandon { id: u64 },
    /// The process is about to be stopped.
    Suspend,
    /// The process goes on.
    Resume,
    /// Close in order, and say when that is done.
    Close(oneshot::Sender<()>),
}

/// A new command, with the link's ends of what its [`Child`] holds.
pub(crate) struct Opening {
    id: u64,
    key: Key,
    body: StartBody,
    progress: watch::Sender<Progress>,
    notices: mpsc::Sender<Notice>,
    stdout: Feed,
    stderr: Feed,
    room: Arc<Semaphore>,
    purpose: Purpose,
    patience: Duration,
}

/// What a channel is opened for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// The command is to run.
    Run,
    /// The host is to say whether it would run the command. Nothing runs.
    DryRun,
}

/// A way to give orders. The task ends when the last one is gone.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    orders: mpsc::UnboundedSender<Order>,
    host: Arc<str>,
    ids: Arc<AtomicU64>,
}

impl Handle {
    /// Gives an order; when the task is gone, there is nobody whom it could concern.
    pub(crate) fn order(&self, order: Order) {
        let _ = self.orders.send(order);
    }

    /// The host that the link leads to, as the caller wrote it.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The report of a command whose link ended under it.
    pub(crate) fn abandoned(&self) -> Report {
        let message = format!("the connection to {} was given up with its task", self.host);
        Report::without_job(&self.host, Outcome::Unknown, Failure::new(ErrorKind::Lost, message))
    }
}

/// Starts the task on a stream that `dial` gave.
pub(crate) fn open(host: String, dial: Box<dyn Dial>, stream: Box<dyn Io>) -> Handle {
    let (orders, incoming) = mpsc::unbounded_channel();
    let host: Arc<str> = host.into();
    tokio::spawn(actor::Actor::new(Arc::clone(&host), dial, incoming).run(stream));
    Handle { orders, host, ids: Arc::default() }
}

/// A handle whose orders nobody takes.
#[cfg(test)]
pub(crate) fn detached() -> Handle {
    Handle { orders: mpsc::unbounded_channel().0, host: "web1".into(), ids: Arc::default() }
}

/// Sends a command off, again for so long while the host is busy.
pub(crate) fn start(
    link: &Handle,
    key: Key,
    body: StartBody,
    purpose: Purpose,
    patience: Duration,
) -> Child {
    let id = link.ids.fetch_add(1, Ordering::Relaxed);
    let (progress, seen) = watch::channel(Progress::default());
    let (notices, noticed) = mpsc::channel(NOTICES);
    let (out_feed, stdout) = stream::queue(id, Stream::Stdout, link.clone());
    let (err_feed, stderr) = stream::queue(id, Stream::Stderr, link.clone());
    let room = Arc::new(Semaphore::new(usize::try_from(CREDIT).unwrap_or_default()));
    let stdin = body.stdin().then(|| ChildStdin::new(id, link.clone(), Arc::clone(&room)));
    let child = Child {
        stdin,
        stdout: Some(stdout),
        stderr: Some(stderr),
        id,
        link: link.clone(),
        progress: seen,
        notices: Some(noticed),
    };
    let opening = Opening {
        id,
        key,
        body,
        progress,
        notices,
        stdout: out_feed,
        stderr: err_feed,
        room,
        purpose,
        patience,
    };
    if let Err(mpsc::error::SendError(Order::Start(opening))) =
        link.orders.send(Order::Start(Box::new(opening)))
    {
        opening.refuse(&link.host);
    }
    child
}

impl Opening {
    /// Ends a command that no connection was ever told of.
    fn refuse(self, host: &str) {
        let failure =
            Failure::new(ErrorKind::Unreachable, format!("the client of {host} is closed"))
                .hint("Connect again.");
        let report = Report::without_job(host, Outcome::NotStarted, failure);
        self.progress.send_modify(|progress| progress.report = Some(report));
        self.room.close();
    }
}
