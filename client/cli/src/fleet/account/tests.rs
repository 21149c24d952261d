//! Accounts add up, name everybody once, and give the status that the documents promise.

use rcmd_client::hosts::{Evaluation, Expression};
use rcmd_client::inventory::Inventory;
use rcmd_client::{ErrorKind, Outcome, WireError};

use super::*;

fn account(hosts: &str) -> Account {
    let inventory = Inventory::default();
    let expression = Expression::parse(hosts).unwrap();
    let set = Evaluation::new(&inventory).evaluate(&expression).unwrap();
    Account::new("5f1e".to_owned(), set.targets(&inventory).unwrap().into())
}

fn failed(outcome: Outcome, kind: ErrorKind, message: &str) -> Report {
    Report::without_job("a", outcome, WireError::new(kind, message))
}

fn exited(code: u8) -> Report {
    let report = failed(Outcome::Exited, ErrorKind::Lost, "");
    Report { code: Some(code), error: None, ..report }
}

fn text(account: &Account) -> String {
    let lines = account.lines(Verbosity::Normal).into_iter();
    lines.map(|(_, line)| line + "\n").collect()
}

#[test]
fn the_numbers_add_up_at_any_time() {
    let mut account = account("a[1-5]");
    let ends = [
        exited(0),
        exited(3),
        failed(Outcome::TimedOut, ErrorKind::Lost, "late"),
        failed(Outcome::NotStarted, ErrorKind::Unreachable, "refused"),
        failed(Outcome::Unknown, ErrorKind::Lost, "lost"),
    ];
    for (index, report) in ends.iter().enumerate() {
        let counts = account.counts();
        let ended = counts.exited + counts.failed + counts.timed_out + counts.not_started;
        assert_eq!(ended + counts.unknown, counts.total);
        assert_eq!((counts.total, counts.unknown), (5, 5 - index), "what has not ended is unknown");
        account.add(index, report, false);
        account.add(index, &exited(0), false);
    }
    let none = Counts { total: 5, ..Counts::default() };
    let all = Counts { exited: 1, failed: 1, timed_out: 1, not_started: 1, unknown: 1, ..none };
    assert_eq!(account.counts(), all, "the first end of a target counts");
    account.add(5, &exited(0), false);
    assert_eq!(account.counts(), all, "there is no such target");
}

#[test]
fn a_status_other_than_0_and_a_signal_count_as_failed() {
    let mut account = account("a[1-3]");
    account.add(0, &exited(125), false);
    let killed =
        Report { signal: Some(Signal::KILL), ..failed(Outcome::Signaled, ErrorKind::Lost, "") };
    account.add(1, &Report { error: None, ..killed }, false);
    account.add(2, &Report { code: None, ..exited(0) }, false);
    let counts = account.counts();
    assert_eq!((counts.failed, counts.unknown), (2, 1), "an end without a status is not known");
    assert_eq!(
        text(&account),
        "3 hosts: 2 failed, 1 unknown\n1 failed with status 125: a1\n1 ended by SIGKILL: a2\n1 unknown: a3\n"
    );
}

#[test]
fn the_least_certain_end_decides_the_status() {
    let ends = [
        (exited(0), 0),
        (exited(3), 1),
        (failed(Outcome::TimedOut, ErrorKind::Lost, ""), 124),
        (exited(125), 124),
        (failed(Outcome::NotStarted, ErrorKind::NotFound, ""), 125),
        (failed(Outcome::Unknown, ErrorKind::Lost, ""), 255),
    ];
    for count in 1..=ends.len() {
        let mut account = account(&format!("a[1-{count}]"));
        for (index, (report, _)) in ends.iter().take(count).enumerate() {
            assert_eq!(account.status(None), 255, "an end that is missing is not known");
            account.add(index, report, false);
        }
        assert_eq!(account.status(None), ends[count - 1].1, "of the first {count}");
    }
}

#[test]
fn hosts_held_back_leave_the_status_to_what_stopped_the_run() {
    let held = failed(Outcome::NotStarted, ErrorKind::Busy, "the run stopped before");
    let status = |first: &Report, stopped| {
        let mut account = account("a[1-3]");
        account.add(0, first, false);
        account.add(1, &held, true);
        account.add(2, &held, true);
        assert_eq!(
            account.counts().not_started,
            2 + usize::from(first.outcome == Outcome::NotStarted)
        );
        account.status(stopped)
    };
    let unreachable = failed(Outcome::NotStarted, ErrorKind::Unreachable, "");
    let lost = failed(Outcome::Unknown, ErrorKind::Lost, "");
    assert_eq!(status(&exited(3), Some(Stopped::Failures)), 1);
    assert_eq!(status(&exited(0), Some(Stopped::Failures)), 1);
    assert_eq!(status(&unreachable, Some(Stopped::Failures)), 125, "of the host that was tried");
    assert_eq!(status(&lost, Some(Stopped::Failures)), 255);
    assert_eq!(status(&exited(0), Some(Stopped::Deadline)), 124);
    assert_eq!(status(&exited(3), Some(Stopped::Deadline)), 124);
    assert_eq!(status(&unreachable, Some(Stopped::Deadline)), 125);
    assert_eq!(status(&exited(0), Some(Stopped::Signal(Signal::INT))), 130);
    assert_eq!(status(&lost, Some(Stopped::Signal(Signal::TERM))), 143);
    assert_eq!(status(&exited(0), Some(Stopped::Signal(Signal::PIPE))), 141);
    assert_eq!(status(&exited(0), None), 125, "nothing says why they were held back");
}

