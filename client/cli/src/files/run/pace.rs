//! The rate of all hosts together: what `--bwlimit` permits.

use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rcmd_protocol::limits::{CHUNK, CREDIT};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// What was not used is good for this long: timers are late by a millisecond or two, and a link that waits for its
/// peer may make up for it.
const SAVED: Duration = Duration::from_millis(50);

/// The time that the bytes take which are let through at once, so that the rate is smooth.
const SLICE: u64 = 20;

/// The least that is let through at once, in bytes, and that a host may send ahead.
const LEAST: u64 = 1024;
/// See [`LEAST`].
const LEAST_CREDIT: u64 = 8 * 1024;

/// A bucket of tokens from which all hosts take for what crosses, in both directions. Without a rate it has no bottom.
#[derive(Debug)]
pub(crate) struct Pace {
    rate: Option<NonZeroU64>,
    /// When everything is paid for that was let through or waits.
    paid: Mutex<Instant>,
    /// True once nothing is limited any more.
    lifted: watch::Sender<bool>,
}

impl Pace {
    /// Returns a pace of so many bytes a second, or an unlimited one.
    pub(crate) fn new(rate: Option<NonZeroU64>) -> Self {
        Self { rate, paid: Mutex::new(Instant::now()), lifted: watch::channel(false).0 }
    }

    /// Ends the limit, for what is to end soon: little is under way by then.
    pub(crate) fn lift(&self) {
        self.lifted.send_replace(true);
    }

    /// Returns how many bytes are to be let through at once.
    pub(crate) fn slice(&self) -> usize {
        let rate = self.rate.map_or(u64::MAX, NonZeroU64::get);
        usize::try_from((rate / SLICE).max(LEAST)).unwrap_or(CHUNK).min(CHUNK)
    }

    /// Returns how many bytes each of so many hosts may be ahead of what it is permitted to send: the credit of its
    /// stream, by which it is paced. None for as many as it likes.
    pub(crate) fn credit(&self, hosts: usize) -> Option<u64> {
        let hosts = u64::try_from(hosts).unwrap_or(u64::MAX).max(1);
        // Half a second of it: that is the round trip up to which the rate is reached.
        self.rate.map(|rate| (rate.get() / 2 / hosts).clamp(LEAST_CREDIT, CREDIT))
    }

    /// Waits until so many bytes may cross. Whoever asked first goes first.
    ///
    /// # Cancel safety
    /// Dropped, the bytes are paid for all the same.
    pub(crate) async fn take(&self, bytes: usize) {
        let Some(rate) = self.rate else { return };
        let at = self.reserve(rate, bytes, Instant::now());
        let mut lifted = self.lifted.subscribe();
        tokio::select! {
            () = sleep_until(at) => {}
            _ = lifted.wait_for(|lifted| *lifted) => {}
        }
    }

    /// Pays for so many bytes, and returns when they may cross.
    fn reserve(&self, rate: NonZeroU64, bytes: usize, now: Instant) -> Instant {
        let bytes = u128::try_from(bytes).unwrap_or(u128::MAX);
        let nanos = bytes.saturating_mul(1_000_000_000) / u128::from(rate.get());
        let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = (*paid).max(now.checked_sub(SAVED).unwrap_or(now));
        *paid = begins.checked_add(takes).unwrap_or(begins);
        begins
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn pace(rate: u64) -> Pace {
        Pace::new(NonZeroU64::new(rate))
    }

    #[test]
    fn bytes_cross_at_the_rate_and_in_the_order_of_the_questions() {
        let (pace, now) = (pace(1_000_000), Instant::now());
        let rate = NonZeroU64::new(1_000_000).unwrap();
        let begins: Vec<_> = (0..100).map(|_| pace.reserve(rate, 10_000, now)).collect();
        assert!(begins.windows(2).all(|pair| pair[1] - pair[0] == Duration::from_millis(10)));
        // The last of 1 s, less what was saved.
        assert!(begins[99] - now <= Duration::from_millis(990));
        assert!(begins[99] - now >= Duration::from_millis(940));
    }

    #[test]
    fn what_was_not_used_is_lost_but_for_a_moment() {
        let (pace, now) = (pace(1_000_000), Instant::now());
        let rate = NonZeroU64::new(1_000_000).unwrap();
        let later = now + Duration::from_secs(60);
        assert_eq!(pace.reserve(rate, 1_000_000, later), later - SAVED);
        assert_eq!(pace.reserve(rate, 1, later), later - SAVED + Duration::from_secs(1));
    }

    #[test]
    fn slices_and_credit_are_those_of_a_smooth_rate() {
        assert_eq!((pace(1 << 20).slice(), pace(1 << 20).credit(1)), (52_428, Some(1 << 19)));
        assert_eq!((pace(2048).slice(), pace(2048).credit(16)), (1024, Some(8 * 1024)));
        assert_eq!((pace(1 << 40).slice(), pace(1 << 40).credit(1)), (CHUNK, Some(CREDIT)));
        assert_eq!(pace(16 << 20).credit(16), Some(1 << 19));
        let unlimited = Pace::new(None);
        assert_eq!((unlimited.slice(), unlimited.credit(1)), (CHUNK, None));
    }

    #[tokio::test]
    async fn an_unlimited_pace_waits_for_nothing_and_a_lifted_one_for_nothing_any_more() {
        Pace::new(None).take(usize::MAX).await;
        let pace = Arc::new(pace(1024));
        pace.take(1 << 30).await;
        let waiting = tokio::spawn({
            let pace = Arc::clone(&pace);
            async move { pace.take(1).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        pace.lift();
        waiting.await.unwrap();
        pace.take(1).await;
    }
}
