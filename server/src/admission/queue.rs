//! Whose turn it is: a queue for each identity, and turns that go round between them.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use super::{bucket::Bucket, pace::Pace, throttle::Refusals};

/// Which commands run, and which wait with a ticket `T`. No clock, no tasks.
///
/// ```text
///   ring:   alice -> ci -> bob      identities of which a command waits and one more may run
///   queues: alice: 1 4 5   ci: 2   bob: 3   carol: 6 7 (at its own limit, so not in the ring)
///   order:  1 2 3 4 5; carol's 6 when one of hers has ended
/// ```
///
/// While the host has room, nobody in the ring waits.
#[derive(Debug)]
pub(super) struct Fair<T> {
    limit: usize,
    running: usize,
    waiting: usize,
    lines: HashMap<Arc<str>, Line<T>>,
    ring: VecDeque<Arc<str>>,
    tickets: u64,
    /// Number of lines at which those that nobody needs are looked for.
    sweep_at: usize,
    pub(super) pace: Pace,
}

/// What there is of one identity.
#[derive(Debug)]
pub(super) struct Line<T> {
    running: usize,
    limit: usize,
    queue: VecDeque<(u64, T)>,
    in_ring: bool,
    pub(super) starts: Bucket,
    pub(super) pace: Pace,
    pub(super) refusals: Refusals,
}

impl<T> Line<T> {
    fn new() -> Self {
        Self {
            running: 0,
            limit: 0,
            queue: VecDeque::new(),
            in_ring: false,
            starts: Bucket::default(),
            pace: Pace::default(),
            refusals: Refusals::default(),
        }
    }

    pub(super) fn running(&self) -> usize {
        self.running
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.running == 0
            && self.queue.is_empty()
            && self.starts.is_full(now)
            && self.refusals.is_full(now)
    }
}