#[test]
fn messages_that_differ_by_host_alone_are_told_once() {
    let mut account = account("web[1-4],db1");
    account.add(0, &exited(0), false);
    for index in [2, 3] {
        let message = format!("cannot reach web{}: connection refused", index + 1);
        let error = WireError::new(ErrorKind::Unreachable, message).hint("Is a server running?");
        account.add(index, &Report::without_job("w", Outcome::NotStarted, error), false);
    }
    account.add(1, &failed(Outcome::NotStarted, ErrorKind::Denied, "no rule permits it"), false);
    account.add(4, &exited(7), false);
    account.set_templates(vec!["{host}".to_owned(), "{label.role}".to_owned()]);
    account.set_next(Some("rcmd-client run --resume 5f1e".to_owned()));
    assert_eq!(
        text(&account),
        "5 hosts: 1 exited 0, 1 failed, 3 not started\n\
         1 failed with status 7: db1\n\
         2 not started: web[3-4]: for one: cannot reach web3: connection refused\n\
         hint: Is a server running?\n\
         1 not started: web2: no rule permits it\n\
         templates: {host} {label.role}\n\
         next: rcmd-client run --resume 5f1e\n"
    );
}

#[test]
fn the_next_step_is_named_only_where_it_can_be_taken_and_something_is_left() {
    let mut account = account("a[1-2]");
    account.add(0, &exited(0), false);
    account.add(1, &exited(1), false);
    let next = || Some("rcmd-client --dir d run --resume 5f1e".to_owned());
    account.set_next(next());
    assert!(!text(&account).contains("next:"), "{}", text(&account));
    let mut account = self::account("a1");
    account.add(0, &failed(Outcome::Unknown, ErrorKind::Lost, "lost"), false);
    assert!(!text(&account).contains("next:"), "there is no record");
    account.set_next(next());
    assert!(text(&account).ends_with("next: rcmd-client --dir d run --resume 5f1e\n"));
    account.set_next(None);
    assert!(!text(&account).contains("next:"), "the record was given up");
}

#[test]
fn quiet_says_nothing_of_a_run_that_went_well_and_the_rest_as_ever() {
    let mut account = account("a1");
    account.add(0, &exited(0), false);
    assert_eq!(account.lines(Verbosity::Quiet).len(), 0);
    assert_eq!(text(&account), "1 host: 1 exited 0\n");
    let mut account = self::account("a1");
    account.add(0, &exited(1), false);
    assert_eq!(account.lines(Verbosity::Quiet).len(), 2);
}

#[test]
fn the_event_has_the_contracts_fields_and_nothing_else() {
    let mut account = account("a[1-2]");
    account.add(0, &exited(0), false);
    assert_eq!(
        account.event(),
        "{\"event\":\"summary\",\"run\":\"5f1e\",\"exited\":1,\"failed\":0,\"timed_out\":0,\
         \"not_started\":0,\"unknown\":1,\"total\":2}"
    );
}

#[test]
fn what_was_only_asked_about_is_permitted_or_not_started() {
    let mut account = account("a[1-3]");
    account.set_asks(true);
    let denied = failed(Outcome::NotStarted, ErrorKind::Denied, "denied");
    account.add(0, &Report { error: None, ..denied.clone() }, false);
    account.add(1, &Report { error: None, ..denied.clone() }, false);
    assert_eq!(account.counts().permitted, Some(2));
    account.add(2, &denied, false);
    assert_eq!(account.status(None), 125);
    let expected = "3 hosts: 2 would be permitted, 1 not started\n1 not started: a3: denied\n";
    assert_eq!(text(&account), expected);
    assert!(
        account.event().contains(r#""unknown":0,"permitted":2,"total":3}"#),
        "{}",
        account.event()
    );
}

#[test]
fn a_run_that_would_be_permitted_everywhere_is_well() {
    let mut account = account("a1");
    account.set_asks(true);
    let permitted = failed(Outcome::NotStarted, ErrorKind::Denied, "");
    account.add(0, &Report { error: None, ..permitted }, false);
    assert_eq!(account.status(None), 0);
    assert!(account.lines(Verbosity::Quiet).is_empty());
}
