//! A lane of waiting commands for each identity, and slots to run that the lanes get in turn.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use super::{bucket::Bucket, pace::Pace, throttle::RefusalThrottle};

/// A queue that decides which commands run and which wait, each with a waiter `T`. Starts no tasks.
///
/// ```text
///   ring:   alice -> ci -> bob      identities of which a command waits and one more may run
///   queues: alice: 1 4 5   ci: 2   bob: 3   carol: 6 7 (at its own limit, so not in the ring)
///   order:  1 2 3 4 5; carol's 6 when one of hers has ended
/// ```
///
/// While the host has free slots, no lane is in the ring.
#[derive(Debug)]
pub(super) struct FairQueue<T> {
    limit: usize,
    running: usize,
    waiting: usize,
    /// Commands that wait for something else before they enter.
    waiting_elsewhere: usize,
    /// Commands that were let in and neither run nor wait yet.
    entering: usize,
    lanes: HashMap<Arc<str>, Lane<T>>,
    ring: VecDeque<Arc<str>>,
    entered: u64,
    /// The number of lanes at which idle ones are removed next.
    sweep_at: usize,
    pub(super) pace: Pace,
}

/// The commands of one identity.
#[derive(Debug)]
pub(super) struct Lane<T> {
    running: usize,
    entering: usize,
    waiting_elsewhere: usize,
    limit: usize,
    queue: VecDeque<(u64, T)>,
    in_ring: bool,
    pub(super) starts: Bucket,
    /// The KiB of large requests that were let in.
    pub(super) sent: Bucket,
    /// The requests that did not run.
    pub(super) denied: Bucket,
    /// The KiB of the records of requests that did not run.
    pub(super) recorded: Bucket,
    pub(super) pace: Pace,
    pub(super) refusals: RefusalThrottle,
}

impl<T> Lane<T> {
    fn new() -> Self {
        Self {
            running: 0,
            entering: 0,
            waiting_elsewhere: 0,
            limit: 0,
            queue: VecDeque::new(),
            in_ring: false,
            starts: Bucket::default(),
            sent: Bucket::default(),
            denied: Bucket::default(),
            recorded: Bucket::default(),
            pace: Pace::default(),
            refusals: RefusalThrottle::default(),
        }
    }

    pub(super) fn running(&self) -> usize {
        self.running
    }

    pub(super) fn entering(&self) -> usize {
        self.entering
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len() + self.waiting_elsewhere
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.running == 0
            && self.entering == 0
            && self.waiting_elsewhere == 0
            && self.queue.is_empty()
            && self.starts.is_full(now)
            && self.sent.is_full(now)
            && self.denied.is_full(now)
            && self.recorded.is_full(now)
            && self.refusals.is_full(now)
    }
}

