//! The phases of a job before its process: being judged, waiting for a lock and a turn, being
//! started.

use std::{mem, os::unix::ffi::OsStrExt as _, sync::Arc, time::Instant};

use rcmd_certs::clock;
use rcmd_protocol::{
    frame::{Frame, Lock},
    outcome::WireError,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::{
    JobSpec, Judged, Prepared, Rejection,
    action::{Action, Control, Reason},
    at,
    card::JobStage,
    early::{Early, NotLaunched},
    exit,
    judgement::Judgement,
    life::{Job, Running},
    spec::{JudgeAgain, JudgeFolder},
    supervisor::{Supervisor, Terms},
    transfer::Attending,
};
use crate::{
    admission::{Entering, RunSlot, budget::Share, locks::LockGuard},
    audit::{Announcement, TransferNote},
    config::OnReload,
    policy::{AuthorizedRequest, Permit},
    process::{Plan, Process, SpawnError},
};

/// A job that may run; consumed by the start, since it may be large and need not be kept beside it.
pub(super) struct Ready {
    permit: Permit,
    again: JudgeAgain,
    folders: JudgeFolder,
    /// The account that the request names, if it names one.
    user: Option<Vec<u8>>,
    entering: Entering,
}

impl Job {
    /// Waits for the judgement of the job.
    pub(super) async fn prepare(
        &mut self,
        preparing: impl Future<Output = Result<Prepared, Rejection>>,
    ) -> Result<Ready, WireError> {
        let prepared = self.wait_for(preparing).await;
        let Prepared { judged, again, folders, request, held, entering } =
            prepared.map_err(|rejection| self.rejected(rejection))?;
        let Judged { permit, facts, note } = judged;
        self.delivery.set_note(note);
        let user = request.user().map(<[u8]>::to_vec);
        self.judgement.permit(AuthorizedRequest { request, facts }, held, &self.spec.peer)?;
        Ok(Ready { permit, again, folders, user, entering })
    }

    /// Notes a rejection, and returns the failure that the client is sent.
    fn rejected(&mut self, rejection: Rejection) -> WireError {
        let denial = match rejection {
            Rejection::Failed(failure) => return failure,
            Rejection::Denied(denial) => denial,
        };
        let (peer, why) = (&self.spec.peer, denial.kind.as_str());
        info!(%peer, why, rules = ?denial.rules, %denial, "denied");
        self.judgement = Judgement::Denied(denial);
        self.judgement.failure()
    }

    /// Looks and judges again: what was found before the wait may have changed.
    async fn judge_anew(&mut self, again: JudgeAgain) -> Result<Permit, WireError> {
        let judged = self.wait_for(again()).await;
        let Judged { permit, facts, note } =
            judged.map_err(|rejection| self.rejected(rejection))?;
        self.delivery.set_note(note);
        self.judgement.renew(facts);
        Ok(permit)
    }

    /// Waits for a lock, if one is wanted, and for a turn, and starts the process.
    pub(super) async fn start(&mut self, ready: Ready) -> Result<Running, NotLaunched> {
        let Ready { permit, again, folders, user, entering } = ready;
        // The permit is dropped while the job waits: it holds descriptors, and perhaps a copy of
        // the program.
        let mut permit = Some(permit);
        // The lock comes before the turn, so that a job that waits for it delays none that needs no
        // lock.
        let lock_guard = match self.spec.lock.take() {
            Some(lock) => Some(self.wait_for_lock(&lock, entering, &mut permit).await?),
            None => {
                drop(entering);
                None
            }
        };
        let launched = match self.wait_for_turn(&mut permit).await {
            Ok(slot) => {
                let permit = match permit {
                    Some(permit) => Ok(permit),
                    None => self.judge_anew(again).await,
                };
                match permit {
                    Ok(permit) => {
                        let launched = self.launch(permit, user, folders).await;
                        launched.map(|launched| (slot, launched))
                    }
                    Err(failure) => Err(failure.into()),
                }
            }
            Err(failure) => Err(failure.into()),
        };
        let (slot, (process, transfer)) = match launched {
            Ok(launched) => launched,
            Err(failure) => {
                // If the command may have run, the next holder checks whether some of it still
                // lives.
                if failure.started_at.is_none()
                    && let Some(lock) = lock_guard
                {
                    self.hear_during(lock.release()).await;
                }
                return Err(failure);
            }
        };
        Ok(Running { transfer, ..self.supervisor(process, slot, lock_guard) })
    }

    /// Records that the command starts, and starts it. Of a transfer, the conversation with its
    /// process begins.
    async fn launch(
        &mut self,
        permit: Permit,
        user: Option<Vec<u8>>,
        folders: JudgeFolder,
    ) -> Result<(Process, Option<Attending>), NotLaunched> {
        let shared = Arc::clone(&self.shared);
        self.card.set_stage(JobStage::Starting);
        if self.spec.kept.is_some() {
            self.note_start_of_key().await?;
            self.still_wanted()?;
        }
        let user = user.as_deref().unwrap_or(shared.user.as_bytes());
        let request = self.judgement.request().ok_or_else(|| self.judgement.failure())?;
        let (started, announcement) = shared.audit.start(user, &permit, request)?;
        self.audited = Some(started);
        let announcement = self.hear_during(announcement.synced()).await?;
        self.still_wanted()?;
        let roots = self.judgement.roots();
        let note = self
            .judgement
            .files()
            .map(|(verb, files)| TransferNote::of(self.spec.peer.user(), verb, files));
        if self.shared.on_reload == OnReload::Keep {
            // From now on the command may run to its end, whatever rules come.
            self.judgement.settle();
        }
        match self.spawn(permit.plan(), announcement).await {
            Ok(mut process) => {
                let handed = permit.plan().handed.as_ref().map(|handed| Arc::clone(&handed.order));
                let talk = process.socket.take().zip(handed).zip(note);
                let attending = talk.map(|((socket, order), note)| {
                    let share = self.shared.judging.of(self.spec.peer.user());
                    Attending::new(socket, order, roots, folders, share, note)
                });
                Ok((process, attending))
            }
            Err(error) if error.may_have_run() => {
                Err(NotLaunched { started_at: Some(clock::now_ms()), failure: error.into() })
            }
            Err(error) => {
                // The reason of the client or server that called it off is better than the error.
                self.still_wanted()?;
                Err(WireError::from(error).into())
            }
        }
    }

    /// Starts the process, unless an action calls it off meanwhile: the start may wait for a file
    /// system.
    async fn spawn(
        &mut self,
        plan: &Plan,
        announcement: Announcement,
    ) -> Result<Process, SpawnError> {
        let (shared, peer) = (Arc::clone(&self.shared), Arc::clone(&self.spec.peer));
        let off = CancellationToken::new();
        // Called on the thread that starts the process, which waits for the disk in place of a
        // worker of the runtime.
        let first = move || announcement.write();
        let begun = Instant::now();
        let spawning = shared.processes.start(plan, peer.user(), &off, first);
        tokio::pin!(spawning);
        loop {
            tokio::select! {
                biased;
                came = &mut spawning => {
                    if came.is_ok() {
                        self.shared.counts.started(begun.elapsed());
                    }
                    return came;
                }
                () = self.hear() => {
                    if self.early.is_called_off() {
                        off.cancel();
                    }
                }
            }
        }
    }

    async fn note_start_of_key(&mut self) -> Result<(), WireError> {
        let (shared, JobSpec { id, kept, digest, peer, .. }) = (&self.shared, &self.spec);
        let Some(key) = *kept else { return Ok(()) };
        let (log, peer) = (Arc::clone(&shared.idempotency), Arc::clone(peer));
        let (id, digest) = (id.clone(), *digest);
        let limit = shared.limits.load().quota_of(peer.identity()).keys;
        // Not to be interrupted: a key that was recorded needs the record of its end.
        self.hear_during(log.begin(peer.user(), limit, key, digest, &id)).await
    }

    /// Puts a process under supervision, and applies what arrived before it existed.
    fn supervisor(
        &mut self,
        process: Process,
        slot: RunSlot,
        lock_guard: Option<LockGuard>,
    ) -> Running {
        let options = self.spec.options;
        let terms = Terms {
            timeout_ms: options.timeout_ms,
            timestamps: options.timestamps,
            holds_lock: lock_guard.is_some(),
        };
        let share = Share::new(self.shared.budget.of(self.spec.peer.user()));
        let Early { input, actions } = mem::replace(&mut self.early, Early::new(share));
        let mut supervisor = Supervisor::new(process, terms, input);
        debug!(job = %self.spec.id, peer = %self.spec.peer, pid = supervisor.pid(), "started");
        let pid = u32::try_from(supervisor.pid()).unwrap_or_default();
        self.card.set_running(pid, clock::now_ms());
        actions.into_iter().for_each(|action| supervisor.apply(action.into_control()));
        Running { supervisor, transfer: None, lock_guard, _slot: slot }
    }

    async fn wait_for_lock(
        &mut self,
        lock: &Lock,
        entering: Entering,
        permit: &mut Option<Permit>,
    ) -> Result<LockGuard, WireError> {
        let spec = &self.spec;
        let identity = spec.peer.identity();
        let quota = self.shared.limits.load().quota_of(identity);
        let waiter = self.shared.locks.enqueue(lock, identity, &spec.id, quota.lock_wait.0)?;
        if !waiter.must_wait() {
            let acquired = self.wait_for(waiter.acquire()).await;
            drop(entering);
            return acquired;
        }
        drop(entering);
        *permit = None;
        self.card.set_stage(JobStage::Locked);
        let _waiting = self.shared.admission.wait_elsewhere(identity.user(), &quota)?;
        self.delivery.send(|ch| Frame::Queued { ch, position: waiter.position() as u64 });
        self.wait_for(waiter.acquire()).await
    }

    async fn wait_for_turn(&mut self, permit: &mut Option<Permit>) -> Result<RunSlot, WireError> {
        let (admission, peer) = (Arc::clone(&self.shared.admission), &self.spec.peer);
        let quota = self.shared.limits.load().quota_of(peer.identity());
        if let Some(slot) = admission.try_slot(peer.user(), &quota) {
            return Ok(slot);
        }
        *permit = None;
        self.card.set_stage(JobStage::Queued);
        let mut ticket = admission.enqueue(peer.user(), &quota)?;
        self.delivery.send(|ch| Frame::Queued { ch, position: ticket.position() as u64 });
        self.wait_for(ticket.slot()).await
    }

    /// Waits for what the start needs, as long as the job is wanted.
    async fn wait_for<T, E: From<WireError>>(
        &mut self,
        what: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        tokio::pin!(what);
        loop {
            let gone_at = self.delivery.gone_at();
            tokio::select! {
                // In this order, so that what has been asked for is begun before it is called off.
                biased;
                came = &mut what => return came,
                message = self.mailbox.recv() => {
                    let action = message.and_then(|message| self.take(message));
                    self.delivery.flush();
                    if let Some(failure) = action.and_then(|action| self.gives_up_for(action)) {
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

    /// Waits for what must not be interrupted. Actions for the process that arrive meanwhile are
    /// kept.
    pub(super) async fn hear_during<T>(&mut self, what: impl Future<Output = T>) -> T {
        tokio::pin!(what);
        loop {
            tokio::select! {
                biased;
                came = &mut what => return came,
                () = self.hear() => {}
            }
        }
    }

    /// Takes a message, and keeps the action for the process that it means.
    ///
    /// # Cancel safety
    /// Cancel safe: no message is lost.
    async fn hear(&mut self) {
        let message = self.mailbox.recv().await;
        let action = message.and_then(|message| self.take(message));
        self.delivery.flush();
        action.into_iter().for_each(|action| self.early.put_off(action));
    }

    /// Checks that no action that arrived during [`Job::hear_during`] calls off a command that has
    /// not started.
    fn still_wanted(&mut self) -> Result<(), WireError> {
        self.early.take_call_off().map_or(Ok(()), |action| Err(self.called_off_by(&action)))
    }

    /// Takes an action that arrives before the start. Returns the failure if it calls the command
    /// off; otherwise keeps it until the command has started.
    fn gives_up_for(&mut self, action: Action) -> Option<WireError> {
        if action.calls_off() {
            return Some(self.called_off_by(&action));
        }
        self.early.put_off(action);
        None
    }

    fn called_off_by(&self, action: &Action) -> WireError {
        match action {
            Action::Process(Control::Terminate(Reason::Denied)) => self.judgement.failure(),
            Action::Process(
                Control::Terminate(Reason::Stopping) | Control::Kill(Reason::Stopping),
            ) => exit::draining(),
            Action::Process(Control::Kill(Reason::Corrupt)) => exit::corrupt(),
            Action::Process(Control::Terminate(Reason::Operator)) => {
                exit::killed("ended the command before it had started")
            }
            _ => exit::given_up("its client ended it before it had started"),
        }
    }
}
