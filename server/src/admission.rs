//! What a command must get before it runs: a start of the rates, a slot to run, memory, a lock.
//!
//! | module | holds |
//! | --- | --- |
//! | `queue`, `bucket`, `pace`, `throttle` | slots that go round between identities, rates, delays |
//! | [`budget`] | memory that is held for clients |
//! | [`locks`] | names that one command holds at a time |
//! | [`slots`] | the number of connections |

mod bucket;
pub(crate) mod budget;
pub(crate) mod locks;
mod pace;
mod queue;
pub(crate) mod slots;
mod throttle;

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

/// Hands out slots to run. Some commands run at once, some wait, and others are told when to try
/// again. Slots go round between identities, so no identity's commands hold up another's.
#[derive(Debug)]
pub(crate) struct Admission {
    running: usize,
    queued: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    queue: FairQueue<oneshot::Sender<RunSlot>>,
    /// The host's rate, and its bucket.
    rate: Rate,
    starts: Bucket,
}

/// A running command's slot; released when dropped.
#[derive(Debug)]
pub(crate) struct RunSlot {
    admission: Arc<Admission>,
    who: Arc<str>,
}

/// A start that was let in and has neither a slot nor a place in the queue yet. It counts as
/// waiting until this is dropped, so that starts that are resolved at the same time don't all take
/// the last place.
#[derive(Debug)]
pub(crate) struct Entering {
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

    /// Applies what may change while commands run: the rate of starts.
    pub(crate) fn relimit(&self, limits: &Limits) {
        self.state(|state| state.rate = limits.starts);
    }

    fn state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reserves one start against the rate limits and the queue, before any work is done for it.
    ///
    /// # Errors
    /// `busy`, with the time to try again.
    pub(crate) fn try_start(
        self: &Arc<Self>,
        who: &str,
        quota: &EffectiveQuota,
    ) -> Result<Entering, WireError> {
        let now = Instant::now();
        let who = self.state(|state| {
            self.check_room(state, who, quota, false)?;
            let rate = state.rate;
            let lane = state.queue.lane(who, quota.running);
            let of_peer = lane.starts.check(quota.starts, now);
            let of_host = state.starts.check(rate, now);
            of_peer.map_err(|wait| too_fast("this identity", quota.starts, wait))?;
            of_host.map_err(|wait| too_fast("the host", rate, wait))?;
            lane.starts.take(quota.starts, now);
            state.starts.take(rate, now);
            Ok::<_, WireError>(state.queue.let_in(who, quota.running))
        })?;
        Ok(Entering { admission: Arc::clone(self), who })
    }

    /// Returns how the refusal of a start of this identity is to be delayed.
    pub(crate) fn refuse(&self, who: &str, quota: &EffectiveQuota) -> Backoff {
        let now = Instant::now();
        self.state(|state| state.queue.lane(who, quota.running).refusals.answer(now))
    }

    /// Returns a slot, if one is free and no command of this identity waits for it.
    pub(crate) fn try_slot(self: &Arc<Self>, who: &str, quota: &EffectiveQuota) -> Option<RunSlot> {
        let has_slot = self.state(|state| state.queue.try_run(who, quota.running));
        has_slot.then(|| RunSlot { admission: Arc::clone(self), who: who.into() })
    }

    /// Enters the queue.
    ///
    /// # Errors
    /// `busy` when the queue is full.
    pub(crate) fn enqueue(
        self: &Arc<Self>,
        who: &str,
        quota: &EffectiveQuota,
    ) -> Result<QueueTicket, WireError> {
        let (waiter, slot) = oneshot::channel();
        let (number, position) = self.state(|state| {
            self.check_room(state, who, quota, true)?;
            let number = state.queue.enter(who, quota.running, waiter);
            Ok::<_, WireError>((number, state.queue.before(who)))
        })?;
        self.hand_out();
        let admission = Arc::clone(self);
        let wait = quota.queue_wait.0;
        Ok(QueueTicket { admission, who: who.to_owned(), number, position, wait, slot })
    }