impl<T> FairQueue<T> {
    /// Makes a queue with `limit` slots to run.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            running: 0,
            waiting: 0,
            waiting_elsewhere: 0,
            entering: 0,
            lanes: HashMap::new(),
            ring: VecDeque::new(),
            entered: 0,
            sweep_at: 64,
            pace: Pace::default(),
        }
    }

    pub(super) fn running(&self) -> usize {
        self.running
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting + self.waiting_elsewhere
    }

    /// Returns the number of commands that were let in and have neither a slot nor a place yet.
    pub(super) fn entering(&self) -> usize {
        self.entering
    }

    /// Counts a command that was let in, until [`FairQueue::has_entered`]. Returns the identity's
    /// name, shared with the lane.
    pub(super) fn let_in(&mut self, who: &str, limit: usize) -> Arc<str> {
        self.lane(who, limit).entering += 1;
        self.entering += 1;
        self.lanes.get_key_value(who).map_or_else(|| who.into(), |(name, _)| Arc::clone(name))
    }

    /// Ends the count of [`FairQueue::let_in`]: the command takes a slot or a place now, or gives
    /// up.
    pub(super) fn has_entered(&mut self, who: &str, now: Instant) {
        self.entering -= 1;
        let Some(lane) = self.lanes.get_mut(who) else { return };
        lane.entering -= 1;
        if lane.is_idle(now) {
            self.lanes.remove(who);
        }
    }

    /// Counts a command that waits for something else as waiting, until
    /// [`FairQueue::waits_no_more`]. Returns the identity's name, shared with the lane.
    pub(super) fn waits_elsewhere(&mut self, who: &str, limit: usize) -> Arc<str> {
        self.lane(who, limit).waiting_elsewhere += 1;
        self.waiting_elsewhere += 1;
        self.lanes.get_key_value(who).map_or_else(|| who.into(), |(name, _)| Arc::clone(name))
    }

    /// Ends the count of [`FairQueue::waits_elsewhere`].
    pub(super) fn waits_no_more(&mut self, who: &str, now: Instant) {
        self.waiting_elsewhere -= 1;
        let Some(lane) = self.lanes.get_mut(who) else { return };
        lane.waiting_elsewhere -= 1;
        if lane.is_idle(now) {
            self.lanes.remove(who);
        }
    }

    /// Returns the lane of an identity, and sets the number of commands that it may run to `limit`.
    pub(super) fn lane(&mut self, who: &str, limit: usize) -> &mut Lane<T> {
        if !self.lanes.contains_key(who) && self.lanes.len() >= self.sweep_at {
            let now = Instant::now();
            self.lanes.retain(|_, lane| !lane.is_idle(now));
            self.sweep_at = (2 * self.lanes.len()).max(64);
        }
        let lane = self.lanes.entry(who.into()).or_insert_with(Lane::new);
        lane.limit = limit;
        lane
    }

    /// Takes a slot, if one is free and no command of this identity waits for one.
    pub(super) fn try_run(&mut self, who: &str, limit: usize) -> bool {
        let has_room = self.running < self.limit;
        let lane = self.lane(who, limit);
        if !has_room || lane.running >= limit || !lane.queue.is_empty() {
            return false;
        }
        lane.running += 1;
        self.running += 1;
        true
    }

    /// Adds a waiter to the identity's lane. Returns its number, for [`FairQueue::leave`].
    pub(super) fn enter(&mut self, who: &str, limit: usize, waiter: T) -> u64 {
        self.entered += 1;
        let number = self.entered;
        self.lane(who, limit).queue.push_back((number, waiter));
        self.waiting += 1;
        self.join_ring(who);
        number
    }

    /// Removes a waiter. Has no effect if the waiter has its slot already.
    pub(super) fn leave(&mut self, who: &str, number: u64) {
        let Some(lane) = self.lanes.get_mut(who) else { return };
        if let Ok(at) = lane.queue.binary_search_by_key(&number, |(number, _)| *number) {
            lane.queue.remove(at);
            self.waiting -= 1;
        }
    }

    /// Releases a slot of this identity.
    pub(super) fn release(&mut self, who: &str, now: Instant) {
        self.running -= 1;
        self.pace.step(now);
        let Some(lane) = self.lanes.get_mut(who) else { return };
        lane.running -= 1;
        lane.pace.step(now);
        if lane.is_idle(now) {
            self.lanes.remove(who);
        } else {
            self.join_ring(who);
        }
    }

    /// Takes a free slot for the next waiter, and returns that waiter and its identity.
    pub(super) fn next(&mut self) -> Option<(Arc<str>, T)> {
        while self.running < self.limit {
            let who = self.ring.pop_front()?;
            let Some(lane) = self.lanes.get_mut(&who) else { continue };
            lane.in_ring = false;
            if lane.running >= lane.limit {
                continue;
            }
            let Some((_, waiter)) = lane.queue.pop_front() else { continue };
            lane.running += 1;
            self.running += 1;
            self.waiting -= 1;
            self.join_ring(&who);
            return Some((who, waiter));
        }
        None
    }

    /// Returns how many commands run before the last one in this identity's lane, if every lane may
    /// run: with each of its own, one of every other lane.
    pub(super) fn before(&self, who: &str) -> usize {
        let own = self.lanes.get(who).map_or(0, |lane| lane.queue.len());
        let others = self.lanes.iter().filter(|(other, _)| &***other != who);
        own.saturating_sub(1) + others.map(|(_, lane)| lane.queue.len().min(own)).sum::<usize>()
    }

    fn join_ring(&mut self, who: &str) {
        let Some((name, _)) = self.lanes.get_key_value(who) else { return };
        let name = Arc::clone(name);
        let Some(lane) = self.lanes.get_mut(who) else { return };
        if !lane.in_ring && !lane.queue.is_empty() && lane.running < lane.limit {
            lane.in_ring = true;
            self.ring.push_back(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(queue: &mut FairQueue<&'static str>) -> Vec<&'static str> {
        let mut order = Vec::new();
        while let Some((who, waiter)) = queue.next() {
            order.push(waiter);
            queue.release(&who, Instant::now());
        }
        order
    }

    #[test]
    fn turns_go_round_between_identities_however_long_their_queues_are() {
        let mut queue = FairQueue::new(1);
        assert!(queue.try_run("z", 1));
        for waiter in ["a1", "a2", "a3", "a4"] {
            queue.enter("a", 1, waiter);
        }
        for (who, waiter) in [("b", "b1"), ("c", "c1"), ("b", "b2")] {
            queue.enter(who, 1, waiter);
        }
        assert_eq!((queue.before("a"), queue.before("b"), queue.before("c")), (6, 4, 2));
        queue.release("z", Instant::now());
        assert_eq!(order(&mut queue), ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]);
        assert_eq!(
            (queue.running, queue.waiting, queue.lanes.len(), queue.ring.len()),
            (0, 0, 0, 0)
        );
    }

    #[test]
    fn who_is_at_its_own_limit_waits_although_the_host_has_room() {
        let mut queue = FairQueue::new(10);
        assert!(queue.try_run("a", 2) && queue.try_run("a", 2) && !queue.try_run("a", 2));
        queue.enter("a", 2, "a3");
        queue.enter("a", 2, "a4");
        assert!(queue.next().is_none());
        assert!(queue.try_run("b", 2), "another is not held up");
        queue.release("a", Instant::now());
        assert_eq!(queue.next().map(|(_, waiter)| waiter), Some("a3"));
        assert!(queue.next().is_none());
    }

    #[test]
    fn who_leaves_the_queue_is_passed_over() {
        let mut queue = FairQueue::new(1);
        assert!(queue.try_run("z", 1));
        let first = queue.enter("a", 1, "a1");
        queue.enter("a", 1, "a2");
        let only = queue.enter("b", 1, "b1");
        queue.leave("a", first);
        queue.leave("a", first);
        queue.leave("b", only);
        assert_eq!(queue.waiting(), 1);
        queue.release("z", Instant::now());
        assert_eq!(order(&mut queue), ["a2"]);
    }

    #[test]
    fn nobody_overtakes_its_own_queue() {
        let mut queue = FairQueue::new(2);
        assert!(queue.try_run("a", 2) && queue.try_run("a", 2));
        queue.enter("a", 2, "a3");
        queue.release("a", Instant::now());
        assert!(!queue.try_run("a", 2));
        assert_eq!(queue.next().map(|(_, waiter)| waiter), Some("a3"));
    }

    #[test]
    fn identities_that_are_gone_are_forgotten() {
        let mut queue = FairQueue::<()>::new(1);
        for n in 0..10_000 {
            queue.lane(&n.to_string(), 1);
        }
        assert!(queue.lanes.len() <= 64, "{}", queue.lanes.len());
    }
}
