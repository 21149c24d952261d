//! Who waits for one lock: turns go round between identities, in the order of arrival within each.

use std::collections::VecDeque;

/// Those who wait for one lock, each with what it waits by, `T`.
#[derive(Debug)]
pub(super) struct LockQueue<T> {
    /// By identity; the next turn is the first one's.
    lanes: VecDeque<(String, VecDeque<T>)>,
}

impl<T> Default for LockQueue<T> {
    fn default() -> Self {
        Self { lanes: VecDeque::new() }
    }
}

impl<T> LockQueue<T> {
    /// Adds one who waits. Returns how many are to have the lock before, if nobody else comes.
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
        // Who comes before this identity has as many turns as it has, who comes after one less.
        let turns = |other| if other < at { own } else { own - 1 };
        own - 1 + others.map(|(other, (_, lane))| lane.len().min(turns(other))).sum::<usize>()
    }

    /// Takes whose turn it is.
    pub(super) fn pop(&mut self) -> Option<T> {
        let (user, mut lane) = self.lanes.pop_front()?;
        let next = lane.pop_front();
        if !lane.is_empty() {
            self.lanes.push_back((user, lane));
        }
        next
    }

    /// Removes those of an identity that are not to stay.
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
