//! Groups of readers that work in turn, so that many connections of one peer get no more work done than one of them.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::yield_now,
    time::{Instant, sleep},
};

use super::work_pace::WorkPace;

/// The time that one reader works before all other tasks run. It is short, since other tasks take many
/// steps, each of which may wait for it.
const TURN: Duration = Duration::from_micros(100);
/// The readers of a group, even if they work without pause, get one part in this many of one processor's time.
const PART: u32 = 4;
/// The time for which the readers of a group may work at once after a pause.
const AT_ONCE: Duration = Duration::from_millis(500);

/// A group of readers that work in turn: one of them at a time decodes, expands and hands on what came, for a short
/// time; then the next one does.
#[derive(Clone, Debug)]
pub struct ReaderGroup(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// A single permit, which readers get in the order in which they asked for it.
    turn: Arc<Semaphore>,
    pace: Mutex<WorkPace>,
}

/// A reader's part in a group. All clones are the same part.
#[derive(Clone, Debug, Default)]
pub struct ReaderPart(Arc<Mutex<Part>>);

#[derive(Debug, Default)]
struct Part {
    group: Option<ReaderGroup>,
    permit: Option<OwnedSemaphorePermit>,
    /// The time at which the reader began to work without a pause.
    since: Option<Instant>,
    /// The time from which its work has not been counted yet.
    counts_from: Option<Instant>,
}

impl ReaderGroup {
    /// Returns a group without readers.
    pub fn new() -> Self {
        let turn = Arc::new(Semaphore::new(1));
        Self(Arc::new(Shared { turn, pace: Mutex::new(WorkPace::new(PART, AT_ONCE)) }))
    }

    fn pace<T>(&self, act: impl FnOnce(&mut WorkPace) -> T) -> T {
        act(&mut self.0.pace.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for ReaderGroup {
    fn default() -> Self {
        Self::new()
    }
}

impl ReaderPart {
    fn part<T>(&self, act: impl FnOnce(&mut Part) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Works in turn with the other readers of a group from now on.
    pub(super) fn join(&self, group: ReaderGroup) {
        self.part(|part| part.group = Some(group));
    }

    /// Waits until the reader may work. After [`TURN`] of work, all other tasks run first.
    ///
    /// # Cancel safety
    /// Cancel safe, but a call that is dropped loses its place among those that wait.
    pub(super) async fn work(&self) {
        let since = self.part(|part| part.since);
        if since.is_some_and(|since| since.elapsed() >= TURN) {
            // The permit is kept meanwhile: the next reader, too, works only when other tasks have run.
            yield_now().await;
            self.pass();
        }
        let group = self.part(|part| part.group.clone().filter(|_| part.permit.is_none()));
        let Some(group) = group else {
            self.part(|part| _ = part.since.get_or_insert_with(Instant::now));
            return;
        };
        // The semaphore is never closed.
        let permit = Arc::clone(&group.0.turn).acquire_owned().await.ok();
        let wait = group.pace(|pace| pace.wait(Instant::now()));
        if !wait.is_zero() {
            sleep(wait).await;
        }
        let now = Instant::now();
        self.part(|part| {
            part.permit = permit;
            (part.since, part.counts_from) = (Some(now), Some(now));
        });
    }

    /// Stops counting the reader's time as work while it reads from the socket: the link bounds that.
    pub(super) fn stop_counting(&self) {
        self.part(Part::count);
    }

    /// Counts the reader's time as work again.
    pub(super) fn count_again(&self) {
        self.part(|part| {
            part.counts_from = part.permit.as_ref().map(|_| Instant::now());
        });
    }

    /// Passes the turn to the next reader.
    pub fn pass(&self) {
        self.part(|part| {
            part.count();
            part.since = None;
            part.permit = None;
        });
    }

    /// Waits for `what`, which is part of this turn's work, and passes the turn on if it has to wait.
    ///
    /// # Cancel safety
    /// As cancel safe as `what`.
    pub async fn until<F: Future>(&self, what: F) -> F::Output {
        let mut what = pin!(what);
        std::future::poll_fn(|context| {
            let polled = what.as_mut().poll(context);
            if polled.is_pending() {
                self.pass();
            }
            polled
        })
        .await
    }
}

impl Part {
    fn count(&mut self) {
        if let (Some(group), Some(from)) = (&self.group, self.counts_from.take()) {
            let now = Instant::now();
            group.pace(|pace| pace.count(now - from, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part_of(group: &ReaderGroup) -> ReaderPart {
        let part = ReaderPart::default();
        part.join(group.clone());
        part
    }

    #[tokio::test]
    async fn one_works_at_a_time_and_those_that_wait_work_in_their_order() {
        let (group, order) = (ReaderGroup::new(), Mutex::new(Vec::new()));
        let works = async |name| {
            let part = part_of(&group);
            part.work().await;
            order.lock().unwrap().push(name);
            yield_now().await;
            assert_eq!(order.lock().unwrap().last(), Some(&name));
            part.pass();
        };
        tokio::join!(works(1), works(2), works(3));
        assert_eq!(*order.lock().unwrap(), [1, 2, 3]);
    }

    #[tokio::test]
    async fn what_has_to_wait_gives_the_turn_away_and_what_has_not_keeps_it() {
        let group = ReaderGroup::new();
        let [one, other] = [(); 2].map(|()| part_of(&group));
        one.work().await;
        one.until(std::future::ready(())).await;
        assert_eq!(group.0.turn.available_permits(), 0);
        let (come, came) = tokio::sync::oneshot::channel();
        tokio::join!(async { one.until(came).await.unwrap() }, async {
            other.work().await;
            come.send(()).unwrap();
        });
    }

    #[tokio::test(start_paused = true)]
    async fn work_without_pause_takes_its_part_of_a_processor_and_no_more() {
        let (mut pace, start) = (WorkPace::new(PART, AT_ONCE), Instant::now());
        let (mut now, mut worked) = (start, Duration::ZERO);
        let until = start + Duration::from_secs(100);
        while now < until {
            let wait = pace.wait(now);
            now += wait;
            if wait.is_zero() {
                now += TURN;
                worked += TURN;
                pace.count(TURN, now);
            }
        }
        let part = Duration::from_secs(100) / PART;
        assert!(worked > part && worked < part + 2 * AT_ONCE, "{worked:?}");
    }

    #[tokio::test]
    async fn without_others_to_share_with_there_is_nothing_to_wait_for() {
        let part = ReaderPart::default();
        for _ in 0..10 {
            part.work().await;
            part.count_again();
        }
        part.pass();
    }
}
