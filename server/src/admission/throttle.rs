//! Delays of refusals, so that a client that asks again and again costs no more than one that
//! waits, over however many connections it asks.

use std::time::{Duration, Instant};

use super::bucket::Bucket;
use crate::units::Rate;

/// The number of refusals that an identity gets at once after a while without any, so that a client
/// which starts more commands than there is room for is answered without delay.
const AT_ONCE: u32 = 256;
/// The time between the answers after those: 100 a second. Clients that try again when they are
/// told to are served at that pace, if commands end as fast.
const INTERVAL: Duration = Duration::from_millis(10);
/// The rate at which refusals are answered without delay.
const RATE: Rate = Rate::new(AT_ONCE, INTERVAL);
/// The maximum delay of an answer, well below the 3 s after which a client that has received
/// nothing opens another connection.
const LATEST: Duration = Duration::from_secs(1);
/// The maximum time for which a connection is not read, well below the silence after which its
/// client considers it lost.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The state of an identity's refusals.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RefusalThrottle {
    answers: Bucket,
    /// The time at which the next of the paused connections goes on.
    next_pause_ends: Option<Instant>,
}

/// The delay of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// The delay of the answer.
    pub delay: Duration,
    /// True if the connection must not be read meanwhile: so many answers wait already that the
    /// peer must wait too, to keep their number bounded.
    pub pause_reading: bool,
}

impl RefusalThrottle {
    /// Returns when to answer one more refusal, and counts it.
    pub(super) fn answer(&mut self, now: Instant) -> Backoff {
        let delay = self.answers.check(RATE, now).err().unwrap_or_default();
        if delay >= LATEST {
            // This answer takes nothing from the bucket. The identity's connections go on one after
            // the other, which together gives them 100 such answers a second beside the other 100.
            let ends = self.next_pause_ends.map_or(now, |at| at.max(now)) + INTERVAL;
            let ends = ends.min(now + LONGEST_PAUSE);
            self.next_pause_ends = Some(ends);
            return Backoff { delay: ends.duration_since(now), pause_reading: true };
        }
        self.answers.take(1, RATE, now);
        Backoff { delay, pause_reading: false }
    }

    /// Returns whether the bucket is full, as a new one is.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.answers.is_full(now)
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
        // A client that waits for the answer before it asks again gets all answers at that pace.
        assert_eq!(next(now + 2 * INTERVAL), INTERVAL);
        let later = now + Duration::from_secs(60);
        assert!((0..AT_ONCE).all(|_| next(later).is_zero()));
    }

    #[test]
    fn what_is_late_is_bounded_and_past_it_the_connection_is_held_up() {
        let (mut throttle, now) = (RefusalThrottle::default(), Instant::now());
        let answers: Vec<_> = (0..1000).map(|_| throttle.answer(now)).collect();
        assert!(answers.iter().all(|backoff| backoff.delay <= LONGEST_PAUSE));
        let waiting = answers
            .iter()
            .filter(|backoff| !backoff.delay.is_zero() && !backoff.pause_reading)
            .count();
        assert_eq!(waiting as u128, LATEST.as_nanos() / INTERVAL.as_nanos() - 1);
        let first = answers.iter().find(|backoff| backoff.pause_reading);
        assert_eq!(first, Some(&Backoff { delay: INTERVAL, pause_reading: true }));
        // Answers on paused connections take nothing from later ones.
        assert!(!throttle.answer(now + INTERVAL).pause_reading);
        assert!(!throttle.is_full(now + LATEST));
        assert!(throttle.is_full(now + LATEST + INTERVAL * AT_ONCE));
    }

    #[test]
    fn connections_that_never_wait_share_two_hundred_answers_a_second() {
        for connections in [1, 16, 256] {
            let (mut throttle, start) = (RefusalThrottle::default(), Instant::now());
            let mut read_at = vec![start; connections];
            let mut until = |end| {
                let mut answers = 0;
                while let Some(at) = read_at.iter_mut().min().filter(|at| **at < end) {
                    let backoff = throttle.answer(*at);
                    *at += if backoff.pause_reading { backoff.delay } else { Duration::ZERO };
                    answers += 1;
                }
                answers
            };
            let first = until(start + Duration::from_secs(5));
            assert!(first < 2_000, "{connections}: {first}");
            let then = until(start + Duration::from_secs(15));
            assert!((1_900..=2_100).contains(&then), "{connections}: {then}");
        }
    }
}
