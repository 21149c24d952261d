//! The life of a job: one task, which drives its supervisor and its delivery and reads its mailbox.

use std::{sync::Arc, time::Duration};

use rcmd_protocol::{frame::Exit, outcome::Outcome};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::{
    JobSpec, Message, Prepared, Rejection, Shared, Sink, Urgency,
    action::{Action, Control, Event, Exited, OutputStream, Reason},
    at,
    card::Card,
    delivery::{Delivery, Patience},
    early::{Early, NotLaunched},
    exit,
    judgement::Judgement,
    registry::KeyReservation,
    supervisor::Supervisor,
    transfer::Attending,
};
use crate::{
    admission::{RunSlot, budget::Share, locks::LockGuard},
    audit,
    policy::Rules,
};

pub(super) struct Job {
    pub(super) mailbox: mpsc::Receiver<Message>,
    pub(super) shared: Arc<Shared>,
    pub(super) spec: JobSpec,
    pub(super) card: Arc<Card>,
    pub(super) delivery: Delivery,
    pub(super) judgement: Judgement,
    pub(super) early: Early,
    /// The record of its start in the audit, until that of its end is written.
    pub(super) audited: Option<audit::AuditedStart>,
    /// What is recorded of a transfer that has ended.
    transferred: Option<audit::TransferNote>,
}

/// A running process, with the lock and the slot that it holds.
pub(super) struct Running {
    pub(super) supervisor: Supervisor,
    /// The conversation with the process of a transfer.
    pub(super) transfer: Option<Attending>,
    pub(super) lock_guard: Option<LockGuard>,
    pub(super) _slot: RunSlot,
}

impl Job {
    pub(super) fn new(
        spec: JobSpec,
        sink: Sink,
        mailbox: mpsc::Receiver<Message>,
        shared: Arc<Shared>,
        card: Arc<Card>,
    ) -> Self {
        let options = spec.options;
        let grace = options.grace_ms.map(Duration::from_millis);
        let grace = grace.unwrap_or(shared.grace).min(shared.grace);
        let patience = Patience { grace, retain: shared.retain };
        let budget = shared.budget.of(spec.peer.user());
        Self {
            delivery: Delivery::new(spec.id.clone(), options, sink, patience, &budget),
            early: Early::new(Share::new(budget)),
            mailbox,
            shared,
            spec,
            card,
            judgement: Judgement::Pending(None),
            audited: None,
            transferred: None,
        }
    }

    /// Drives the job from its request to the time when its end is no longer kept. `preparing` judges
    /// the request. The key of `reservation` becomes free as soon as it is certain that nothing runs
    /// or has run.
    pub(super) async fn live(
        mut self,
        preparing: impl Future<Output = Result<Prepared, Rejection>>,
        reservation: KeyReservation,
    ) {
        let ready = match self.prepare(preparing).await {
            Ok(ready) => {
                self.card.set_permitted();
                ready
            }
            Err(failure) => {
                let exit = self.note_end(exit::exit_without_process(None, failure)).await;
                drop(reservation);
                self.delivery.ended(exit);
                return self.dismiss().await;
            }
        };
        let exit = match self.start(ready).await {
            Ok(running) => self.run(running).await,
            Err(NotLaunched { failure, started_at }) => {
                exit::exit_without_process(started_at, failure)
            }
        };
        let exit = self.note_end(exit).await;
        self.note_end_of_key(&exit).await;
        let has_run = exit.outcome() != Outcome::NotStarted;
        self.delivery.ended(exit);
        // Only the exit is kept from here on.
        self.early.discard();
        self.judgement.settle();
        match reservation.end(has_run) {
            Some(_tombstone) => self.keep().await,
            None => self.dismiss().await,
        }
    }

    /// Takes a message. Returns what it means for the process.
    pub(super) fn take(&mut self, message: Message) -> Option<Action> {
        match message {
            Message::Attach(attachment) => {
                self.delivery.attach(attachment);
                self.card.set_kept(!self.delivery.is_attached());
                None
            }
            Message::Frame { generation, frame } => self.delivery.frame(generation, frame),
            Message::Lost { generation, resumable } => {
                let action = self.delivery.lost(generation, resumable);
                self.card.set_kept(!self.delivery.is_attached());
                action
            }
            Message::Forget => self.delivery.has_ended().then_some(Action::Done),
            Message::Judge(rules) => self.judge_again(&rules),
            Message::Kill => Some(Action::Process(Control::Terminate(Reason::Operator))),
            Message::Stop(Urgency::Term) => {
                Some(Action::Process(Control::Terminate(Reason::Stopping)))
            }
            Message::Stop(Urgency::Kill) => Some(Action::Process(Control::Kill(Reason::Stopping))),
        }
    }

    /// Judges a waiting job by other rules, and a running one if changed rules are to end it. A
    /// client that is gone learns of it from the exit, like everything else.
    fn judge_again(&mut self, rules: &Arc<Rules>) -> Option<Action> {
        let JobSpec { id, peer, .. } = &self.spec;
        let denial = self.judgement.revise(rules, peer).err()?;
        info!(job = %id, %peer, why = denial.kind.as_str(), %denial, "no longer permitted");
        Some(Action::Process(Control::Terminate(Reason::Denied)))
    }

