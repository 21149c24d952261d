//! Tests of admission: rates, queues, and requests that do not run.

use super::*;

fn limits(text: &str) -> Limits {
    toml::from_str(text).unwrap()
}

fn admission(text: &str) -> (Arc<Admission>, EffectiveQuota) {
    let limits = limits(text);
    (Arc::new(Admission::new(&limits)), limits.quota_for("a", &[]))
}

#[tokio::test]
async fn the_queue_is_bounded_and_moves_on_when_a_turn_ends() {
    let (admission, of) = admission("running = 1\nqueued = 1");
    let slot = admission.try_slot("a", &of).unwrap();
    assert!(admission.try_slot("a", &of).is_none());
    assert!(admission.try_start("a", &of, 0).is_ok());
    let mut ticket = admission.enqueue("a", &of).unwrap();
    assert_eq!(ticket.position(), 0);
    assert!(admission.try_start("a", &of, 0).is_err());
    assert_eq!(admission.enqueue("a", &of).unwrap_err().kind, ErrorKind::Busy);
    drop(slot);
    let slot = ticket.slot().await.unwrap();
    drop((slot, ticket));
    assert!(admission.try_slot("a", &of).is_some());
    assert!(admission.enqueue("a", &of).is_ok());
}

#[tokio::test]
async fn a_command_of_another_has_its_turn_before_hundreds_that_came_earlier() {
    let (admission, of) = admission("running = 1");
    let slot = admission.try_slot("a", &of).unwrap();
    let mut crowd: Vec<_> = (0..500).map(|_| admission.enqueue("a", &of).unwrap()).collect();
    let mut other = admission.enqueue("b", &of).unwrap();
    assert_eq!(other.position(), 1);
    drop(slot);
    let other = other.slot().await.unwrap();
    assert_eq!(crowd[0].slot.try_recv().err(), Some(oneshot::error::TryRecvError::Empty));
    drop(other);
    assert!(crowd[0].slot.try_recv().is_ok());
}

