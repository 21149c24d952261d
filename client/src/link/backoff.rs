//! The pauses between attempts to connect.

use std::time::Duration;

use tokio::time::Instant;

/// The first pause, and the longest.
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);
/// A connection that lasts this long after its hello has healed the loss before it.
const STEADY: Duration = Duration::from_secs(1);

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
    /// is short and not nothing, or a link that always does would be dialled without end.
    pub(super) fn pause(&mut self) -> Duration {
        if let Some(greeted) = self.greeted.take() {
            self.attempts = if greeted.elapsed() >= STEADY { 0 } else { self.attempts.min(1) };
        }
        let Some(doublings) = self.attempts.checked_sub(1) else {
            self.attempts = 1;
            return Duration::ZERO;
        };
        self.attempts = self.attempts.saturating_add(1);
        let whole = SHORTEST.saturating_mul(1 << doublings.min(10)).min(LONGEST);
        whole.mul_f64(1.0 - random() / 2.0)
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

/// Returns a time that a server gave, made longer at random by up to a half, for the same reason.
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

    #[tokio::test(start_paused = true)]
    async fn a_link_that_breaks_behind_each_hello_is_not_dialled_without_a_pause() {
        let mut backoff = Backoff::default();
        backoff.greeted();
        assert_eq!(backoff.pause(), Duration::ZERO);
        for _ in 0..10 {
            backoff.greeted();
            let pause = backoff.pause();
            assert!(pause <= SHORTEST && pause >= SHORTEST / 2, "{pause:?}");
        }
        backoff.greeted();
        tokio::time::advance(STEADY).await;
        assert_eq!(backoff.pause(), Duration::ZERO);
    }
}
