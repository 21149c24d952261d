//! The pauses between attempts to connect.

use std::time::Duration;

use tokio::time::Instant;

/// The first pause, and the longest.
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);
/// A connection that lasts this long after its hello has healed the loss before it.
const STEADY: Duration = Duration::from_secs(1);
/// Attempts that count on after a connection that broke before that, at most: the pauses grow up to 400 ms, so
/// that a link that flickers is made again within a short grace.
const FLICKER: u32 = 4;
/// The longest of the least times for which a busy host is left alone.
const LONGEST_REST: Duration = Duration::from_secs(1);
/// The longest time that a busy host is believed: it may have room long before.
const BELIEVED: Duration = Duration::from_secs(300);

/// Pauses between attempts: none at first, then from 50 ms doubling up to 2 s, each cut at random by
/// up to a half, so that the clients of a server that was restarted don't come all at once.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    attempts: u32,
    greeted: Option<Instant>,
}

impl Backoff {
    /// Returns the pause before the next attempt.
    ///
    /// After a connection that held it begins anew. After one that broke right behind its hello it
    /// grows on, or a server that ends each connection there would be dialled without end.
    pub(super) fn pause(&mut self) -> Duration {
        if let Some(greeted) = self.greeted.take() {
            self.attempts =
                if greeted.elapsed() >= STEADY { 0 } else { self.attempts.min(FLICKER) };
        }
        let Some(doublings) = self.attempts.checked_sub(1) else {
            self.attempts = 1;
            return Duration::ZERO;
        };
        self.attempts = self.attempts.saturating_add(1);
        grown(doublings).min(LONGEST).mul_f64(1.0 - random() / 2.0)
    }

    /// Notes that a server has said hello.
    pub(super) fn greeted(&mut self) {
        self.greeted = Some(Instant::now());
    }

    /// Forgets the loss before, because its connection was only slow: the next one is new.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Returns the first pause, doubled so many times.
fn grown(doublings: u32) -> Duration {
    SHORTEST.saturating_mul(1 << doublings.min(10))
}

/// Returns how long to leave a host alone that says it is busy for the time `said`, after so many answers of that
/// kind. It is the host's time, made longer at random, but whatever the host says it is no less than a pause that
/// grows with each answer, from 50 ms up to 1 s, and no more than 5 min.
pub(super) fn rest(said: Duration, answers: u32) -> Duration {
    spread(said.clamp(grown(answers).min(LONGEST_REST), BELIEVED))
}

/// Returns a pause made longer at random by up to a half, so that not all clients come at once.
pub(crate) fn spread(wait: Duration) -> Duration {
    wait.mul_f64(1.0 + random() / 2.0)
}

/// Returns a random number from 0 to 1; 0 if the system returns no random bytes.
fn random() -> f64 {
    getrandom::u32().map_or(0.0, |random| f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_first_attempt_is_made_at_once_and_later_ones_ever_more_slowly() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.pause(), Duration::ZERO);
        for whole in [50, 100, 200, 400, 800, 1600, 2000, 2000].map(Duration::from_millis) {
            let pause = backoff.pause();
            assert!(pause <= whole && pause >= whole / 2, "{pause:?} of {whole:?}");
        }
        (0..100).for_each(|_| assert!(backoff.pause() <= LONGEST));
        backoff.reset();
        assert_eq!(backoff.pause(), Duration::ZERO);
    }

    #[test]
    fn no_client_comes_before_the_time_that_a_server_gave_nor_all_at_once() {
        let wait = Duration::from_secs(2);
        let waits: HashSet<_> = (0..100).map(|_| spread(wait)).collect();
        assert!(waits.iter().all(|one| (wait..=wait + wait / 2).contains(one)), "{waits:?}");
        assert!(waits.len() > 90, "{waits:?}");
    }

    #[test]
    fn a_busy_host_is_left_alone_ever_longer_whatever_it_says() {
        for (answers, least) in [50, 100, 200, 400, 800, 1000, 1000].into_iter().enumerate() {
            let least = Duration::from_millis(least);
            let rest = rest(Duration::ZERO, u32::try_from(answers).unwrap());
            assert!(rest >= least && rest <= least * 3 / 2, "{rest:?} of {least:?}");
        }
        assert!(rest(Duration::ZERO, u32::MAX) <= LONGEST_REST * 3 / 2);
        let said = Duration::from_secs(7);
        assert!((said..=said * 3 / 2).contains(&rest(said, 3)));
        for long in [Duration::from_millis(u64::MAX), Duration::MAX] {
            assert!(rest(long, 0) <= BELIEVED * 3 / 2);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_that_breaks_behind_each_hello_is_not_dialled_without_a_pause() {
        let mut backoff = Backoff::default();
        backoff.greeted();
        assert_eq!(backoff.pause(), Duration::ZERO);
        for whole in [50, 100, 200, 400, 400, 400].map(Duration::from_millis) {
            backoff.greeted();
            let pause = backoff.pause();
            assert!(pause <= whole && pause >= whole / 2, "{pause:?} of {whole:?}");
        }
        backoff.greeted();
        tokio::time::advance(STEADY).await;
        assert_eq!(backoff.pause(), Duration::ZERO);
    }
}
