//! The thread that looks through `/proc`: it ends trees and reaps orphans.
//!
//! Reading `/proc` blocks, for long when a process's memory is busy, so that no worker of the runtime
//! does it; and the one thread never ends, because at the moment when a tree must be killed the host
//! may have no other to give. What is asked for at the same time is done in one walk.

use std::{
    io, mem,
    sync::{
        Arc, Weak,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::OwnedFd,
};
use tokio::sync::oneshot;

use crate::process::{
    cgroup::Lease,
    children::{self, Leader},
    tree::search::{self, TreeKill, TreeSearch, TreeSignal},
    workers::Workers,
};

/// Time given to what was killed before it is looked for again.
const DYING: Duration = Duration::from_millis(50);
/// The same when there is nothing to wait for but another look.
const PAUSE: Duration = Duration::from_millis(1);

enum Order {
    Kill(TreeSearch, oneshot::Sender<TreeKill>),
    Term(TreeSearch),
    KillMarked(String, oneshot::Sender<usize>),
    Do(Box<dyn FnOnce() + Send>),
    Reap,
}

/// Gives orders to the thread, which ends with the last of these.
#[derive(Clone, Debug)]
pub(in crate::process) struct TreeReaper {
    orders: Sender<Order>,
}

/// The tree of a job: all processes that came of its first one. In a cgroup they are known exactly,
/// else as far as `/proc` tells.
#[derive(Clone, Debug)]
pub struct Tree {
    leader: Leader,
    job: String,
    reaper: TreeReaper,
    /// With the threads that its kill may block.
    cgroup: Option<(Weak<Lease>, Workers)>,
}

impl TreeReaper {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the host has no thread to give.
    pub(in crate::process) fn start() -> io::Result<Self> {
        let (orders, mailbox) = channel();
        thread::Builder::new().name("reaper".to_owned()).spawn(move || sweep(&mailbox))?;
        Ok(Self { orders })
    }

    pub(in crate::process) fn tree(
        &self,
        leader: Leader,
        job: &str,
        cgroup: Option<Arc<Lease>>,
        spawner: &Workers,
    ) -> Tree {
        let cgroup = cgroup.map(|cgroup| (Arc::downgrade(&cgroup), spawner.clone()));
        Tree { leader, job: job.to_owned(), reaper: self.clone(), cgroup }
    }

    /// Looks once through all of `/proc` for what bears the mark of a job, kills it, and says how many
    /// lived.
    pub(in crate::process) async fn kill_marked(&self, job: &str) -> usize {
        let (answer, answered) = oneshot::channel();
        let _ = self.orders.send(Order::KillMarked(job.to_owned(), answer));
        // Without the thread, nobody has looked.
        answered.await.unwrap_or(usize::MAX)
    }

    /// Reaps dead orphans soon.
    pub(in crate::process) fn reap(&self) {
        let _ = self.orders.send(Order::Reap);
    }
}

impl Tree {
    /// Kills every process of it, again and again until none is found, for up to 5 s.
    ///
    /// # Cancel safety
    /// Once asked for, it is carried out, also when nobody waits for it.
    pub async fn kill(&self) -> TreeKill {
        if let Some((cgroup, spawner)) = &self.cgroup {
            // Once the process is reaped its cgroup is another's.
            let Some(cgroup) = cgroup.upgrade() else { return TreeKill::default() };
            let killing = Arc::clone(&cgroup);
            return match spawner.run(move |_| killing.kill()).await {
                Some(Ok(killed)) => cgroup.emptied(killed).await,
                Some(Err(kill)) => kill,
                None => TreeKill::default(),
            };
        }
        let (answer, answered) = oneshot::channel();
        // The thread ends after all who could ask; if it is gone all the same, nothing was done.
        let _ = self.reaper.orders.send(Order::Kill(self.search(), answer));
        let left = vec![self.leader.pid().as_raw_pid()];
        answered.await.unwrap_or(TreeKill { killed: 0, left })
    }

    /// Sends SIGTERM once to each process of it outside of its process group, soon; the group is
    /// signalled by [`crate::process::Process::signal_group`], all at once.
    pub fn terminate(&self) {
        if let Some((cgroup, _)) = &self.cgroup {
            let (cgroup, group) = (cgroup.clone(), self.leader.pid());
            let terminate = move || _ = cgroup.upgrade().map(|cgroup| cgroup.terminate(group));
            let _ = self.reaper.orders.send(Order::Do(Box::new(terminate)));
            return;
        }
        let _ = self.reaper.orders.send(Order::Term(self.search()));
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

fn sweep(mailbox: &Receiver<Order>) {
    let mut work = Work::default();
    let mut pause = None;
    while work.take(mailbox, pause) {
        work.terminate();
        pause = work.kill();
        children::reap_orphans();
    }
}

impl Work {
    /// Takes all orders there are; waits for one when there is no work. False when none can come.
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
                Order::Reap => {}
                Order::KillMarked(job, answer) => {
                    _ = answer.send(search::kill_marked(job.as_bytes()))
                }
                Order::Kill(search, answer) => {
                    self.kills.push(search);
                    self.answers.push(answer);
                }
                Order::Do(task) => task(),
                Order::Term(search) => self.terms.push(search),
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

    /// One pass over what is to be killed. Gives the pause before the next one, if one is needed.
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
