//! `--json`: events with host and index, one end each, the account last.

use serde_json::{Value, json};

use super::harness::{PIPE, exited, failed};
use super::*;

fn events(seen: &Captured) -> Vec<Value> {
    seen.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_event_says_whose_it_is_and_the_account_is_last() {
    let mut stage = Stage::new("a[1-2]", PIPE, settings(DisplayForm::Json));
    let job = "k7".to_owned();
    stage.worker.show(Shown::Started { index: 1, job, started_at: 0 });
    stage.out(1, "é".as_bytes());
    stage.err(1, b"\xff");
    stage.worker.show(Shown::Note { index: Some(0), text: "slow".to_owned() });
    stage.worker.show(Shown::Note { index: None, text: "half".to_owned() });
    stage.end(1, exited(0));
    stage.end(0, failed(Outcome::NotStarted, ErrorKind::Busy, "busy"));
    let seen = stage.finish();
    let events = events(&seen);
    let mut whose = events
        .iter()
        .map(|event| json!([event["event"], event["host"], event["index"], event["job"]]));
    for expected in [
        json!(["start", "a2", 1, "k7"]),
        json!(["stdout", "a2", 1, "k7"]),
        json!(["stderr", "a2", 1, "k7"]),
        json!(["note", "a1", 0, null]),
        json!(["note", null, null, null]),
        json!(["end", "a2", 1, "k7"]),
        json!(["end", "a1", 0, null]),
        json!(["summary", null, null, null]),
    ] {
        assert_eq!(whose.next(), Some(expected));
    }
    assert_eq!(whose.next(), None);
    assert_eq!(events[5]["result"]["code"], 0);
    let counts = json!([events[7]["exited"], events[7]["not_started"], events[7]["total"]]);
    assert_eq!(counts, json!([1, 1, 2]));
    assert_eq!(seen.err(), "");
}

#[test]
fn characters_of_several_hosts_are_put_together_each_for_itself() {
    let mut stage = Stage::new("a[1-2]", PIPE, settings(DisplayForm::Json));
    for byte in "磁盘".as_bytes() {
        (0..2).for_each(|index| stage.out(index, [*byte]));
    }
    (0..2).for_each(|index| stage.end(index, exited(0)));
    let events = events(&stage.finish());
    for host in ["a1", "a2"] {
        let of = events.iter().filter(|event| event["host"] == host && event["event"] == "stdout");
        assert!(of.clone().all(|event| event["encoding"] == "utf-8"));
        let text: String = of.map(|event| event["data"].as_str().unwrap()).collect();
        assert_eq!(text, "磁盘");
    }
}

#[test]
fn the_summary_is_a_table_an_event_or_nothing_and_with_events_always_the_last() {
    let table = "rcmd: 1 host: 1 exited 0\n";
    let event = "{\"event\":\"summary\",\"run\":\"5f1e\",\"exited\":1,\"failed\":0,\"timed_out\":0,\
                 \"not_started\":0,\"unknown\":0,\"total\":1}\n";
    for (form, summary, err, out) in [
        (DisplayForm::Json, Summary::Table, table, event),
        (DisplayForm::Json, Summary::Json, "", event),
        (DisplayForm::Json, Summary::None, "", event),
        (DisplayForm::Lines, Summary::Table, table, ""),
        (DisplayForm::Lines, Summary::Json, event, ""),
        (DisplayForm::Lines, Summary::None, "", ""),
    ] {
        let mut stage = Stage::new("a1", PIPE, DisplaySettings { summary, ..settings(form) });
        stage.end(0, exited(0));
        let seen = stage.finish();
        let last = seen.out().split_inclusive('\n').next_back().unwrap_or_default().to_owned();
        assert_eq!((seen.err(), last), (err.to_owned(), out.to_owned()), "{summary:?}");
    }
}
