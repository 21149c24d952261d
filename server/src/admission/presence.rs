//! Who keeps a server from ending when it is idle.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// The guests of a server: connections, jobs, and kept ends of jobs. Once it is closed it has none, and gets none.
#[derive(Debug)]
pub(crate) struct Presence {
    state: Mutex<State>,
    left: Notify,
}

#[derive(Debug)]
struct State {
    guests: usize,
    is_closed: bool,
    /// The time when the last guest left, or when the server began.
    empty_since: Instant,
}

/// A reason for a server to stay, until it is dropped.
#[derive(Debug)]
pub(crate) struct Guest(Arc<Presence>);

impl Presence {
    /// Makes a presence without guests.
    pub(crate) fn new() -> Arc<Self> {
        let state = State { guests: 0, is_closed: false, empty_since: Instant::now() };
        Arc::new(Self { state: Mutex::new(state), left: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a guest in; `None` once it is closed.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Guest> {
        let mut state = self.state();
        if state.is_closed {
            return None;
        }
        state.guests += 1;
        Some(Guest(Arc::clone(self)))
    }

    /// Polls for a guest, and takes in the one that comes, in one step: none comes, and none is lost, once it is closed.
    pub(crate) fn poll_entering<T>(
        self: &Arc<Self>,
        poll: impl FnOnce() -> Poll<T>,
    ) -> Poll<(T, Guest)> {
        let mut state = self.state();
        if state.is_closed {
            return Poll::Pending;
        }
        poll().map(|came| {
            state.guests += 1;
            (came, Guest(Arc::clone(self)))
        })
    }

    /// Waits until there has been no guest for this long, and closes.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn closed_when_idle_for(&self, time: Duration) {
        loop {
            let until = {
                let mut state = self.state();
                match state.guests {
                    0 if state.empty_since.elapsed() >= time => {
                        state.is_closed = true;
                        return;
                    }
                    0 => Some(state.empty_since + time),
                    _ => None,
                }
            };
            match until {
                Some(until) => sleep_until(until).await,
                None => self.left.notified().await,
            }
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.guests -= 1;
        if state.guests == 0 {
            state.empty_since = Instant::now();
            drop(state);
            self.0.left.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const IDLE: Duration = Duration::from_secs(10);
    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn it_closes_when_the_last_guest_has_been_gone_for_long_enough() {
        let presence = Presence::new();
        let one = presence.enter().unwrap();
        assert!(timeout(HOUR, presence.closed_when_idle_for(IDLE)).await.is_err());
        let other = presence.enter().unwrap();
        drop(one);
        assert!(timeout(HOUR, presence.closed_when_idle_for(IDLE)).await.is_err());
        drop(other);
        assert!(timeout(IDLE / 2, presence.closed_when_idle_for(IDLE)).await.is_err());
        // Who comes and goes begins the time anew.
        drop(presence.enter().unwrap());
        assert!(timeout(IDLE * 3 / 4, presence.closed_when_idle_for(IDLE)).await.is_err());
        presence.closed_when_idle_for(IDLE).await;
        assert!(presence.enter().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn once_it_is_closed_nobody_is_taken_in() {
        let presence = Presence::new();
        presence.closed_when_idle_for(Duration::ZERO).await;
        let mut was_asked = false;
        let came = presence.poll_entering(|| {
            was_asked = true;
            Poll::Ready(())
        });
        assert!(came.is_pending() && !was_asked);
    }

    #[test]
    fn of_many_who_come_while_it_closes_each_is_in_or_was_not_asked() {
        let presence = Presence::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    (0..10_000).for_each(|_| drop(presence.poll_entering(|| Poll::Ready(()))));
                });
            }
            runtime.block_on(presence.closed_when_idle_for(Duration::ZERO));
            let state = presence.state();
            assert!(state.is_closed && state.guests == 0);
        });
        assert_eq!(presence.state().guests, 0);
    }
}