    /// Checks that there is a slot or a place in the queue; a place alone if the command `waits`
    /// already. Those that starts let in before will take are not free.
    fn check_room(
        &self,
        state: &mut State,
        who: &str,
        quota: &EffectiveQuota,
        waits: bool,
    ) -> Result<(), WireError> {
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

    /// Gives free slots to the commands that are next.
    fn hand_out(self: &Arc<Self>) {
        while let Some((who, waiter)) = self.state(|state| state.queue.next()) {
            // A waiter that has just left releases the slot by dropping it, outside of the lock.
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

impl QueueTicket {
    /// Returns how many commands were to run before this one when it entered the queue.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// Waits for a slot.
    ///
    /// # Errors
    /// `busy` when none became free in time.
    ///
    /// # Cancel safety
    /// Cancel safe: the place is kept, and the next call returns a slot that came meanwhile.
    pub(crate) async fn slot(&mut self) -> Result<RunSlot, WireError> {
        match tokio::time::timeout(self.wait, &mut self.slot).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_)) | Err(_) => {
                let again = self
                    .admission
                    .state(|state| state.queue.pace.retry_after(state.queue.waiting()));
                let wait = humantime::format_duration(self.wait);
                Err(busy(format!("no turn came within {wait}"))
                    .hint("Nothing ran; try again later, or raise queue_wait in server.toml.")
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
        .hint("Nothing ran; try again later, or raise `running` and `queued` in server.toml.")
}

fn too_fast(who: &str, rate: Rate, wait: Duration) -> WireError {
    busy(format!("{who} may start {rate}, and they are used up"))
        .hint("Nothing ran; come again more slowly, or raise `starts` in server.toml.")
        .retry_after_ms(ms(wait))
}

/// Returns whole milliseconds, rounded up: a client that comes earlier comes in vain.
fn ms(wait: Duration) -> u64 {
    u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(text: &str) -> Limits {
        toml::from_str(text).unwrap()
    }

    fn admission(text: &str) -> (Arc<Admission>, EffectiveQuota) {
        let limits = limits(text);
        (Arc::new(Admission::new(&limits)), limits.quota_for("a", &[]))
    }

    #[tokio::test]
    async fn the_queue_is_bounded_and_moves_on_when_a_turn_ends() {
        let (admission, of) = admission("running = 1\nqueued = 1");
        let slot = admission.try_slot("a", &of).unwrap();
        assert!(admission.try_slot("a", &of).is_none());
        assert!(admission.try_start("a", &of).is_ok());
        let mut ticket = admission.enqueue("a", &of).unwrap();
        assert_eq!(ticket.position(), 0);
        assert!(admission.try_start("a", &of).is_err());
        assert_eq!(admission.enqueue("a", &of).unwrap_err().kind, ErrorKind::Busy);
        drop(slot);
        let slot = ticket.slot().await.unwrap();
        drop((slot, ticket));
        assert!(admission.try_slot("a", &of).is_some());
        assert!(admission.enqueue("a", &of).is_ok());
    }

    #[tokio::test]
    async fn a_command_of_another_has_its_turn_before_hundreds_that_came_earlier() {
        let (admission, of) = admission("running = 1");
        let slot = admission.try_slot("a", &of).unwrap();
        let mut crowd: Vec<_> = (0..500).map(|_| admission.enqueue("a", &of).unwrap()).collect();
        let mut other = admission.enqueue("b", &of).unwrap();
        assert_eq!(other.position(), 1);
        drop(slot);
        let other = other.slot().await.unwrap();
        assert_eq!(crowd[0].slot.try_recv().err(), Some(oneshot::error::TryRecvError::Empty));
        drop(other);
        assert!(crowd[0].slot.try_recv().is_ok());
    }

    #[tokio::test]
    async fn a_turn_that_came_to_one_who_has_left_goes_to_the_next() {
        let (admission, of) = admission("running = 1");
        let slot = admission.try_slot("a", &of).unwrap();
        let leaves = admission.enqueue("a", &of).unwrap();
        let mut stays = admission.enqueue("a", &of).unwrap();
        drop(slot);
        drop(leaves);
        drop(stays.slot().await.unwrap());
        assert!(admission.try_slot("a", &of).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_is_told_to_come_again() {
        let (admission, of) = admission("running = 1");
        let _slot = admission.try_slot("a", &of).unwrap();
        let failure = admission.enqueue("a", &of).unwrap().slot().await.unwrap_err();
        assert_eq!(failure.retry_after_ms, Some(1000));
        assert_eq!(admission.state(|state| state.queue.waiting()), 0);
    }

    #[test]
    fn past_its_rate_an_identity_is_told_when_the_next_start_is_there() {
        let (admission, of) = admission("peer.starts = '2/m'\nstarts = '3/h'");
        assert!(admission.try_start("a", &of).is_ok() && admission.try_start("a", &of).is_ok());
        let failure = admission.try_start("a", &of).unwrap_err();
        assert!(failure.message.contains("this identity may start 2 in 1m"), "{failure}");
        assert!((29_000..=30_000).contains(&failure.retry_after_ms.unwrap()), "{failure:?}");
        // What was refused took nothing from the host's rate.
        assert!(admission.try_start("b", &of).is_ok());
        let failure = admission.try_start("b", &of).unwrap_err();
        assert!(failure.message.contains("the host may start 3 in 1h"), "{failure}");
    }

    #[test]
    fn starts_that_are_still_looked_into_take_no_more_than_there_are_turns_and_places() {
        let (admission, of) =
            admission("running = 2\nqueued = 2\npeer.running = 2\npeer.queued = 2");
        let mut entering: Vec<_> = (0..4).map(|_| admission.try_start("a", &of).unwrap()).collect();
        assert_eq!(admission.try_start("a", &of).unwrap_err().kind, ErrorKind::Busy);
        assert_eq!(admission.try_start("b", &of).unwrap_err().kind, ErrorKind::Busy);
        let _slot = admission.try_slot("a", &of).unwrap();
        entering.pop();
        assert!(admission.try_start("a", &of).is_err(), "the turn was taken by one of them");
        entering.pop();
        assert!(admission.try_start("a", &of).is_ok());
        drop(entering);
        assert_eq!(admission.state(|state| state.queue.entering()), 0);
    }

    #[test]
    fn one_identity_s_full_queue_is_not_another_s() {
        let (admission, of) = admission("running = 4\nqueued = 4");
        let _slots: Vec<_> = (0..3).map(|_| admission.try_slot("a", &of).unwrap()).collect();
        let _tickets: Vec<_> = (0..3).map(|_| admission.enqueue("a", &of).unwrap()).collect();
        let failure = admission.enqueue("a", &of).unwrap_err();
        assert!(
            failure.message.contains("3 commands of this identity run and 3 wait"),
            "{failure}"
        );
        let _slot = admission.try_slot("b", &of).unwrap();
        assert!(admission.enqueue("b", &of).is_ok());
    }
}
