//! Admission: the rate limits, slots, memory and locks that a command needs before it runs.
//!
//! | module | holds |
//! | --- | --- |
//! | [`turns`] | turns at work that only few may do at once |
//! | `queue`, `bucket`, `pace`, `throttle` | slots to run, given to identities in turn; rates; delays |
//! | [`folders`] | folders that transfers hold open before they begin |
//! | [`judging`] | the work of judging what transfers ask |
//! | [`budget`] | the memory that is held for clients |
//! | [`locks`] | names that one command on the host holds at a time |
//! | [`slots`] | limits on the number of connections |

mod bucket;
pub(crate) mod budget;
pub(crate) mod folders;
pub(crate) mod judging;
pub(crate) mod locks;
mod pace;
pub(crate) mod presence;
mod queue;
pub(crate) mod slots;
#[cfg(test)]
mod tests;
mod throttle;
pub(crate) mod turns;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rcmd_protocol::outcome::{ErrorKind, WireError};
use tokio::sync::oneshot;

use crate::{
    config::{limits::Limits, quota::EffectiveQuota},
    units::Rate,
};
use bucket::Bucket;
use queue::FairQueue;
pub(crate) use throttle::Backoff;

/// The rate of requests of one identity that do not run: 256 at once, and then 100 a second, the
/// pace at which it is answered `busy`.
const DENIED: Rate = Rate::new(256, Duration::from_millis(10));
/// The rate, in KiB, of records of one identity's requests that do not run: 64 MiB at once, and
/// then 16 KiB/s, which is 1.4 GB a day.
const RECORDED: Rate = Rate::new(64 * 1024, Duration::from_micros(62_500));
/// The rate, in KiB, of large requests of one identity that are let in, which are recorded whole
/// when they start: 256 MiB at once, and then 2 MiB/s.
const SENT: Rate = Rate::new(256 * 1024, Duration::from_nanos(488_281));

/// The distributor of slots to run. Some commands run at once, some wait, and others are answered
/// when to try again. Identities get slots in turn, so that no identity's commands delay another's.
#[derive(Debug)]
pub(crate) struct Admission {
    running: usize,
    queued: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    queue: FairQueue<oneshot::Sender<RunSlot>>,
    /// The host's rate of starts, whose bucket is `starts`.
    rate: Rate,
    starts: Bucket,
}

/// The place that a start needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wanted {
    /// A slot, or else a place in the queue.
    SlotOrPlace,
    /// A place in the queue, because it has to wait in any case.
    Place,
}

/// The slot of a running command; released when dropped.
#[derive(Debug)]
pub(crate) struct RunSlot {
    admission: Arc<Admission>,
    who: Arc<str>,
}

/// A start that was let in and has neither a slot nor a place in the queue yet. It counts as
/// waiting until this is dropped, so that starts that are prepared at the same time don't all take
/// the last place.
#[derive(Debug)]
pub(crate) struct Entering {
    admission: Arc<Admission>,
    who: Arc<str>,
}

/// A command that waits for a lock; counts as waiting until this is dropped.
#[derive(Debug)]
pub(crate) struct WaitingElsewhere {
    admission: Arc<Admission>,
    who: Arc<str>,
}

/// A place in the queue; given up when dropped.
#[derive(Debug)]
pub(crate) struct QueueTicket {
    admission: Arc<Admission>,
    who: String,
    number: u64,
    position: usize,
    wait: Duration,
    slot: oneshot::Receiver<RunSlot>,
}

impl Admission {
    /// Makes an admission with these limits.
    pub(crate) fn new(limits: &Limits) -> Self {
        let queue = FairQueue::new(limits.running);
        let state = State { queue, rate: limits.starts, starts: Bucket::default() };
        Self { running: limits.running, queued: limits.queued, state: Mutex::new(state) }
    }

    /// Applies those of the limits that may change while commands run: the rate of starts.
    pub(crate) fn relimit(&self, limits: &Limits) {
        self.state(|state| state.rate = limits.starts);
    }

    fn state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns how many commands run, and how many wait for a turn or for a lock.
    pub(crate) fn running_and_waiting(&self) -> (usize, usize) {
        self.state(|state| (state.queue.running(), state.queue.waiting()))
    }

