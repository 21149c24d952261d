//! Turns at work that only few may do at once: an identity's own in order, and identities in turn.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use rcmd_protocol::outcome::{ErrorKind, WireError};
use tokio::{sync::oneshot, time::timeout};

use super::queue::FairQueue;
use crate::config::limits::TurnLimits;

/// The distributor of turns at one kind of work.
#[derive(Debug)]
pub(crate) struct Turns {
    /// The work in a turn, in words: "looks at the host's files".
    what: &'static str,
    limits: TurnLimits,
    queue: Mutex<FairQueue<oneshot::Sender<Turn>>>,
}

/// A turn, which ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Arc<Turns>,
    who: Arc<str>,
}

/// A place in the queue; given up when dropped.
struct Place<'a> {
    turns: &'a Arc<Turns>,
    who: &'a str,
    number: u64,
}

impl Turns {
    /// Makes turns at the work `what`.
    pub(crate) fn new(what: &'static str, limits: TurnLimits) -> Arc<Self> {
        Arc::new(Self { what, limits, queue: Mutex::new(FairQueue::new(limits.all)) })
    }

    fn queue(&self) -> MutexGuard<'_, FairQueue<oneshot::Sender<Turn>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn of this identity.
    ///
    /// # Errors
    /// `busy`, if too many of the identity's own wait already, or no turn came in time.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place.
    pub(crate) async fn take(self: &Arc<Self>, who: &str) -> Result<Turn, WireError> {
        let TurnLimits { each, waiting, patience, .. } = self.limits;
        let (waiter, mut turn) = oneshot::channel();
        let number = {
            let mut queue = self.queue();
            if queue.try_run(who, each) {
                return Ok(Turn { turns: Arc::clone(self), who: who.into() });
            }
            if queue.lane(who, each).waiting() >= waiting {
                let what = self.what;
                return Err(busy(format!("{waiting} {what} of this identity wait already")));
            }
            queue.enter(who, each, waiter)
        };
        self.hand_out();
        let _place = Place { turns: self, who, number };
        match timeout(patience, &mut turn).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => {
                let patience = humantime::format_duration(patience);
                Err(busy(format!("{} take long: no turn came within {patience}", self.what)))
            }
        }
    }

    fn hand_out(self: &Arc<Self>) {
        loop {
            let Some((who, waiter)) = self.queue().next() else { return };
            // If the waiter has just left, the turn ends by being dropped, when the lock is free.
            let _ = waiter.send(Turn { turns: Arc::clone(self), who });
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.queue().release(&self.who, Instant::now());
        self.turns.hand_out();
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.turns.queue().leave(self.who, self.number);
    }
}

fn busy(message: String) -> WireError {
    WireError::new(ErrorKind::Busy, message)
        .hint("Nothing ran; try again later.")
        .retry_after_ms(1000)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn turns(all: usize, each: usize, waiting: usize) -> Arc<Turns> {
        let patience = Duration::from_secs(5);
        Turns::new("looks", TurnLimits { all, each, waiting, patience })
    }

    #[tokio::test]
    async fn who_comes_with_one_has_its_turn_beside_hundreds_of_another() {
        let turns = turns(2, 1, 1000);
        let first = turns.take("a").await.unwrap();
        let crowd: Vec<_> = (0..500).map(|_| Box::pin(turns.take("a"))).collect();
        let mut crowd = crowd;
        for waiting in &mut crowd {
            assert!(futures_ready(waiting).await.is_none());
        }
        let other = turns.take("b").await.unwrap();
        drop(first);
        assert!(futures_ready(&mut crowd[0]).await.unwrap().is_ok());
        drop((other, crowd));
        assert!(turns.take("c").await.is_ok() && turns.take("a").await.is_ok());
    }

    /// Polls a future once.
    async fn futures_ready<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        tokio::select! {
            biased;
            done = future => Some(done),
            () = std::future::ready(()) => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_or_behind_too_many_is_told_to_come_again() {
        let turns = turns(1, 1, 1);
        let held = turns.take("a").await.unwrap();
        let mut waits = Box::pin(turns.take("a"));
        assert!(futures_ready(&mut waits).await.is_none());
        let failure = turns.take("a").await.unwrap_err();
        assert!(failure.message.contains("1 looks of this identity wait already"), "{failure}");
        let failure = waits.await.unwrap_err();
        assert!(failure.message.contains("no turn came within 5s"), "{failure}");
        assert_eq!((failure.kind, failure.retry_after_ms), (ErrorKind::Busy, Some(1000)));
        drop(held);
        assert!(turns.take("a").await.is_ok());
    }
}
