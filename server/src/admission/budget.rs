//! The memory that the server holds for all clients together.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::limits::HELD_ALWAYS;

/// One stream may hold this fraction of what is free: its full credit while 64 MiB are.
const STREAMS: usize = 64;

/// Counts the bytes held for clients against a total.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    held: AtomicUsize,
}

/// One stream's share of the budget; released when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: std::sync::Arc<Budget>,
    held: usize,
}

impl Budget {
    /// Makes a budget of `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, held: AtomicUsize::new(0) }
    }

    fn free(&self) -> usize {
        self.limit.saturating_sub(self.held.load(Ordering::Relaxed))
    }

    /// Returns whether there is room for more.
    pub(crate) fn has_room(&self) -> bool {
        self.free() > 0
    }

    /// Returns the bytes that one stream may hold now: equal for all streams, and less the more
    /// they hold together.
    pub(crate) fn each(&self) -> u64 {
        HELD_ALWAYS.max((self.free() / STREAMS) as u64)
    }
}

impl Share {
    /// Makes an empty share.
    pub(crate) fn new(budget: std::sync::Arc<Budget>) -> Self {
        Self { budget, held: 0 }
    }

    /// Sets the bytes that the stream holds now.
    pub(crate) fn set(&mut self, held: usize) {
        if held >= self.held {
            self.budget.held.fetch_add(held - self.held, Ordering::Relaxed);
        } else {
            self.budget.held.fetch_sub(self.held - held, Ordering::Relaxed);
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

    #[test]
    fn what_one_may_hold_shrinks_with_what_is_free_and_never_below_what_it_always_may() {
        let budget = Arc::new(Budget::new(STREAMS << 20));
        assert_eq!(budget.each(), 1 << 20);
        let mut others = Share::new(Arc::clone(&budget));
        others.set(STREAMS << 19);
        assert_eq!(budget.each(), 1 << 19);
        others.set(STREAMS << 20);
        assert_eq!(budget.each(), HELD_ALWAYS);
    }
}
