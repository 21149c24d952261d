//! The work of judging what running transfers ask. The transfers of an identity are judged for in turn,
//! and together they get no more of it than one of them would.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, sleep},
};

/// The judging for one identity gets at most one part in this many of a processor's time.
const PART: u32 = 2;
/// The time for which the server may judge for an identity at once after a pause.
const AT_ONCE: Duration = Duration::from_millis(50);
/// The least time that one question counts: it is also read, and answered.
const LEAST: Duration = Duration::from_micros(50);
/// The most time that one question counts: in a longer one, the kernel ran something else.
const LONGEST: Duration = Duration::from_millis(2);

/// The shares of all identities.
#[derive(Debug, Default)]
pub(crate) struct JudgingShares(Mutex<HashMap<String, JudgingShare>>);

/// An identity's share in judging. All clones are the same share.
#[derive(Clone, Debug)]
pub(crate) struct JudgingShare(Arc<Share>);

#[derive(Debug)]
struct Share {
    /// A single permit, which transfers get in the order in which they ask for it.
    turn: Semaphore,
    /// The time at which pauses will have made up for all work so far.
    clear_at: Mutex<Option<Instant>>,
}

/// The turn of one transfer. Its time is counted until it is dropped.
#[derive(Debug)]
pub(crate) struct JudgingTurn<'a> {
    share: &'a Share,
    since: Instant,
    _permit: Option<SemaphorePermit<'a>>,
}

impl JudgingShares {
    /// Returns the share of an identity, which all its transfers have together.
    pub(crate) fn of(&self, who: &str) -> JudgingShare {
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(who) {
            return share.clone();
        }
        // A share that nobody has is kept until a new one would be like it.
        shares.retain(|_, share| Arc::strong_count(&share.0) > 1 || !share.0.is_clear());
        let share = JudgingShare::new();
        shares.insert(who.to_owned(), share.clone());
        share
    }
}

impl JudgingShare {
    /// Returns a share of nobody yet.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Share { turn: Semaphore::new(1), clear_at: Mutex::default() }))
    }

    /// Waits until the server may judge for one of the identity's transfers.
    ///
    /// # Cancel safety
    /// Cancel safe, but a call that is dropped loses its place among those that wait.
    pub(crate) async fn turn(&self) -> JudgingTurn<'_> {
        let share = &*self.0;
        // The semaphore is never closed.
        let permit = share.turn.acquire().await.ok();
        let wait = share.wait();
        if !wait.is_zero() {
            sleep(wait).await;
        }
        JudgingTurn { share, since: Instant::now(), _permit: permit }
    }
}

impl Share {
    fn clear_at<T>(&self, act: impl FnOnce(&mut Option<Instant>) -> T) -> T {
        act(&mut self.clear_at.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_clear(&self) -> bool {
        self.clear_at(|at| at.is_none_or(|at| at <= Instant::now()))
    }

    /// Returns the time to wait before more work.
    fn wait(&self) -> Duration {
        let ahead = self.clear_at(|at| at.map(|at| at.saturating_duration_since(Instant::now())));
        ahead.unwrap_or_default().saturating_sub(AT_ONCE * PART)
    }

    /// Counts work that took this long.
    fn count(&self, took: Duration) {
        let now = Instant::now();
        let counted = took.clamp(LEAST, LONGEST) * PART;
        self.clear_at(|at| *at = Some(at.map_or(now, |at| at.max(now)) + counted));
    }
}

impl Drop for JudgingTurn<'_> {
    fn drop(&mut self) {
        self.share.count(self.since.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    /// Takes so many turns without a pause, each of which works for so long.
    async fn work(share: &JudgingShare, turns: u32, took: Duration) {
        for _ in 0..turns {
            let turn = share.turn().await;
            tokio::time::advance(took).await;
            drop(turn);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_transfers_an_identity_has_it_gets_its_part_and_another_has_its_own() {
        const TOOK: Duration = Duration::from_micros(100);
        for transfers in [1, 32] {
            let (shares, began) = (JudgingShares::default(), Instant::now());
            let mut works = JoinSet::new();
            for _ in 0..transfers {
                let share = shares.of("eve");
                works.spawn(async move { work(&share, 6_400 / transfers, TOOK).await });
            }
            let other = shares.of("bob");
            sleep(Duration::from_millis(300)).await;
            let asked = Instant::now();
            drop(other.turn().await);
            assert_eq!(asked.elapsed(), Duration::ZERO, "beside {transfers}");
            works.join_all().await;
            let least = (6_000 * TOOK - AT_ONCE) * PART;
            assert!(began.elapsed() >= least, "{transfers}: {:?}", began.elapsed());
            assert!(began.elapsed() < 2 * least, "{transfers}: {:?}", began.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_worked_is_not_forgotten_with_the_last_transfer_and_then_it_is() {
        let shares = JudgingShares::default();
        work(&shares.of("eve"), 1_000, LONGEST).await;
        drop(shares.of("bob"));
        assert!(!shares.of("eve").0.wait().is_zero());
        sleep(1_000 * LONGEST * PART).await;
        drop(shares.of("carol"));
        let known: Vec<_> = shares.0.lock().unwrap().keys().cloned().collect();
        assert_eq!(known, ["carol"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_counts_neither_nothing_nor_what_the_kernel_did_meanwhile() {
        let share = JudgingShare::new();
        for (took, counted) in
            [(Duration::ZERO, LEAST), (2 * LEAST, 2 * LEAST), (10 * LONGEST, LONGEST)]
        {
            sleep(Duration::from_secs(1)).await;
            work(&share, 1, took).await;
            let clear_at = share.0.clear_at(|at| at.unwrap());
            assert_eq!(clear_at - Instant::now(), counted * PART);
        }
    }
}