#[tokio::test]
async fn a_turn_that_came_to_one_who_has_left_goes_to_the_next() {
    let (admission, of) = admission("running = 1");
    let slot = admission.try_slot("a", &of).unwrap();
    let leaves = admission.enqueue("a", &of).unwrap();
    let mut stays = admission.enqueue("a", &of).unwrap();
    drop(slot);
    drop(leaves);
    drop(stays.slot().await.unwrap());
    assert!(admission.try_slot("a", &of).is_some());
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_is_told_to_come_again() {
    let (admission, of) = admission("running = 1");
    let _slot = admission.try_slot("a", &of).unwrap();
    let failure = admission.enqueue("a", &of).unwrap().slot().await.unwrap_err();
    assert_eq!(failure.retry_after_ms, Some(1000));
    assert_eq!(admission.state(|state| state.queue.waiting()), 0);
}

#[test]
fn past_its_rate_an_identity_is_told_when_the_next_start_is_there() {
    let (admission, of) = admission("peer.starts = '2/m'\nstarts = '3/h'");
    assert!(admission.try_start("a", &of, 0).is_ok() && admission.try_start("a", &of, 0).is_ok());
    let failure = admission.try_start("a", &of, 0).unwrap_err();
    assert!(
        failure
            .message
            .contains("this identity has reached the limit on starting commands (2 in 1m)"),
        "{failure}"
    );
    assert!((29_000..=30_000).contains(&failure.retry_after_ms.unwrap()), "{failure:?}");
    // A refused start takes nothing from the host's rate.
    assert!(admission.try_start("b", &of, 0).is_ok());
    let failure = admission.try_start("b", &of, 0).unwrap_err();
    assert!(
        failure.message.contains("the host has reached the limit on starting commands (3 in 1h)"),
        "{failure}"
    );
}

#[test]
fn what_an_identity_sends_is_bounded_also_if_it_may_start_without_limit() {
    let (admission, of) = admission("peer.starts = 'unlimited'");
    let started = (0..1000).take_while(|_| admission.try_start("a", &of, 1 << 20).is_ok());
    assert!((250..300).contains(&started.count()));
    let failure = admission.try_start("a", &of, 0).unwrap_err();
    assert!(failure.retry_after_ms.is_some_and(|wait| wait <= 512), "{failure:?}");
    assert!(admission.wrote_much("a", &of) && !admission.wrote_much("b", &of));
    assert!(admission.try_start("b", &of, 1 << 20).is_ok());
}

#[test]
fn who_asks_for_what_does_not_run_waits_for_its_turn_on_all_connections() {
    let (admission, of) = admission("");
    for _ in 0..256 {
        assert!(admission.gate("a", &of).is_zero());
        admission.count_denied("a", &of, 100);
    }
    let waits: Vec<_> = (0..100).map(|_| admission.gate("a", &of)).collect();
    assert!(waits.is_sorted() && waits[99] > Duration::from_millis(900), "{waits:?}");
    assert!(admission.gate("b", &of).is_zero());
}

#[test]
fn what_is_recorded_of_an_identity_that_runs_nothing_is_bounded() {
    let (admission, of) = admission("");
    let mut recorded: u64 = 0;
    while admission.gate("a", &of) < Duration::from_secs(86_400) {
        for _ in 0..1000 {
            admission.count_denied("a", &of, 64 * 1024);
            recorded += 64 * 1024;
        }
    }
    assert!(recorded < 1_600_000_000, "{recorded} bytes a day");
    assert!(admission.wrote_much("a", &of) && !admission.may_record("a", &of));
    assert!(admission.may_record("b", &of) && !admission.wrote_much("b", &of));
}

#[test]
fn starts_that_are_still_looked_into_take_no_more_than_there_are_turns_and_places() {
    let (admission, of) = admission("running = 2\nqueued = 2\npeer.running = 2\npeer.queued = 2");
    let mut entering: Vec<_> = (0..4).map(|_| admission.try_start("a", &of, 0).unwrap()).collect();
    assert_eq!(admission.try_start("a", &of, 0).unwrap_err().kind, ErrorKind::Busy);
    assert_eq!(admission.try_start("b", &of, 0).unwrap_err().kind, ErrorKind::Busy);
    let _slot = admission.try_slot("a", &of).unwrap();
    entering.pop();
    assert!(admission.try_start("a", &of, 0).is_err(), "the turn was taken by one of them");
    entering.pop();
    assert!(admission.try_start("a", &of, 0).is_ok());
    drop(entering);
    assert_eq!(admission.state(|state| state.queue.entering()), 0);
}

#[test]
fn one_identity_s_full_queue_is_not_another_s() {
    let (admission, of) = admission("running = 4\nqueued = 4");
    let _slots: Vec<_> = (0..3).map(|_| admission.try_slot("a", &of).unwrap()).collect();
    let _tickets: Vec<_> = (0..3).map(|_| admission.enqueue("a", &of).unwrap()).collect();
    let failure = admission.enqueue("a", &of).unwrap_err();
    assert!(failure.message.contains("3 commands of this identity run and 3 wait"), "{failure}");
    let _slot = admission.try_slot("b", &of).unwrap();
    assert!(admission.enqueue("b", &of).is_ok());
}

#[tokio::test]
async fn who_waits_for_a_lock_counts_among_those_that_wait() {
    let (admission, of) = admission("running = 4\nqueued = 2\npeer.queued = 1");
    let waiting = admission.wait_elsewhere("a", &of).unwrap();
    let failure = admission.wait_elsewhere("a", &of).unwrap_err();
    assert!(failure.message.contains("0 commands of this identity run and 1 wait"), "{failure}");
    // A command that waits for a lock delays none that need not wait.
    let slot = admission.try_slot("a", &of).unwrap();
    assert!(admission.try_start("a", &of, 0).is_ok());
    drop((slot, waiting));
    let waiting = admission.wait_elsewhere("a", &of).unwrap();
    let _other = admission.wait_elsewhere("b", &of).unwrap();
    let failure = admission.wait_elsewhere("c", &of).unwrap_err();
    assert!(failure.message.contains("0 commands run and 2 wait"), "{failure}");
    drop(waiting);
    assert!(admission.enqueue("c", &of).is_ok());
}