    async fn run(&mut self, running: Running) -> Exit {
        let Running { mut supervisor, mut transfer, lock_guard, _slot } = running;
        let Exited { status, reason, ran_for, left, was_to_end } =
            self.supervise(&mut supervisor, &mut transfer).await;
        if let Some(transfer) = transfer {
            self.transferred = Some(self.hear_during(transfer.end()).await);
        }
        let exit = exit::exit_of_process(status, reason, || self.judgement.failure());
        if left.is_empty() {
            if let Some(lock) = lock_guard {
                self.hear_during(lock.release()).await;
            }
            return self.delivery.complete(exit, ran_for);
        }
        warn!(job = %self.spec.id, left = %exit::list(&left), "processes could not be killed");
        let exit = if was_to_end { exit::exit_with_survivors(&left) } else { exit };
        self.delivery.complete(exit, ran_for)
    }

    /// Drives both halves until the process is gone.
    async fn supervise(
        &mut self,
        supervisor: &mut Supervisor,
        transfer: &mut Option<Attending>,
    ) -> Exited {
        loop {
            while let Some(event) = supervisor.next_event() {
                match event {
                    Event::Exited(exited) => return exited,
                    event => {
                        self.count(&event);
                        self.delivery.take(event);
                    }
                }
            }
            self.delivery.flush();
            let (room, gone_at) = (self.delivery.room(), self.delivery.gone_at());
            tokio::select! {
                message = self.mailbox.recv() => {
                    if let Some(action) = message.and_then(|message| self.take(message)) {
                        supervisor.apply(action.into_control());
                    }
                }
                () = supervisor.step(room) => {}
                () = attend(transfer) => {}
                () = at(gone_at) => {
                    self.delivery.give_up();
                    supervisor.apply(Control::Kill(Reason::Lost));
                }
            }
        }
    }

    fn count(&self, event: &Event) {
        let counts = &self.shared.counts;
        match event {
            Event::Output { stream: OutputStream::Stdout, bytes, .. } => counts.stdout(bytes.len()),
            Event::Output { stream: OutputStream::Stderr, bytes, .. } => counts.stderr(bytes.len()),
            Event::InputTaken(count) => counts.stdin(*count),
            _ => {}
        }
    }

    /// Records the end in the audit. Returns the exit with its place there, if there is one.
    async fn note_end(&mut self, mut exit: Exit) -> Exit {
        let (audit, JobSpec { id, peer, .. }) = (&self.shared.audit, &self.spec);
        match (self.audited.take(), self.judgement.denial(), exit.failure()) {
            (Some(started), ..) => {
                self.transferred.take().into_iter().for_each(|note| started.transferred(note));
                let recorded = started.end(&exit);
                exit = exit.with_audit(self.hear_during(recorded).await);
            }
            (None, Some(denial), _) => {
                let recorded = audit.denied(peer, Some(id), denial);
                self.hear_during(recorded).await;
            }
            (None, None, Some(failure)) => {
                let recorded = audit.refused(peer, id, failure);
                self.hear_during(recorded).await;
            }
            (None, None, None) => {}
        }
        match exit.failure() {
            Some(failure) if exit.outcome() == Outcome::NotStarted => {
                self.shared.counts.refused(&failure.kind);
            }
            _ => self.shared.counts.ended(exit.outcome()),
        }
        let JobSpec { id, peer, .. } = &self.spec;
        debug!(
            job = %id,
            %peer,
            outcome = %exit.outcome(),
            code = exit.code(),
            signal = exit.signal().map(|signal| signal.to_string()),
            kind = exit.failure().map(|failure| failure.kind.as_str()),
            "ended"
        );
        exit
    }

    async fn note_end_of_key(&mut self, exit: &Exit) {
        let Some(key) = self.spec.kept else { return };
        // The disk may be slow, so what can be sent is sent before.
        self.delivery.flush();
        let (shared, peer) = (Arc::clone(&self.shared), Arc::clone(&self.spec.peer));
        self.hear_during(shared.idempotency.end(peer.user(), key, exit)).await;
    }

    /// Answers attached clients that nothing runs. Nothing is kept: a client that sends the start
    /// again starts the command again.
    async fn dismiss(&mut self) {
        self.delivery.flush();
        self.mailbox.close();
        while let Some(message) = self.mailbox.recv().await {
            self.take(message);
        }
    }

    /// Keeps the exit until the client has it, or for as long as it is retained.
    async fn keep(&mut self) {
        loop {
            self.delivery.flush();
            if self.delivery.is_done() {
                return;
            }
            let until = self.delivery.gone_at();
            tokio::select! {
                message = self.mailbox.recv() => {
                    let Some(message) = message else { return };
                    if self.take(message) == Some(Action::Done) {
                        return;
                    }
                }
                () = at(until) => return,
            }
        }
    }
}

/// Goes on with the conversation with the process of a transfer, if there is one.
///
/// # Cancel safety
/// Cancel safe.
async fn attend(transfer: &mut Option<Attending>) {
    match transfer {
        Some(transfer) => transfer.step().await,
        None => std::future::pending().await,
    }
}
