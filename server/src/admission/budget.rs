//! The memory that the server holds for its clients, and each identity's part of it.
//!
//! An identity may hold as much as is left free: half of it if alone, a third beside another, and
//! so on. However many identities hold as much as they may, some memory is left for the next one.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use rcmd_protocol::io::Holder;

use crate::config::limits::{HELD_ALWAYS, READING_ALWAYS, READING_PART};

/// The divisor of the memory that an identity may still take, which gives the limit of one stream:
/// a stream gets its full credit while that is 64 MiB.
const STREAMS: usize = 64;

/// The bytes that are held for clients, counted against a limit.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    held: AtomicUsize,
    reading: AtomicUsize,
    of: Mutex<HashMap<String, Weak<IdentityBudget>>>,
}

/// The bytes that are held for one identity, against what it may hold.
#[derive(Debug)]
pub(crate) struct IdentityBudget {
    budget: Arc<Budget>,
    user: String,
    held: AtomicUsize,
    reading: AtomicUsize,
}

/// The share of one stream or request in the budget; released when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    of: Arc<IdentityBudget>,
    held: usize,
}

/// The share of a payload that has been received in part; released when dropped.
#[derive(Debug)]
pub(crate) struct ReadingShare {
    share: Share,
}

impl Budget {
    /// Makes a budget of `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            held: AtomicUsize::new(0),
            reading: AtomicUsize::new(0),
            of: Mutex::default(),
        }
    }

    /// Returns the part of an identity.
    pub(crate) fn of(self: &Arc<Self>, user: &str) -> Arc<IdentityBudget> {
        let mut all = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of) = all.get(user).and_then(Weak::upgrade) {
            return of;
        }
        let of = Arc::new(IdentityBudget {
            budget: Arc::clone(self),
            user: user.to_owned(),
            held: AtomicUsize::new(0),
            reading: AtomicUsize::new(0),
        });
        all.insert(user.to_owned(), Arc::downgrade(&of));
        of
    }

    fn free(&self) -> usize {
        self.limit.saturating_sub(self.held.load(Ordering::Relaxed))
    }
}

impl IdentityBudget {
    /// Returns how many more bytes the identity may hold: those that are free, less those it holds.
    fn room(&self) -> usize {
        self.budget.free().saturating_sub(self.held.load(Ordering::Relaxed))
    }

    /// Returns whether the identity may hold more.
    pub(crate) fn has_room(&self) -> bool {
        self.room() > 0
    }

    /// Returns the bytes that one stream may hold now: the same for all streams of the identity,
    /// and the fewer the more they hold together.
    pub(crate) fn each(&self) -> u64 {
        HELD_ALWAYS.max((self.room() / STREAMS) as u64)
    }

    /// Returns whether payloads that are incomplete may hold `wanted` bytes together.
    fn may_read(&self, wanted: usize) -> bool {
        let most = self.budget.limit / READING_PART;
        let free = most.saturating_sub(self.budget.reading.load(Ordering::Relaxed));
        wanted <= free.max(READING_ALWAYS)
    }
}

impl Drop for IdentityBudget {
    fn drop(&mut self) {
        let mut all = self.budget.of.lock().unwrap_or_else(PoisonError::into_inner);
        // A new part of the same identity may have replaced this one already.
        if all.get(&self.user).is_some_and(|of| of.strong_count() == 0) {
            all.remove(&self.user);
        }
    }
}

impl Share {
    /// Makes an empty share.
    pub(crate) fn new(of: Arc<IdentityBudget>) -> Self {
        Self { of, held: 0 }
    }

