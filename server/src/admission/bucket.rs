//! Buckets that fill up at a rate: for starts, for the records of them, and for refusals.

use std::time::{Duration, Instant};

use crate::units::Rate;

/// A bucket that fills up at a rate, stored as the one time at which it will be full.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    /// Checks that one may be taken now.
    ///
    /// # Errors
    /// The time until one may be taken, if none is taken before.
    pub(super) fn check(&self, rate: Rate, now: Instant) -> Result<(), Duration> {
        let Some(full_at) = self.full_at else { return Ok(()) };
        // If the bucket is full later than in the time for all but one, it has none to take.
        let slack = rate.interval().saturating_mul(rate.burst().saturating_sub(1));
        match full_at.saturating_duration_since(now).checked_sub(slack) {
            None | Some(Duration::ZERO) => Ok(()),
            Some(wait) => Err(wait),
        }
    }

    /// Takes `count`, even if there are fewer.
    pub(super) fn take(&mut self, count: u32, rate: Rate, now: Instant) {
        if count > 0 && !rate.interval().is_zero() {
            let taken = rate.interval().saturating_mul(count);
            self.full_at = Some(self.full_at.map_or(now, |at| at.max(now)) + taken);
        }
    }

    /// Returns whether more than a sixteenth of the bucket has been taken and not filled up again.
    pub(super) fn is_used(&self, rate: Rate, now: Instant) -> bool {
        let full = rate.interval().saturating_mul(rate.burst());
        self.full_at.is_some_and(|at| at.saturating_duration_since(now) > full / 16)
    }

    /// Returns whether the bucket is full, as a new one is.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        #[derive(serde::Deserialize)]
        struct File {
            rate: Rate,
        }
        toml::from_str::<File>(&format!("rate = '{text}'")).unwrap().rate
    }

    #[test]
    fn so_many_may_come_at_once_and_then_one_with_each_part_of_the_span() {
        let (mut bucket, rate, now) = (Bucket::default(), rate("4/s"), Instant::now());
        for _ in 0..4 {
            bucket.check(rate, now).unwrap();
            bucket.take(1, rate, now);
        }
        let wait = bucket.check(rate, now).unwrap_err();
        assert_eq!(wait, Duration::from_millis(250));
        let then = now + wait;
        bucket.check(rate, then).unwrap();
        bucket.take(1, rate, then);
        assert_eq!(bucket.check(rate, then), Err(wait));
        assert!(!bucket.is_full(then));
        assert!(bucket.is_full(then + Duration::from_secs(1)));
    }

    #[test]
    fn who_takes_what_is_not_there_waits_for_all_of_it() {
        let (mut bucket, rate, now) = (Bucket::default(), rate("16/s"), Instant::now());
        bucket.take(1, rate, now);
        assert!(!bucket.is_used(rate, now));
        bucket.take(1, rate, now);
        assert!(bucket.is_used(rate, now));
        bucket.take(30, rate, now);
        assert_eq!(bucket.check(rate, now), Err(rate.interval() * 17));
    }

    #[test]
    fn without_a_limit_it_is_always_full() {
        let (mut bucket, now) = (Bucket::default(), Instant::now());
        for _ in 0..1000 {
            bucket.take(1, Rate::UNLIMITED, now);
        }
        assert!(bucket.check(Rate::UNLIMITED, now).is_ok() && bucket.is_full(now));
    }
}