    /// Reserves one start, with a request of `bytes` bytes, against the rate limits and the queue,
    /// before any work is done for it.
    ///
    /// # Errors
    /// `busy`, with the time after which to try again.
    pub(crate) fn try_start(
        self: &Arc<Self>,
        who: &str,
        quota: &EffectiveQuota,
        bytes: usize,
    ) -> Result<Entering, WireError> {
        let now = Instant::now();
        let who = self.state(|state| {
            self.check_room(state, who, quota, Wanted::SlotOrPlace)?;
            let rate = state.rate;
            let lane = state.queue.lane(who, quota.running);
            let of_peer = lane.starts.check(quota.starts, now);
            let of_host = state.starts.check(rate, now);
            of_peer.map_err(|wait| too_fast("this identity", quota.starts, wait))?;
            of_host.map_err(|wait| too_fast("the host", rate, wait))?;
            lane.sent.check(SENT, now).map_err(too_much)?;
            lane.starts.take(1, quota.starts, now);
            lane.sent.take(kib(bytes), SENT, now);
            state.starts.take(1, rate, now);
            Ok::<_, WireError>(state.queue.let_in(who, quota.running))
        })?;
        Ok(Entering { admission: Arc::clone(self), who })
    }

    /// Returns how a refusal of a start of this identity must be delayed.
    pub(crate) fn refuse(&self, who: &str, quota: &EffectiveQuota) -> Backoff {
        let now = Instant::now();
        self.state(|state| state.queue.lane(who, quota.running).refusals.answer(now))
    }

    /// Counts a request that does not run, of which `bytes` bytes were recorded.
    pub(crate) fn count_denied(&self, who: &str, quota: &EffectiveQuota, bytes: usize) {
        let now = Instant::now();
        self.state(|state| {
            let lane = state.queue.lane(who, quota.running);
            lane.denied.take(1, DENIED, now);
            lane.recorded.take(kib(bytes).max(1), RECORDED, now);
        });
    }

    /// Returns how long an identity must wait before its next request is read, because it asked for
    /// too much that does not run. The wait holds on all its connections, which go on one after the
    /// other.
    pub(crate) fn gate(&self, who: &str, quota: &EffectiveQuota) -> Duration {
        let now = Instant::now();
        self.state(|state| {
            let lane = state.queue.lane(who, quota.running);
            let denied = lane.denied.check(DENIED, now).err().unwrap_or_default();
            let recorded = lane.recorded.check(RECORDED, now).err().unwrap_or_default();
            let wait = denied.max(recorded);
            lane.denied.take(u32::from(!wait.is_zero()), DENIED, now);
            wait
        })
    }

    /// Returns whether a refused start may have a record of its own; if not, it is only counted.
    pub(crate) fn may_record(&self, who: &str, quota: &EffectiveQuota) -> bool {
        let now = Instant::now();
        self.state(|state| {
            let recorded = &mut state.queue.lane(who, quota.running).recorded;
            let has_room = recorded.check(RECORDED, now).is_ok();
            recorded.take(u32::from(has_room), RECORDED, now);
            has_room
        })
    }

    /// Returns whether an identity caused more records lately than others do. If so, it gets
    /// nothing of the disk space that is kept for those.
    pub(crate) fn wrote_much(&self, who: &str, quota: &EffectiveQuota) -> bool {
        let now = Instant::now();
        self.state(|state| {
            let lane = state.queue.lane(who, quota.running);
            lane.recorded.is_used(RECORDED, now) || lane.sent.is_used(SENT, now)
        })
    }

    /// Returns a slot, if one is free and no command of this identity waits for one.
    pub(crate) fn try_slot(self: &Arc<Self>, who: &str, quota: &EffectiveQuota) -> Option<RunSlot> {
        let has_slot = self.state(|state| state.queue.try_run(who, quota.running));
        has_slot.then(|| RunSlot { admission: Arc::clone(self), who: who.into() })
    }

    /// Counts a command that waits for a lock as waiting.
    ///
    /// # Errors
    /// `busy`, if no more may wait.
    pub(crate) fn wait_elsewhere(
        self: &Arc<Self>,
        who: &str,
        quota: &EffectiveQuota,
    ) -> Result<WaitingElsewhere, WireError> {
        let who = self.state(|state| {
            self.check_room(state, who, quota, Wanted::Place)?;
            Ok::<_, WireError>(state.queue.waits_elsewhere(who, quota.running))
        })?;
        Ok(WaitingElsewhere { admission: Arc::clone(self), who })
    }

    /// Enters the queue.
    ///
    /// # Errors
    /// `busy`, if the queue is full.
    pub(crate) fn enqueue(
        self: &Arc<Self>,
        who: &str,
        quota: &EffectiveQuota,
    ) -> Result<QueueTicket, WireError> {
        let (waiter, slot) = oneshot::channel();
        let (number, position) = self.state(|state| {
            self.check_room(state, who, quota, Wanted::Place)?;
            let number = state.queue.enter(who, quota.running, waiter);
            Ok::<_, WireError>((number, state.queue.before(who)))
        })?;
        self.hand_out();
        let admission = Arc::clone(self);
        let wait = quota.queue_wait.0;
        Ok(QueueTicket { admission, who: who.to_owned(), number, position, wait, slot })
    }