impl<T> Fair<T> {
    /// With so many turns in all.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            running: 0,
            waiting: 0,
            lines: HashMap::new(),
            ring: VecDeque::new(),
            tickets: 0,
            sweep_at: 64,
            pace: Pace::default(),
        }
    }

    pub(super) fn running(&self) -> usize {
        self.running
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// What there is of an identity that may run so many from now on.
    pub(super) fn line(&mut self, who: &str, limit: usize) -> &mut Line<T> {
        if !self.lines.contains_key(who) && self.lines.len() >= self.sweep_at {
            let now = Instant::now();
            self.lines.retain(|_, line| !line.is_idle(now));
            self.sweep_at = (2 * self.lines.len()).max(64);
        }
        let line = self.lines.entry(who.into()).or_insert_with(Line::new);
        line.limit = limit;
        line
    }

    /// Takes a turn, if one is free and nobody of this identity waits for it.
    pub(super) fn try_run(&mut self, who: &str, limit: usize) -> bool {
        let has_room = self.running < self.limit;
        let line = self.line(who, limit);
        if !has_room || line.running >= limit || !line.queue.is_empty() {
            return false;
        }
        line.running += 1;
        self.running += 1;
        true
    }

    /// Waits in the identity's queue; gives the number to leave it by.
    pub(super) fn enter(&mut self, who: &str, limit: usize, ticket: T) -> u64 {
        self.tickets += 1;
        let number = self.tickets;
        self.line(who, limit).queue.push_back((number, ticket));
        self.waiting += 1;
        self.join_ring(who);
        number
    }

    /// Leaves the queue; nothing happens when the turn has come already.
    pub(super) fn leave(&mut self, who: &str, number: u64) {
        let Some(line) = self.lines.get_mut(who) else { return };
        if let Ok(at) = line.queue.binary_search_by_key(&number, |(number, _)| *number) {
            line.queue.remove(at);
            self.waiting -= 1;
        }
    }

    /// Gives a turn back.
    pub(super) fn release(&mut self, who: &str, now: Instant) {
        self.running -= 1;
        self.pace.step(now);
        let Some(line) = self.lines.get_mut(who) else { return };
        line.running -= 1;
        line.pace.step(now);
        if line.is_idle(now) {
            self.lines.remove(who);
        } else {
            self.join_ring(who);
        }
    }

    /// Takes a turn for whoever's it is, if one is free.
    pub(super) fn next(&mut self) -> Option<(Arc<str>, T)> {
        while self.running < self.limit {
            let who = self.ring.pop_front()?;
            let Some(line) = self.lines.get_mut(&who) else { continue };
            line.in_ring = false;
            if line.running >= line.limit {
                continue;
            }
            let Some((_, ticket)) = line.queue.pop_front() else { continue };
            line.running += 1;
            self.running += 1;
            self.waiting -= 1;
            self.join_ring(&who);
            return Some((who, ticket));
        }
        None
    }

    /// How many go before the last in this identity's queue, if all of them may run: with each of its
    /// own, one of every other.
    pub(super) fn before(&self, who: &str) -> usize {
        let own = self.lines.get(who).map_or(0, |line| line.queue.len());
        let others = self.lines.iter().filter(|(other, _)| &***other != who);
        own.saturating_sub(1) + others.map(|(_, line)| line.queue.len().min(own)).sum::<usize>()
    }

    fn join_ring(&mut self, who: &str) {
        let Some((name, _)) = self.lines.get_key_value(who) else { return };
        let name = Arc::clone(name);
        let Some(line) = self.lines.get_mut(who) else { return };
        if !line.in_ring && !line.queue.is_empty() && line.running < line.limit {
            line.in_ring = true;
            self.ring.push_back(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(fair: &mut Fair<&'static str>) -> Vec<&'static str> {
        let mut order = Vec::new();
        while let Some((who, ticket)) = fair.next() {
            order.push(ticket);
            fair.release(&who, Instant::now());
        }
        order
    }

    #[test]
    fn turns_go_round_between_identities_however_long_their_queues_are() {
        let mut fair = Fair::new(1);
        assert!(fair.try_run("z", 1));
        for ticket in ["a1", "a2", "a3", "a4"] {
            fair.enter("a", 1, ticket);
        }
        for (who, ticket) in [("b", "b1"), ("c", "c1"), ("b", "b2")] {
            fair.enter(who, 1, ticket);
        }
        assert_eq!((fair.before("a"), fair.before("b"), fair.before("c")), (6, 4, 2));
        fair.release("z", Instant::now());
        assert_eq!(order(&mut fair), ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]);
        assert_eq!((fair.running, fair.waiting, fair.lines.len(), fair.ring.len()), (0, 0, 0, 0));
    }

    #[test]
    fn who_is_at_its_own_limit_waits_although_the_host_has_room() {
        let mut fair = Fair::new(10);
        assert!(fair.try_run("a", 2) && fair.try_run("a", 2) && !fair.try_run("a", 2));
        fair.enter("a", 2, "a3");
        fair.enter("a", 2, "a4");
        assert!(fair.next().is_none());
        assert!(fair.try_run("b", 2), "another is not held up");
        fair.release("a", Instant::now());
        assert_eq!(fair.next().map(|(_, ticket)| ticket), Some("a3"));
        assert!(fair.next().is_none());
    }

    #[test]
    fn who_leaves_the_queue_is_passed_over() {
        let mut fair = Fair::new(1);
        assert!(fair.try_run("z", 1));
        let first = fair.enter("a", 1, "a1");
        fair.enter("a", 1, "a2");
        let only = fair.enter("b", 1, "b1");
        fair.leave("a", first);
        fair.leave("a", first);
        fair.leave("b", only);
        assert_eq!(fair.waiting(), 1);
        fair.release("z", Instant::now());
        assert_eq!(order(&mut fair), ["a2"]);
    }

    #[test]
    fn nobody_overtakes_its_own_queue() {
        let mut fair = Fair::new(2);
        assert!(fair.try_run("a", 2) && fair.try_run("a", 2));
        fair.enter("a", 2, "a3");
        fair.release("a", Instant::now());
        assert!(!fair.try_run("a", 2));
        assert_eq!(fair.next().map(|(_, ticket)| ticket), Some("a3"));
    }

    #[test]
    fn identities_that_are_gone_are_forgotten() {
        let mut fair = Fair::<()>::new(1);
        for n in 0..10_000 {
            fair.line(&n.to_string(), 1);
        }
        assert!(fair.lines.len() <= 64, "{}", fair.lines.len());
    }
}
