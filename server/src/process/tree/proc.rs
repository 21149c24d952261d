//! Ending trees that are found in `/proc`.
//!
//! Reading `/proc` blocks, for long when a process's memory is busy, so that no worker of the runtime
//! does it; and the one thread never ends, because at the moment when a tree must be killed the host
//! may have no other to give. What is asked for at the same time is done in one walk.

use std::{
    io, mem,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::OwnedFd,
};
use tokio::sync::oneshot;

use super::{
    mark,
    search::{self, Survivor, TreeKill, TreeSearch, TreeSignal},
};
use crate::process::children::{self, Leader};

/// Time given to what was killed before it is looked for again.
const DYING: Duration = Duration::from_millis(50);
/// Time between two looks when there is nothing to wait for.
const PAUSE: Duration = Duration::from_millis(1);

enum Order {
    Kill(TreeSearch, oneshot::Sender<TreeKill>),
    Terminate(TreeSearch),
}

/// A handle of the thread that ends trees. The thread ends with the last handle.
#[derive(Clone, Debug)]
pub(in crate::process) struct ProcKiller {
    orders: Sender<Order>,
}

/// A tree that is known as far as `/proc` tells.
#[derive(Clone, Debug)]
pub(super) struct ProcTree {
    leader: Leader,
    job: String,
    killer: ProcKiller,
}

impl ProcKiller {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the host has no thread to give.
    pub(in crate::process) fn start() -> io::Result<Self> {
        mark::prepare()?;
        let (orders, mailbox) = channel();
        thread::Builder::new().name("killer".to_owned()).spawn(move || work(&mailbox))?;
        Ok(Self { orders })
    }
}

impl ProcTree {
    pub(super) fn new(leader: Leader, job: &str, killer: &ProcKiller) -> Self {
        Self { leader, job: job.to_owned(), killer: killer.clone() }
    }

    /// Kills every process of it, again and again until none is found, for up to 5 s.
    ///
    /// # Cancel safety
    /// Once asked for, it is carried out, also when nobody waits for it.
    pub(super) async fn kill(&self) -> TreeKill {
        let (answer, answered) = oneshot::channel();
        // The thread ends after all who could ask; if it is gone all the same, nothing was done.
        let _ = self.killer.orders.send(Order::Kill(self.search(), answer));
        let left = vec![Survivor::of(self.leader.pid().as_raw_pid())];
        answered.await.unwrap_or(TreeKill { killed: 0, left })
    }

    /// Sends SIGTERM once to each process of it outside of its process group, soon.
    pub(super) fn terminate(&self) {
        let _ = self.killer.orders.send(Order::Terminate(self.search()));
    }

    fn search(&self) -> TreeSearch {
        TreeSearch::new(self.leader, &self.job)
    }
}

/// What the thread has to do.
#[derive(Default)]
struct Work {
    kills: Vec<TreeSearch>,
    answers: Vec<oneshot::Sender<TreeKill>>,
    terms: Vec<TreeSearch>,
}

fn work(mailbox: &Receiver<Order>) {
    let mut work = Work::default();
    let mut pause = None;
    while work.take(mailbox, pause) {
        work.terminate();
        pause = work.kill();
        children::reap_orphans();
    }
}

impl Work {
    /// Takes all orders there are; waits for one when there is no work. Returns false when none can
    /// come any more.
    fn take(&mut self, mailbox: &Receiver<Order>, pause: Option<Duration>) -> bool {
        let first = match pause {
            None => mailbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(pause) => mailbox.recv_timeout(pause),
        };
        if matches!(first, Err(RecvTimeoutError::Disconnected)) && self.kills.is_empty() {
            return false;
        }
        for order in first.into_iter().chain(mailbox.try_iter()) {
            match order {
                Order::Kill(search, answer) => {
                    self.kills.push(search);
                    self.answers.push(answer);
                }
                Order::Terminate(search) => self.terms.push(search),
            }
        }
        true
    }

    fn terminate(&mut self) {
        if !self.terms.is_empty() {
            search::pass(&mut self.terms, TreeSignal::Term);
            self.terms.clear();
        }
    }

    /// Makes one pass over what is to be killed. Returns the pause before the next one, if one is
    /// needed.
    fn kill(&mut self) -> Option<Duration> {
        if self.kills.is_empty() {
            return None;
        }
        let swept = search::pass(&mut self.kills, TreeSignal::Kill);
        let (kills, answers) = (mem::take(&mut self.kills), mem::take(&mut self.answers));
        for (search, answer) in kills.into_iter().zip(answers) {
            match search.result(swept.quiet) {
                // Whoever asked may have gone; the work is done all the same.
                Some(result) => _ = answer.send(result),
                None => {
                    self.kills.push(search);
                    self.answers.push(answer);
                }
            }
        }
        wait_for(&swept.dying, Instant::now() + DYING);
        (!self.kills.is_empty()).then_some(PAUSE)
    }
}

/// Waits until all of these have died.
fn wait_for(dying: &[OwnedFd], until: Instant) {
    for pidfd in dying {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).unwrap_or_default();
        let _ = poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&timeout));
    }
}
