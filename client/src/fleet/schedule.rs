//! The order in which targets begin: a state machine without clock and network.

use rcmd_certs::clock::LONGEST_SPAN;
use tokio::time::Instant;

use super::rules::{FleetRules, Stop};

/// The order of a run: which target begins next, and whether any does.
///
/// ```text
///           begin                 end, all of the step ended
///  waiting ------> running ------> ended ------------------> (pause) the next step
///     |                                        failures: stop
///     +--- stop: held back
/// ```
#[derive(Debug)]
pub(super) struct Schedule {
    total: usize,
    fanout: usize,
    batch: Option<usize>,
    pause: std::time::Duration,
    canary: usize,
    max_failures: Option<usize>,
    /// The first target that has not begun.
    next: usize,
    running: usize,
    failures: usize,
    /// The end of the present step: targets from here on wait for all before them.
    step: usize,
    /// The time at which the step after a pause may begin.
    rests_until: Option<Instant>,
    stopped: Option<Stop>,
}

impl Schedule {
    /// Returns the order of a run over so many targets.
    pub(super) fn new(total: usize, rules: &FleetRules) -> Self {
        let mut schedule = Self {
            total,
            fanout: rules.fanout.max(1),
            batch: rules.batch.map(|batch| batch.max(1)),
            pause: rules.pause.min(LONGEST_SPAN),
            canary: rules.canary.min(total),
            max_failures: rules.max_failures,
            next: 0,
            running: 0,
            failures: 0,
            step: 0,
            rests_until: None,
            stopped: None,
        };
        schedule.step = match schedule.canary {
            0 => schedule.step_after(0),
            canary => canary,
        };
        schedule
    }

    fn step_after(&self, from: usize) -> usize {
        self.batch.map_or(self.total, |batch| from.saturating_add(batch).min(self.total))
    }

    /// Returns the target that begins now, if one does. It counts as running from here on.
    pub(super) fn begin(&mut self, now: Instant) -> Option<usize> {
        if self.stopped.is_some() || self.running >= self.fanout || self.next >= self.total {
            return None;
        }
        if self.next == self.step {
            if self.running > 0 || self.rests_until.is_some_and(|until| now < until) {
                return None;
            }
            self.rests_until = None;
            self.step = self.step_after(self.next);
        }
        let target = self.next;
        self.next += 1;
        self.running += 1;
        Some(target)
    }

    /// Returns when [`Schedule::begin`] is to be asked again although nothing ended.
    pub(super) fn timeout(&self) -> Option<Instant> {
        self.rests_until.filter(|_| self.stopped.is_none() && self.running == 0)
    }

    /// Takes the end of a target that ran.
    pub(super) fn end(&mut self, target: usize, failed: bool, now: Instant) {
        self.running = self.running.saturating_sub(1);
        self.failures += usize::from(failed);
        if failed && target < self.canary {
            self.stop(Stop::Canary);
        } else if self.max_failures.is_some_and(|most| self.failures > most) {
            self.stop(Stop::Failures);
        }
        let step_is_over = self.running == 0 && self.next == self.step && self.next < self.total;
        if step_is_over && !self.pause.is_zero() {
            self.rests_until = Some(now + self.pause);
        }
    }

    /// Begins no further target. The first reason counts.
    pub(super) fn stop(&mut self, why: Stop) {
        if self.next < self.total {
            self.stopped.get_or_insert(why);
        }
    }

    /// Takes a target away that can't begin any more, with the reason.
    pub(super) fn hold_back(&mut self) -> Option<(usize, Stop)> {
        let why = self.stopped?;
        if self.next >= self.total {
            return None;
        }
        let target = self.next;
        self.next += 1;
        Some((target, why))
    }