    /// Sets the number of bytes that are held now.
    pub(crate) fn set(&mut self, held: usize) {
        for counter in [&self.of.budget.held, &self.of.held] {
            change(counter, self.held, held);
        }
        self.held = held;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl ReadingShare {
    /// Makes an empty share.
    pub(crate) fn new(of: Arc<IdentityBudget>) -> Self {
        Self { share: Share::new(of) }
    }

    fn set(&mut self, held: usize) {
        let of = &self.share.of;
        for counter in [&of.budget.reading, &of.reading] {
            change(counter, self.share.held, held);
        }
        self.share.set(held);
    }
}

impl Holder for ReadingShare {
    fn hold(&mut self, bytes: usize) -> bool {
        let had = self.share.held;
        let of = &self.share.of;
        if bytes > had && !of.may_read(of.reading.load(Ordering::Relaxed) + bytes - had) {
            return false;
        }
        if bytes != had {
            self.set(bytes);
        }
        true
    }
}

impl Drop for ReadingShare {
    fn drop(&mut self) {
        self.set(0);
    }
}

fn change(counter: &AtomicUsize, from: usize, to: usize) {
    if to >= from {
        counter.fetch_add(to - from, Ordering::Relaxed);
    } else {
        counter.fetch_sub(from - to, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(limit: usize) -> Arc<Budget> {
        Arc::new(Budget::new(limit))
    }

    fn holding(budget: &Arc<Budget>, user: &str, bytes: usize) -> Share {
        let mut share = Share::new(budget.of(user));
        share.set(bytes);
        share
    }

    #[test]
    fn shares_add_up_and_are_given_back() {
        let budget = budget(20);
        let of = budget.of("a");
        let one = holding(&budget, "a", 6);
        let mut two = holding(&budget, "a", 3);
        assert!(of.has_room());
        two.set(4);
        assert!(!of.has_room());
        drop(one);
        assert!(of.has_room());
        assert_eq!(budget.held.load(Ordering::Relaxed), 4);
    }

    #[test]
    fn whatever_others_hold_there_is_room_for_one_more() {
        let budget = budget(1 << 20);
        let mut held = Vec::new();
        for user in 0..10 {
            let of = budget.of(&user.to_string());
            assert!(of.has_room(), "after {user}");
            while of.has_room() {
                held.push(holding(&budget, &user.to_string(), 1));
            }
        }
        assert!(budget.of("last").has_room());
    }

    #[test]
    fn what_a_stream_may_hold_shrinks_with_what_is_free_but_never_to_nothing() {
        let budget = budget(STREAMS << 20);
        let [one, two] = ["one", "two"].map(|user| budget.of(user));
        assert_eq!(one.each(), 1 << 20);
        let mut own = holding(&budget, "one", STREAMS << 18);
        assert_eq!(one.each(), 1 << 19);
        assert_eq!(two.each(), 3 << 18);
        own.set(STREAMS << 19);
        assert_eq!((one.each(), two.each()), (HELD_ALWAYS, 1 << 19));
        own.set(STREAMS << 20);
        assert_eq!(two.each(), HELD_ALWAYS);
    }

    #[test]
    fn payloads_in_part_have_a_bound_of_their_own_and_count_in_the_whole() {
        let budget = budget(READING_PART * (8 << 20));
        let mut shares: Vec<_> = (0..16).map(|_| ReadingShare::new(budget.of("a"))).collect();
        let granted =
            shares.iter_mut().filter_map(|share| share.hold(1 << 20).then_some(())).count();
        assert_eq!(granted, 4, "half of what there is for all");
        assert_eq!(budget.held.load(Ordering::Relaxed), 4 << 20);
        let mut other = ReadingShare::new(budget.of("b"));
        assert!(other.hold(1 << 20) && !other.hold(4 << 20));
        assert!(other.hold(1 << 19), "less is always granted");
        drop((shares, other));
        assert_eq!(budget.held.load(Ordering::Relaxed), 0);
        assert_eq!(budget.reading.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn an_identity_that_holds_nothing_any_more_is_forgotten() {
        let budget = budget(1);
        for user in 0..100 {
            drop(holding(&budget, &user.to_string(), 1));
        }
        assert!(budget.of.lock().unwrap().is_empty());
    }
}
