//! The rate of starts.

use std::time::{Duration, Instant};

use crate::units::Rate;

/// A bucket of starts that fills up again, kept as the one time at which it will be full.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    /// Checks that a start may be taken now.
    ///
    /// # Errors
    /// The time until one may be taken, if none is taken before.
    pub(super) fn check(&self, rate: Rate, now: Instant) -> Result<(), Duration> {
        let Some(full_at) = self.full_at else { return Ok(()) };
        // What lies further ahead than all but one start is a start that is not there.
        let slack = rate.interval().saturating_mul(rate.burst().saturating_sub(1));
        match full_at.saturating_duration_since(now).checked_sub(slack) {
            None | Some(Duration::ZERO) => Ok(()),
            Some(wait) => Err(wait),
        }
    }

    /// Takes a start.
    pub(super) fn take(&mut self, rate: Rate, now: Instant) {
        if !rate.interval().is_zero() {
            self.full_at = Some(self.full_at.map_or(now, |at| at.max(now)) + rate.interval());
        }
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
            bucket.take(rate, now);
        }
        let wait = bucket.check(rate, now).unwrap_err();
        assert_eq!(wait, Duration::from_millis(250));
        let then = now + wait;
        bucket.check(rate, then).unwrap();
        bucket.take(rate, then);
        assert_eq!(bucket.check(rate, then), Err(wait));
        assert!(!bucket.is_full(then));
        assert!(bucket.is_full(then + Duration::from_secs(1)));
    }

    #[test]
    fn without_a_limit_it_is_always_full() {
        let (mut bucket, now) = (Bucket::default(), Instant::now());
        for _ in 0..1000 {
            bucket.take(Rate::UNLIMITED, now);
        }
        assert!(bucket.check(Rate::UNLIMITED, now).is_ok() && bucket.is_full(now));
    }
}
