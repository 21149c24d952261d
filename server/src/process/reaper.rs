//! The thread that clears up after commands that have ended: it reaps orphans, removes their empty
//! cgroups, and kills what an earlier server left. No start and no kill of a tree waits for it.

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
    /// Starts the thread. It does not keep the server's cgroups, which are removed with their owner.
    ///
    /// # Errors
    /// When the host has no thread to give.
    pub(super) fn start(cgroups: Weak<Cgroups>) -> io::Result<Self> {
        let (orders, mailbox) = channel();
        let work = move || work(&mailbox, &cgroups);
        thread::Builder::new().name("reaper".to_owned()).spawn(work)?;
        Ok(Self { orders })
    }

    /// Looks once through all of `/proc` for processes that bear the mark of a job, and kills them with
    /// all that is below them. Returns how many lived.
    pub(super) async fn kill_marked(&self, job: &str) -> usize {
        let (answer, answered) = oneshot::channel();
        let _ = self.orders.send(Order::KillMarked(job.to_owned(), answer));
        // Without the thread, nobody has looked.
        answered.await.unwrap_or(usize::MAX)
    }

    /// Reaps dead orphans soon, and takes back the cgroups of daemons that have ended.
    pub(super) fn reap(&self) {
        let _ = self.orders.send(Order::Reap);
    }
}

fn work(mailbox: &Receiver<Order>, cgroups: &Weak<Cgroups>) {
    while let Ok(first) = mailbox.recv() {
        // Orders that came meanwhile share one look at the server's children.
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
