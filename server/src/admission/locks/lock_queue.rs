//! The queue for one lock: identities get turns one after the other, and each identity's own are in
//! the order of arrival.

use std::collections::VecDeque;

/// The jobs that wait for one lock, each as a waiter `T`.
#[derive(Debug)]
pub(super) struct LockQueue<T> {
    /// The waiters of each identity; the first identity has the next turn.
    lanes: VecDeque<(String, VecDeque<T>)>,
}

impl<T> Default for LockQueue<T> {
    fn default() -> Self {
        Self { lanes: VecDeque::new() }
    }
}

impl<T> LockQueue<T> {
    /// Adds a waiter. Returns how many get the lock before it, if no others arrive.
    pub(super) fn push(&mut self, user: &str, waits: T) -> usize {
        let at = self.lanes.iter().position(|(name, _)| name == user);
        let at = at.unwrap_or_else(|| {
            self.lanes.push_back((user.to_owned(), VecDeque::new()));
            self.lanes.len() - 1
        });
        let own = self.lanes.get_mut(at).map_or(0, |(_, lane)| {
            lane.push_back(waits);
            lane.len()
        });
        let others = self.lanes.iter().enumerate().filter(|(other, _)| *other != at);
        // Identities before this one have as many turns before this waiter as this one's lane is
        // long; those after have one less.
        let turns = |other| if other < at { own } else { own - 1 };
        own - 1 + others.map(|(other, (_, lane))| lane.len().min(turns(other))).sum::<usize>()
    }

    /// Removes and returns the waiter whose turn it is.
    pub(super) fn pop(&mut self) -> Option<T> {
        let (user, mut lane) = self.lanes.pop_front()?;
        let next = lane.pop_front();
        if !lane.is_empty() {
            self.lanes.push_back((user, lane));
        }
        next
    }

    /// Removes the waiters of an identity that `stays` does not keep.
    pub(super) fn retain(&mut self, user: &str, mut stays: impl FnMut(&T) -> bool) {
        if let Some((_, lane)) = self.lanes.iter_mut().find(|(name, _)| name == user) {
            lane.retain(|waits| stays(waits));
        }
        self.lanes.retain(|(_, lane)| !lane.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_go_round_and_each_is_told_how_many_come_before() {
        let mut queue = LockQueue::default();
        let told: Vec<_> =
            [("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1"), ("c", "c1"), ("b", "b2")]
                .map(|(user, waits)| queue.push(user, waits))
                .into();
        assert_eq!(told, [0, 1, 2, 1, 2, 4]);
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, ["a1", "b1", "c1", "a2", "b2", "a3"]);
    }

    #[test]
    fn who_leaves_is_passed_over() {
        let mut queue = LockQueue::default();
        for waits in ["a1", "a2"] {
            queue.push("a", waits);
        }
        queue.push("b", "b1");
        queue.retain("a", |waits| *waits != "a1");
        queue.retain("b", |_| false);
        queue.retain("c", |_| false);
        assert_eq!((queue.pop(), queue.pop()), (Some("a2"), None));
    }
}