    /// Checks that there is a slot or a place in the queue, or a place alone if the command waits
    /// already. Slots and places for starts that were let in before are not free.
    fn check_room(
        &self,
        state: &mut State,
        who: &str,
        quota: &EffectiveQuota,
        wanted: Wanted,
    ) -> Result<(), WireError> {
        let waits = wanted == Wanted::Place;
        let queue = &mut state.queue;
        let (running, waiting, pace) = (queue.running(), queue.waiting(), queue.pace);
        let entering = if waits { 0 } else { queue.entering() };
        let lane = queue.lane(who, quota.running);
        let line_entering = if waits { 0 } else { lane.entering() };
        let free = self.running.saturating_sub(running);
        let line_free = quota.running.saturating_sub(lane.running());
        let must_wait = waits || entering >= free || line_entering >= line_free;
        let line_waiting = lane.waiting() + line_entering.saturating_sub(line_free.min(free));
        if must_wait && line_waiting >= quota.queued {
            return Err(full("of this identity ", lane.running(), lane.waiting())
                .retry_after_ms(ms(lane.pace.retry_after(lane.waiting()))));
        }
        let all_waiting = waiting + entering.saturating_sub(free);
        if must_wait && all_waiting >= self.queued {
            return Err(full("", running, waiting).retry_after_ms(ms(pace.retry_after(waiting))));
        }
        Ok(())
    }

    /// Hands free slots out to the next commands.
    fn hand_out(self: &Arc<Self>) {
        while let Some((who, waiter)) = self.state(|state| state.queue.next()) {
            // If the waiter has just left, the slot is released by being dropped, outside the lock.
            let _ = waiter.send(RunSlot { admission: Arc::clone(self), who });
        }
    }
}

impl Drop for RunSlot {
    fn drop(&mut self) {
        self.admission.state(|state| state.queue.release(&self.who, Instant::now()));
        self.admission.hand_out();
    }
}

impl Drop for Entering {
    fn drop(&mut self) {
        self.admission.state(|state| state.queue.has_entered(&self.who, Instant::now()));
    }
}

impl Drop for WaitingElsewhere {
    fn drop(&mut self) {
        self.admission.state(|state| state.queue.waits_no_more(&self.who, Instant::now()));
    }
}

impl QueueTicket {
    /// Returns how many commands were before this one when it entered the queue.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// Waits for a slot.
    ///
    /// # Errors
    /// `busy`, if none became free in time.
    ///
    /// # Cancel safety
    /// Cancel safe: the place is kept, and the next call returns a slot that was given meanwhile.
    pub(crate) async fn slot(&mut self) -> Result<RunSlot, WireError> {
        match tokio::time::timeout(self.wait, &mut self.slot).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_)) | Err(_) => {
                let again = self
                    .admission
                    .state(|state| state.queue.pace.retry_after(state.queue.waiting()));
                let wait = humantime::format_duration(self.wait);
                Err(busy(format!("the command's turn did not come within {wait}"))
                    .hint(
                        "Nothing ran; try again later, or have the host's administrator raise `queue_wait` \
                         in server.toml.",
                    )
                    .retry_after_ms(ms(again)))
            }
        }
    }
}

impl Drop for QueueTicket {
    fn drop(&mut self) {
        self.admission.state(|state| state.queue.leave(&self.who, self.number));
    }
}

fn busy(message: String) -> WireError {
    WireError::new(ErrorKind::Busy, message)
}

fn full(whose: &str, running: usize, waiting: usize) -> WireError {
    busy(format!("{running} commands {whose}run and {waiting} wait already"))
        .hint(
            "Nothing ran; try again later, or have the host's administrator raise `running` and `queued` in \
             server.toml.",
        )
}

fn too_much(wait: Duration) -> WireError {
    busy("this identity asks for more than 2 MiB/s of arguments and settings".to_owned())
        .hint("Nothing ran; send commands more slowly, or send large data as standard input.")
        .retry_after_ms(ms(wait))
}

/// Returns the number of whole KiB.
fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes / 1024).unwrap_or(u32::MAX)
}

fn too_fast(who: &str, rate: Rate, wait: Duration) -> WireError {
    busy(format!("{who} has reached the limit on starting commands ({rate})"))
        .hint(
            "Nothing ran; send commands more slowly, or have the host's administrator raise `starts` in \
             server.toml.",
        )
        .retry_after_ms(ms(wait))
}

/// Returns the time in whole milliseconds, rounded up: a client that tries earlier is refused
/// again.
fn ms(wait: Duration) -> u64 {
    u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