    /// Returns whether every target has ended or was held back.
    pub(super) fn is_over(&self) -> bool {
        self.running == 0 && self.next >= self.total
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    /// Begins all that may begin, and returns them.
    fn begun(schedule: &mut Schedule, now: Instant) -> Vec<usize> {
        std::iter::from_fn(|| schedule.begin(now)).collect()
    }

    #[test]
    fn at_most_the_fanout_runs_at_once() {
        let now = Instant::now();
        let mut schedule = Schedule::new(5, &FleetRules { fanout: 2, ..FleetRules::default() });
        assert_eq!(begun(&mut schedule, now), [0, 1]);
        schedule.end(1, false, now);
        assert_eq!(begun(&mut schedule, now), [2]);
    }

    #[test]
    fn a_batch_waits_for_the_whole_one_before_it_and_for_the_pause() {
        let now = Instant::now();
        let pause = Duration::from_secs(5);
        let rules = FleetRules { batch: Some(2), pause, ..FleetRules::default() };
        let mut schedule = Schedule::new(3, &rules);
        assert_eq!(begun(&mut schedule, now), [0, 1]);
        schedule.end(0, false, now);
        assert!(begun(&mut schedule, now).is_empty());
        schedule.end(1, true, now);
        assert!(begun(&mut schedule, now).is_empty());
        assert_eq!(schedule.timeout(), Some(now + pause));
        assert_eq!(begun(&mut schedule, now + pause), [2]);
        schedule.end(2, false, now + pause);
        assert!(schedule.is_over() && schedule.timeout().is_none());
    }

    #[test]
    fn a_pause_that_no_clock_can_count_is_the_longest_span() {
        let now = Instant::now();
        let rules = FleetRules { batch: Some(1), pause: Duration::MAX, ..FleetRules::default() };
        let mut schedule = Schedule::new(2, &rules);
        assert_eq!(begun(&mut schedule, now), [0]);
        schedule.end(0, false, now);
        assert_eq!(schedule.timeout(), Some(now + LONGEST_SPAN));
    }

    #[test]
    fn a_failure_among_the_canaries_holds_the_others_back() {
        let now = Instant::now();
        let mut schedule = Schedule::new(4, &FleetRules { canary: 2, ..FleetRules::default() });
        assert_eq!(begun(&mut schedule, now), [0, 1]);
        schedule.end(0, true, now);
        schedule.end(1, false, now);
        assert!(begun(&mut schedule, now).is_empty());
        let held: Vec<_> = std::iter::from_fn(|| schedule.hold_back()).collect();
        assert_eq!(held, [(2, Stop::Canary), (3, Stop::Canary)]);
        assert!(schedule.is_over());
    }

    #[test]
    fn canaries_that_are_well_let_the_others_begin() {
        let now = Instant::now();
        let mut schedule = Schedule::new(4, &FleetRules { canary: 1, ..FleetRules::default() });
        assert_eq!(begun(&mut schedule, now), [0]);
        schedule.end(0, false, now);
        assert_eq!(begun(&mut schedule, now), [1, 2, 3]);
        schedule.end(1, true, now);
        assert_eq!(schedule.stopped, None, "it is no canary");
    }

    #[test]
    fn what_is_allowed_to_fail_is_allowed_and_one_more_stops() {
        let now = Instant::now();
        for (most, begins) in [(0, 1), (1, 2), (4, 4)] {
            let rules = FleetRules { fanout: 1, max_failures: Some(most), ..FleetRules::default() };
            let mut schedule = Schedule::new(4, &rules);
            let mut count = 0;
            while let Some(target) = schedule.begin(now) {
                count += 1;
                schedule.end(target, true, now);
            }
            assert_eq!(count, begins, "with {most} allowed");
        }
    }

    #[test]
    fn a_stop_after_the_last_target_began_stops_nothing() {
        let now = Instant::now();
        let mut schedule =
            Schedule::new(1, &FleetRules { max_failures: Some(0), ..FleetRules::default() });
        assert_eq!(begun(&mut schedule, now), [0]);
        schedule.end(0, true, now);
        assert_eq!(schedule.stopped, None);
    }

    proptest! {
        #[test]
        fn every_target_begins_once_or_is_held_back_once(
            total in 0_usize..60,
            fanout in 0_usize..9,
            batch in proptest::option::of(0_usize..9),
            canary in 0_usize..5,
            max_failures in proptest::option::of(0_usize..20),
            ends in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 60),
            stop_after in proptest::option::of(0_usize..60),
        ) {
            let rules = FleetRules { fanout, batch, canary, max_failures, ..FleetRules::default() };
            let mut schedule = Schedule::new(total, &rules);
            let now = Instant::now();
            let (mut running, mut seen, mut ended) = (Vec::new(), Vec::new(), 0);
            for (which, failed) in ends {
                while let Some(target) = schedule.begin(now) {
                    running.push(target);
                    seen.push(target);
                }
                prop_assert!(running.len() <= fanout.max(1));
                prop_assert!(batch.is_none_or(|batch| running.len() <= batch.max(1).max(canary)));
                if running.is_empty() {
                    break;
                }
                let target = running.swap_remove(which.index(running.len()));
                schedule.end(target, failed, now);
                ended += 1;
                if stop_after == Some(ended) {
                    schedule.stop(Stop::Caller);
                }
            }
            while let Some(target) = running.pop() {
                schedule.end(target, false, now);
            }
            schedule.stop(Stop::Deadline);
            seen.extend(std::iter::from_fn(|| schedule.hold_back()).map(|(target, _)| target));
            prop_assert!(schedule.is_over());
            prop_assert_eq!(seen, (0..total).collect::<Vec<_>>());
        }
    }
}
