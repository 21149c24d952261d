//! Which commands run now, and which wait for their turn.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rcmd_protocol::outcome::{ErrorKind, Failure};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::Limits;

/// Hands out turns: so many run at once, so many wait, the others are told to come again.
#[derive(Debug)]
pub struct Admission {
    turns: Arc<Semaphore>,
    running: usize,
    waiting: AtomicUsize,
    queued: usize,
    wait: Duration,
}

/// A running command's turn; given back when dropped.
#[derive(Debug)]
pub struct Turn {
    _permit: OwnedSemaphorePermit,
}

/// A place in the queue; given back when dropped.
#[derive(Debug)]
pub struct Place {
    admission: Arc<Admission>,
    position: usize,
}

impl Admission {
    /// An admission with these limits.
    pub fn new(limits: &Limits) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(limits.running)),
            running: limits.running,
            waiting: AtomicUsize::new(0),
            queued: limits.queued,
            wait: limits.queue_wait.0,
        }
    }

    /// A turn, if one is free and nobody waits for it.
    pub fn try_turn(&self) -> Option<Turn> {
        let permit = Arc::clone(&self.turns).try_acquire_owned().ok()?;
        Some(Turn { _permit: permit })
    }

    /// Whether a command that came now would be told to come again: then nothing need be made for it.
    ///
    /// # Errors
    /// `busy` when the queue is full and no turn is free.
    pub fn check(&self) -> Result<(), Failure> {
        let full = self.waiting.load(Ordering::Relaxed) >= self.queued;
        if full && self.turns.available_permits() == 0 { Err(self.full()) } else { Ok(()) }
    }

    fn full(&self) -> Failure {
        busy(format!("{} commands run and {} wait already", self.running, self.queued))
    }

    /// A place in the queue.
    ///
    /// # Errors
    /// `busy` when the queue is full.
    pub fn queue(self: &Arc<Self>) -> Result<Place, Failure> {
        let position = self.waiting.fetch_add(1, Ordering::Relaxed);
        let place = Place { admission: Arc::clone(self), position };
        if position >= self.queued {
            return Err(self.full());
        }
        Ok(place)
    }
}

impl Place {
    /// How many waited before this one when it came.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// `busy` when none came in time.
    ///
    /// # Cancel safety
    /// The turn goes to the next; the place is kept, at the queue's end.
    pub async fn turn(&self) -> Result<Turn, Failure> {
        let turns = Arc::clone(&self.admission.turns);
        let wait = self.admission.wait;
        match tokio::time::timeout(wait, turns.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Turn { _permit: permit }),
            Ok(Err(_)) | Err(_) => Err(busy(format!("no turn came within {} s", wait.as_secs()))),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

fn busy(message: String) -> Failure {
    Failure::new(ErrorKind::Busy, message)
        .hint("Nothing ran; try again later, or raise limits.running in server.toml.")
        .retry_after_ms(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(running: usize, queued: usize) -> Arc<Admission> {
        let limits = Limits { running, queued, ..Limits::default() };
        Arc::new(Admission::new(&limits))
    }

    #[tokio::test]
    async fn the_queue_is_bounded_and_moves_on_when_a_turn_ends() {
        let admission = admission(1, 1);
        let turn = admission.try_turn().unwrap();
        assert!(admission.try_turn().is_none());
        assert!(admission.check().is_ok());
        let place = admission.queue().unwrap();
        assert_eq!(place.position(), 0);
        assert!(admission.check().is_err());
        assert_eq!(admission.queue().unwrap_err().kind, ErrorKind::Busy);
        drop(turn);
        let turn = place.turn().await.unwrap();
        drop((turn, place));
        assert!(admission.try_turn().is_some());
        assert!(admission.queue().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_is_told_to_come_again() {
        let admission = admission(1, 1);
        let _turn = admission.try_turn().unwrap();
        let failure = admission.queue().unwrap().turn().await.unwrap_err();
        assert_eq!(failure.retry_after_ms, Some(1000));
    }
}
