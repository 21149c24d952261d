//! The phases of a job before its process: judged, waiting for a lock and a turn, being started.

use std::{mem, os::unix::ffi::OsStrExt as _, sync::Arc, time::Instant};

use rcmd_protocol::{
    frame::{Frame, Lock, Started},
    outcome::WireError,
};
use tracing::{debug, info};

use super::{
    Prepared,
    delivery::Order,
    exit,
    run::{Job, Reason, Running, at},
};
use crate::{
    admission::{Entering, RunSlot, budget::Share, locks::LockGuard},
    clock,
    config::OnReload,
    policy::Permit,
    request::authorize::Refused,
};

/// What may run; used up by the start, since it may be large and need not be kept beside it.
pub(super) struct Ready {
    permit: Permit,
    /// Whom it was asked to run as, if anybody.
    user: Option<Vec<u8>>,
    held: Share,
    entering: Option<Entering>,
}

impl Job {
    /// Waits until it is known whether it may run.
    pub(super) async fn prepare(
        &mut self,
        preparing: impl Future<Output = Result<Prepared, Refused>>,
    ) -> Result<Ready, WireError> {
        let prepared = self.wait_for(preparing).await;
        self.is_preparing = false;
        let Prepared { permit, authorized, held, note, entering } = match prepared {
            Ok(prepared) => prepared,
            Err(Refused::Failed(failure)) => return Err(failure),
            Err(Refused::Denied(denial)) => {
                info!(peer = %self.peer, why = denial.kind.as_str(), rules = ?denial.rules, %denial, "denied");
                self.denial = Some(denial);
                return Err(self.denied());
            }
        };
        let user = authorized.request.user().map(<[u8]>::to_vec);
        self.authorized = Some(authorized);
        self.note = note;
        if let Some(rules) = self.newer.take()
            && self.judge_again(&rules).is_some()
        {
            return Err(self.denied());
        }
        Ok(Ready { permit, user, held, entering: Some(entering) })
    }

    pub(super) async fn start(
        &mut self,
        ready: Ready,
        lock: Option<Lock>,
    ) -> Result<Running, WireError> {
        // Before the turn: who waits for a lock holds up nobody who needs none.
        let Some(lock) = lock else { return self.launch(ready).await };
        let Ready { permit, user, held, entering } = ready;
        drop(entering);
        let lock_guard = self.wait_for_lock(&lock).await?;
        match self.launch(Ready { permit, user, held, entering: None }).await {
            Ok(running) => Ok(Running { lock_guard: Some(lock_guard), ..running }),
            Err(failure) => {
                lock_guard.release();
                Err(failure)
            }
        }
    }

    async fn launch(&mut self, ready: Ready) -> Result<Running, WireError> {
        let Ready { permit, user, held, entering } = ready;
        drop(entering);
        let turn = self.wait_for_turn().await?;
        let (shared, peer) = (Arc::clone(&self.shared), Arc::clone(&self.peer));
        if let Some(key) = self.kept {
            let (id, digest) = (self.id.clone(), self.digest);
            // Not to be broken off: a key that was written down needs its end.
            self.hear_during(shared.idempotency.begin(peer.user(), key, digest, &id)).await?;
            self.still_wanted()?;
        }
        let user = user.as_deref().unwrap_or(shared.user.as_bytes());
        self.audited = Some(self.hear_during(shared.audit.start(user, &permit)).await?);
        self.still_wanted()?;
        let spawned = self.hear_during(shared.processes.spawn(permit.plan())).await;
        let mut process = match spawned {
            Ok(process) => process,
            Err(error) => {
                if error.may_have_run() {
                    self.started_at = Some(clock::now_ms());
                }
                return Err(error.into());
            }
        };
        match self.shared.on_reload {
            OnReload::Keep => self.authorized = None,
            OnReload::End => self.held = Some(held),
        }
        let started_at = clock::now_ms();
        self.started_at = Some(started_at);
        self.input.connect(process.stdin.take());
        self.stdout.connect(process.stdout.take());
        self.stderr.connect(process.stderr.take());
        let began = Instant::now();
        self.timers.started(self.options.timeout_ms, began);
        if let Some(sink) = &self.sink {
            sink.link.send(Frame::Started(Started {
                ch: sink.ch,
                job: self.id.clone(),
                digest: self.options.algorithm,
                started_at,
                note: self.note.take(),
            }));
        }
        debug!(job = %self.id, peer = %self.peer, pid = process.pid(), "started");
        let mut running = Running {
            process,
            began,
            ended: None,
            reason: None,
            kill_tree_at_exit: false,
            killing: None,
            _turn: turn,
            lock_guard: None,
            is_left: false,
        };
        for order in mem::take(&mut self.heard) {
            self.apply(order, &mut running);
        }
        Ok(running)
    }

