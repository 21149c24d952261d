//! The thread that clears up after ended commands: it reaps orphans, removes empty cgroups, and
//! kills what an earlier server left. No start and no kill of a tree waits for it.

use std::{
    io, iter,
    sync::{
        Weak,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use tokio::sync::oneshot;

use super::{cgroup::Cgroups, children, launcher, tree};

enum Order {
    Reap,
    KillMarked(String, oneshot::Sender<usize>),
}

/// A handle of the thread, which ends with the last handle.
#[derive(Clone, Debug)]
pub(super) struct TreeReaper {
    orders: Sender<Order>,
}

impl TreeReaper {
    /// Starts the thread. It does not keep the server's cgroups alive, which are removed with their
    /// owner.
    ///
    /// # Errors
    /// If the host can't start a thread.
    pub(super) fn start(cgroups: Weak<Cgroups>) -> io::Result<Self> {
        let (orders, mailbox) = channel();
        let work = move || work(&mailbox, &cgroups);
        thread::Builder::new().name("reaper".to_owned()).spawn(work)?;
        Ok(Self { orders })
    }

    /// Looks once through all of `/proc` for processes that bear the mark of a job, and kills them
    /// and all below them. Returns the number of living ones.
    pub(super) async fn kill_marked(&self, job: &str) -> usize {
        let (answer, answered) = oneshot::channel();
        let _ = self.orders.send(Order::KillMarked(job.to_owned(), answer));
        // If the thread is gone, nothing was looked for.
        answered.await.unwrap_or(usize::MAX)
    }

    /// Reaps dead orphans soon, and removes the cgroups of daemons that have ended.
    pub(super) fn reap(&self) {
        let _ = self.orders.send(Order::Reap);
    }
}

fn work(mailbox: &Receiver<Order>, cgroups: &Weak<Cgroups>) {
    while let Ok(first) = mailbox.recv() {
        // Orders that arrive meanwhile share one look at the server's children.
        for order in iter::once(first).chain(mailbox.try_iter()) {
            if let Order::KillMarked(job, answer) = order {
                let _ = answer.send(tree::kill_marked(job.as_bytes()));
            }
        }
        children::reap_orphans();
        launcher::collect();
        cgroups.upgrade().iter().for_each(|cgroups| cgroups.collect());
    }
}
