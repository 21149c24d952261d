//! The orders of those who hold handles to the link's task.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use rcmd_protocol::{
    frame::Stream,
    outcome::{ErrorKind, Outcome, WireError},
    signal::Signal,
};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{feed::Feed, progress::Reporter, start::StartSource};
use crate::report::Report;

/// An order to the link's task.
pub(crate) enum Order {
    /// A new command.
    Start(Box<NewChannel>),
    /// Bytes for stdin, for which `room` has given permits.
    Stdin { id: u64, bytes: Bytes },
    /// The end of stdin.
    FinishStdin { id: u64 },
    /// The reader of this stream has taken bytes away.
    Consumed { id: u64, stream: Stream },
    /// The reader of this stream has gone away.
    Stop { id: u64, stream: Stream },
    /// A signal for the command.
    Signal { id: u64, signal: Signal },
    /// The command is to be killed.
    Cancel { id: u64 },
    /// The caller waits no longer for the end of the command.
    Abandon { id: u64 },
    /// The process is about to be stopped.
    Suspend,
    /// The process continues after it was stopped.
    Resume,
    /// The connection is to be closed in order, and a message sent when that is done.
    Close(oneshot::Sender<()>),
}

/// A new command, with the link's ends of what its [`Child`](crate::Child) holds.
pub(crate) struct NewChannel {
    /// The number under which orders name it.
    pub(crate) id: u64,
    /// The key and the body of the start.
    pub(crate) start: StartSource,
    /// The purpose of the channel: to run a command, to take one up again, or a dry run.
    pub(crate) purpose: Purpose,
    pub(crate) reporter: Reporter,
    pub(crate) stdout: Feed,
    pub(crate) stderr: Feed,
    /// Permits for standard input, one for each byte that the server has room for.
    pub(crate) room: Arc<Semaphore>,
    /// The time for which to try again while the host is busy.
    pub(crate) busy_wait: Duration,
}

/// The purpose for which a channel is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// The command is to run.
    Run,
    /// A command that was begun before is taken up. Nothing is started.
    Attach,
    /// The host is to say whether it would run the command. Nothing runs.
    DryRun,
}

impl NewChannel {
    /// Ends a command that no connection was ever told of.
    pub(crate) fn refuse(self, host: &str) {
        let failure =
            WireError::new(ErrorKind::Unreachable, format!("the client of {host} is closed"))
                .hint("Connect again.");
        let report = Report::without_job(host, Outcome::NotStarted, failure);
        self.reporter.report(report);
        self.room.close();
    }
}

/// A way to give orders. The task ends when the last one is gone.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    orders: mpsc::UnboundedSender<Order>,
    host: Arc<str>,
    ids: Arc<AtomicU64>,
}

impl Handle {
    /// Returns the first handle of a task, and the end at which the task takes its orders.
    pub(crate) fn new(host: Arc<str>) -> (Self, mpsc::UnboundedReceiver<Order>) {
        let (orders, incoming) = mpsc::unbounded_channel();
        (Self { orders, host, ids: Arc::default() }, incoming)
    }

    /// Returns a number that no other command of this link has.
    pub(crate) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends an order; when the task is gone, there is nobody whom it could concern.
    pub(crate) fn order(&self, order: Order) {
        let _ = self.orders.send(order);
    }

    /// Sends a command off, or ends it when the task is gone.
    pub(crate) fn start(&self, new_channel: NewChannel) {
        if let Err(mpsc::error::SendError(Order::Start(new_channel))) =
            self.orders.send(Order::Start(Box::new(new_channel)))
        {
            new_channel.refuse(&self.host);
        }
    }

    /// Returns the host that the link leads to, as the caller wrote it.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Returns the report of a command whose link ended under it.
    pub(crate) fn abandoned(&self) -> Report {
        let message = format!("the connection to {} was given up with its task", self.host);
        Report::without_job(&self.host, Outcome::Unknown, WireError::new(ErrorKind::Lost, message))
    }
}