    async fn wait_for_lock(&mut self, lock: &Lock) -> Result<LockGuard, WireError> {
        let waiter = self.shared.locks.enqueue(lock, self.peer.identity(), &self.id)?;
        if waiter.must_wait() {
            self.send(|ch| Frame::Queued { ch, position: waiter.position() as u64 });
        }
        self.wait_for(waiter.acquire()).await
    }

    async fn wait_for_turn(&mut self) -> Result<RunSlot, WireError> {
        let admission = Arc::clone(&self.shared.admission);
        let quota = self.shared.limits.load().quota_of(self.peer.identity());
        if let Some(turn) = admission.try_slot(self.peer.user(), &quota) {
            return Ok(turn);
        }
        let mut ticket = admission.enqueue(self.peer.user(), &quota)?;
        self.send(|ch| Frame::Queued { ch, position: ticket.position() as u64 });
        self.wait_for(ticket.slot()).await
    }

    /// Waits for what it needs to start, as long as anybody wants it to.
    async fn wait_for<T, E: From<WireError>>(
        &mut self,
        what: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        tokio::pin!(what);
        loop {
            let gone_at = self.timers.next();
            tokio::select! {
                // In this order, so that whatever is asked for is begun before it is called off.
                biased;
                came = &mut what => return came,
                message = self.mailbox.recv() => {
                    let order = message.and_then(|message| self.take(message));
                    if let Some(failure) = order.and_then(|order| self.gives_up_for(order)) {
                        return Err(failure.into());
                    }
                }
                () = at(gone_at) => {
                    let why = "its client went away before it had started";
                    return Err(exit::given_up(why).into());
                }
            }
        }
    }

    /// Waits for what must not be broken off. What comes for the process meanwhile is kept.
    pub(super) async fn hear_during<T>(&mut self, what: impl Future<Output = T>) -> T {
        tokio::pin!(what);
        loop {
            tokio::select! {
                biased;
                came = &mut what => return came,
                message = self.mailbox.recv() => {
                    let order = message.and_then(|message| self.take(message));
                    order.into_iter().for_each(|order| self.put_off(order));
                }
            }
        }
    }

    /// Keeps an order until there is a process. Of equal ones the last counts, as the kernel joins signals
    /// that wait (signal(7)), so that a flood of them fills no memory.
    fn put_off(&mut self, order: Order) {
        self.heard.retain(|heard| *heard != order);
        self.heard.push(order);
    }

    /// Checks that nothing that came during [`Job::hear_during`] ends a command that has not started.
    fn still_wanted(&mut self) -> Result<(), WireError> {
        let heard = mem::take(&mut self.heard);
        heard.into_iter().find_map(|order| self.gives_up_for(order)).map_or(Ok(()), Err)
    }

    /// Returns why a command that has not started is given up, if it is; what is to be done once it has
    /// started is kept.
    fn gives_up_for(&mut self, order: Order) -> Option<WireError> {
        match order {
            Order::ReaderGone => {
                self.put_off(order);
                None
            }
            Order::Signal(_) | Order::Kill(_) | Order::Done => {
                Some(exit::given_up("its client ended it before it had started"))
            }
            Order::Term(Reason::Denied) => Some(self.denied()),
            Order::Term(_) => Some(exit::draining()),
        }
    }
}
