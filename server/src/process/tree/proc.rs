//! Ending trees that are found in `/proc`.
//!
//! Reading `/proc` blocks, for long if a process's memory is busy, so no worker of the runtime does
//! it. The one thread never ends, because the host may be unable to start another when a tree must
//! be killed. Orders that arrive at the same time are carried out in one walk.

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

/// The time that killed processes have before the next look for more.
const DYING: Duration = Duration::from_millis(50);
/// The time between two looks if there is nothing to wait for.
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

/// A tree that is known as far as `/proc` shows it.
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
    /// If the host can't start a thread.
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

    /// Kills every process of it, again and again until none is found, up to 5 s.
    ///
    /// # Cancel safety
    /// Once called, the kill is carried out even if the future is dropped.
    pub(super) async fn kill(&self) -> TreeKill {
        let (answer, answered) = oneshot::channel();
        // The thread ends after all handles; if it is gone all the same, nothing was done.
        let _ = self.killer.orders.send(Order::Kill(self.search(), answer));
        let left = vec![Survivor::of(self.leader.pid().as_raw_pid())];
        answered.await.unwrap_or(TreeKill { killed: 0, left })
    }

    /// Sends SIGTERM once to each process of it outside its process group, without waiting.
    pub(super) fn terminate(&self) {
        let _ = self.killer.orders.send(Order::Terminate(self.search()));
    }

    fn search(&self) -> TreeSearch {
        TreeSearch::new(self.leader, &self.job)
    }
}

/// The work of the thread.
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
    /// Takes all orders that there are, and waits for one if there is no work. Returns false if no
    /// more orders can arrive.
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

    /// Makes one pass over the trees to kill. Returns the pause before the next pass, if one is
    /// needed.
    fn kill(&mut self) -> Option<Duration> {
        if self.kills.is_empty() {
            return None;
        }
        let swept = search::pass(&mut self.kills, TreeSignal::Kill);
        let (kills, answers) = (mem::take(&mut self.kills), mem::take(&mut self.answers));
        for (search, answer) in kills.into_iter().zip(answers) {
            match search.result(swept.quiet) {
                // The caller may have gone; the work is done all the same.
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

/// Waits until all of these have died, or until `until`.
fn wait_for(dying: &[OwnedFd], until: Instant) {
    for pidfd in dying {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).unwrap_or_default();
        let _ = poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&timeout));
    }
}
