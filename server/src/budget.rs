//! What the server holds in memory for all clients together.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, futures::Notified};

/// Counts bytes held for clients against a total.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    held: AtomicUsize,
    freed: Notify,
}

/// One stream's part of the budget; given back when dropped.
#[derive(Debug)]
pub struct Share {
    budget: std::sync::Arc<Budget>,
    held: usize,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, held: AtomicUsize::new(0), freed: Notify::new() }
    }

    /// Whether there is room for more.
    pub fn has_room(&self) -> bool {
        self.held.load(Ordering::Relaxed) < self.limit
    }

    /// Waits until something is given back, counted from this call and not from the first poll: made
    /// before [`Budget::has_room`] is asked, it misses nothing. It may return early; ask again.
    pub fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }
}

impl Share {
    /// A share of nothing.
    pub fn new(budget: std::sync::Arc<Budget>) -> Self {
        Self { budget, held: 0 }
    }

    /// Says how much the stream holds now.
    pub fn set(&mut self, held: usize) {
        if held >= self.held {
            self.budget.held.fetch_add(held - self.held, Ordering::Relaxed);
        } else {
            let before = self.budget.held.fetch_sub(self.held - held, Ordering::Relaxed);
            if before >= self.budget.limit {
                self.budget.freed.notify_waiters();
            }
        }
        self.held = held;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn shares_add_up_and_are_given_back() {
        let budget = Arc::new(Budget::new(10));
        let mut one = Share::new(Arc::clone(&budget));
        let mut two = Share::new(Arc::clone(&budget));
        one.set(6);
        two.set(3);
        assert!(budget.has_room());
        two.set(4);
        assert!(!budget.has_room());
        drop(one);
        assert!(budget.has_room());
        assert_eq!(budget.held.load(Ordering::Relaxed), 4);
    }

    #[tokio::test]
    async fn what_is_given_back_before_anybody_waits_for_it_is_not_missed() {
        let budget = Arc::new(Budget::new(10));
        let mut share = Share::new(Arc::clone(&budget));
        share.set(10);
        let freed = budget.freed();
        assert!(!budget.has_room());
        share.set(0);
        freed.await;
    }
}
