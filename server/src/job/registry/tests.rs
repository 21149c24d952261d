use rcmd_protocol::request::Request;

use super::*;
use crate::job::{self, card::About};

fn digest(word: &str) -> RequestDigest {
    Request::exec([word]).build().unwrap().digest()
}

fn registry() -> Arc<Registry> {
    Arc::new(Registry::new(3, Duration::from_secs(600), Presence::new()))
}

/// Reserves a free key for a request `x`.
fn take(registry: &Arc<Registry>, user: &str, key: Key, job: &JobHandle) -> KeyReservation {
    match registry.reserve(2, user, key, digest("x"), job) {
        Ok(Reservation::New(reservation)) => reservation,
        found => panic!("{found:?}"),
    }
}

#[test]
fn a_key_has_one_job_and_one_request() {
    let (registry, key) = (registry(), Key::from_text(b"k"));
    let (job, _mailbox) = job::register(About::default());
    let (other, _other_mailbox) = job::register(About::default());
    let _reservation = take(&registry, "a", key, &job);
    let again = |word: &str| match registry.reserve(2, "a", key, digest(word), &other) {
        Ok(Reservation::Known(known)) => known,
        found => panic!("{found:?}"),
    };
    assert!(matches!(again("x"), Lookup::Job(found) if found.is_same(&job)));
    assert!(matches!(again("y"), Lookup::Conflict));
    assert!(matches!(registry.find("b", key, digest("x")), Lookup::Unknown));
}

#[test]
fn an_identity_has_so_many_jobs_and_the_next_may_have_its_own() {
    let registry = registry();
    let (job, _mailbox) = job::register(About::default());
    let reserve = |user: &str, key: &[u8]| {
        let taken = registry.reserve(2, user, Key::from_text(key), digest("x"), &job);
        taken.map_err(|failure| failure.kind)
    };
    let first = take(&registry, "a", Key::from_text(b"1"), &job);
    let _second = take(&registry, "a", Key::from_text(b"2"), &job);
    assert_eq!(reserve("a", b"3").unwrap_err(), ErrorKind::Busy);
    let _other = reserve("b", b"3").unwrap();
    assert_eq!(reserve("b", b"4").unwrap_err(), ErrorKind::Busy, "the host has all that it may");
    let _end = first.end(true);
    let _third = reserve("a", b"3").unwrap();
    assert_eq!(registry.live(), 3);
}

#[test]
fn a_question_counts_as_long_as_it_lasts() {
    let (registry, key) = (registry(), Key::from_text(b"k"));
    let (job, _mailbox) = job::register(About::default());
    let questions: Vec<_> = (0..2).map(|_| registry.count(2, "a").unwrap()).collect();
    assert_eq!(registry.count(2, "a").unwrap_err().kind, ErrorKind::Busy);
    assert!(registry.reserve(2, "a", key, digest("x"), &job).is_err());
    drop(questions);
    drop(take(&registry, "a", key, &job));
    assert_eq!((registry.live(), registry.jobs(|jobs| jobs.users.len())), (0, 0));
}

#[test]
fn what_ran_leaves_a_tombstone_and_what_did_not_leaves_nothing() {
    let registry = registry();
    let (job, _mailbox) = job::register(About::default());
    for (name, has_run) in [("ran", true), ("refused", false)] {
        let key = Key::from_text(name.as_bytes());
        let end = take(&registry, "a", key, &job).end(has_run);
        let found = registry.find("a", key, digest("x"));
        assert_eq!(matches!(found, Lookup::Job(_)), has_run, "{found:?}");
        drop(end);
        match registry.find("a", key, digest("x")) {
            Lookup::Gone => assert!(has_run),
            Lookup::Unknown => assert!(!has_run),
            found => panic!("{found:?}"),
        }
    }
}

#[test]
fn ends_that_nobody_fetches_are_bounded() {
    let registry = registry();
    let (job, _mailbox) = job::register(About::default());
    let key = |n: usize| Key::from_text(&n.to_le_bytes());
    let end = |n| take(&registry, "a", key(n), &job).end(true).unwrap();
    let _ends: Vec<_> = (0..=RETAINED).map(end).collect();
    assert!(matches!(registry.find("a", key(0), digest("x")), Lookup::Gone));
    assert!(matches!(registry.find("a", key(1), digest("x")), Lookup::Job(_)));
}

#[test]
fn a_key_that_was_freed_and_taken_again_is_not_freed_twice() {
    let (registry, key) = (registry(), Key::from_text(b"k"));
    let (first, _mailbox) = job::register(About::default());
    let (second, _other_mailbox) = job::register(About::default());
    let freed = take(&registry, "a", key, &first);
    registry.gone("a", key, &first, false);
    let _taken = take(&registry, "a", key, &second);
    drop(freed);
    assert!(
        matches!(registry.find("a", key, digest("x")), Lookup::Job(job) if job.is_same(&second))
    );
    assert_eq!(registry.live(), 1);
}
