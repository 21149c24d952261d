//! Two honest ends under any order of events, any split and any cut of their link: every byte arrives once,
//! and nobody waits for ever.

// A panic is how a test fails; clippy exempts test functions, not those beside them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[path = "../../fuzz/src/lib.rs"]
#[allow(dead_code, unreachable_pub)] // It is a library of its own, under fuzz/.
mod fuzzing;

use fuzzing::{Step, World};
use proptest::prelude::*;

fn steps() -> impl Strategy<Value = Vec<[u8; 3]>> {
    proptest::collection::vec(any::<[u8; 3]>(), 0..300)
}

/// Returns lengths below, at and past the credit.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![0..10_usize, 0..100_000_usize, 1_048_570..1_048_590_usize, 0..2_500_000_usize]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_written_is_what_arrives_whatever_happens_between(
        lengths in [length(), length(), length()],
        steps in steps(),
    ) {
        let mut world = World::new(lengths);
        for step in steps {
            world.step(Step::read(step));
        }
        world.finish();
    }

    #[test]
    fn a_link_that_breaks_at_every_turn_loses_nothing(
        lengths in [length(), length(), length()],
        mut steps in steps(),
    ) {
        for (at, step) in steps.iter_mut().enumerate() {
            if at % 12 == 11 {
                step[0] = 15;
            }
        }
        let mut world = World::new(lengths);
        for step in steps {
            world.step(Step::read(step));
        }
        world.finish();
    }
}

#[test]
fn a_cut_before_the_start_arrives_starts_once() {
    let mut world = World::new([10, 10, 10]);
    for _ in 0..3 {
        world.step(Step::Send(0, 1));
        world.step(Step::Cut);
    }
    world.finish();
}

#[test]
fn output_past_the_credit_waits_for_its_consumer_alone() {
    let mut world = World::new([4_000_000, 100, 0]);
    for _ in 0..100 {
        world.step(Step::Write(0, usize::MAX));
        world.step(Step::Write(1, 1));
        for step in [Step::Send(0, 99), Step::Arrive(1, usize::MAX), Step::Send(1, 99)] {
            world.step(step);
        }
        world.step(Step::Arrive(0, usize::MAX));
        world.step(Step::Take(1, usize::MAX));
    }
    world.finish();
}
