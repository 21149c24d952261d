//! How late refusals are answered, so that who asks again and again costs no more than who waits.

use std::time::{Duration, Instant};

/// Refusals of an identity that are answered at once, after a while without any: a batch that asks for
/// more than there is room for learns so in one go.
const AT_ONCE: u32 = 256;
/// From one answer to the next past those: 100 a second. A crowd that comes again when it is told to
/// is served by that as fast as turns come back.
const INTERVAL: Duration = Duration::from_millis(10);
/// The latest that an answer is: well below the 3 s after which a client that has heard nothing looks
/// for another connection.
const LATEST: Duration = Duration::from_secs(1);

/// When the answers to an identity's refusals are due: a bucket that fills up again, kept as the time
/// at which it will be full.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RefusalThrottle {
    full_at: Option<Instant>,
}

/// How late one is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// By so much.
    pub delay: Duration,
    /// So many answers are due already that the connection is not read meanwhile: the peer's own
    /// sending then waits, and what waits here stays bounded.
    pub pause_reading: bool,
}

impl RefusalThrottle {
    /// When to answer one more.
    pub(super) fn answer(&mut self, now: Instant) -> Backoff {
        let full_at = self.full_at.map_or(now, |at| at.max(now));
        let delay = full_at.duration_since(now).saturating_sub(INTERVAL * (AT_ONCE - 1));
        if delay >= LATEST {
            // It takes nothing from the bucket, and its own connection is what bounds it: one that
            // never waits gets 100 of these a second beside the identity's 100. Not for longer, since
            // what else comes on that connection waits behind it.
            return Backoff { delay: INTERVAL, pause_reading: true };
        }
        self.full_at = Some(full_at + INTERVAL);
        Backoff { delay, pause_reading: false }
    }

    /// Whether it is as good as new.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_answered_at_once_and_then_one_with_each_interval() {
        let (mut throttle, now) = (RefusalThrottle::default(), Instant::now());
        let mut next = |now| throttle.answer(now).delay;
        assert!((0..AT_ONCE).all(|_| next(now).is_zero()));
        assert_eq!([next(now), next(now)], [INTERVAL, 2 * INTERVAL]);
        // Who waits for the answer before it asks again gets all at that pace.
        assert_eq!(next(now + 2 * INTERVAL), INTERVAL);
        let later = now + Duration::from_secs(60);
        assert!((0..AT_ONCE).all(|_| next(later).is_zero()));
    }

    #[test]
    fn what_is_late_is_bounded_and_past_it_the_connection_is_held_up() {
        let (mut throttle, now) = (RefusalThrottle::default(), Instant::now());
        let answers: Vec<_> = (0..1000).map(|_| throttle.answer(now)).collect();
        assert!(answers.iter().all(|backoff| backoff.delay <= LATEST));
        let waiting = answers
            .iter()
            .filter(|backoff| !backoff.delay.is_zero() && !backoff.pause_reading)
            .count();
        assert_eq!(waiting as u128, LATEST.as_nanos() / INTERVAL.as_nanos() - 1);
        assert_eq!(answers.last(), Some(&Backoff { delay: INTERVAL, pause_reading: true }));
        // Held up ones take nothing from the answers to come.
        assert!(!throttle.answer(now + INTERVAL).pause_reading);
        assert!(!throttle.is_full(now + LATEST));
        assert!(throttle.is_full(now + LATEST + INTERVAL * AT_ONCE));
    }

    #[test]
    fn a_connection_that_never_waits_is_answered_two_hundred_times_a_second() {
        let (mut throttle, start) = (RefusalThrottle::default(), Instant::now());
        let (mut now, mut answers) = (start, 0);
        let mut until = |end| {
            while now < end {
                let backoff = throttle.answer(now);
                now += if backoff.pause_reading { backoff.delay } else { Duration::ZERO };
                answers += 1;
            }
            answers
        };
        let first = until(start + Duration::from_secs(1));
        assert_eq!(until(start + Duration::from_secs(11)) - first, 2_000);
    }
}
