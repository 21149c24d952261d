use std::sync::Arc;
use std::time::Duration;

use rcmd_client::hosts::HostSet;
use rcmd_client::inventory::Inventory;
use rcmd_client::{Outcome, Report, Signal};
use rcmd_protocol::ids::Key;
use rcmd_protocol::request::Request;

use super::*;
use crate::arguments::words::CommandSpec;
use crate::fleet::records::{Plan, Recorded, Sent, TargetState};

const BEGAN: u64 = 1_764_279_676_123;
const NOW: u64 = BEGAN + 180_000;

fn failure(kind: ErrorKind, message: &str) -> WireError {
    WireError::new(kind, message).hint("Try again.")
}

fn ended(outcome: Outcome, code: Option<u8>, error: Option<WireError>) -> TargetState {
    let report = Report::without_job("x", outcome, failure(ErrorKind::Lost, ""));
    let report = Report { code, error, ..report };
    TargetState { attempt: 1, sent: None, end: Some(Box::new(report)) }
}

fn exited(code: u8) -> TargetState {
    ended(Outcome::Exited, Some(code), None)
}

fn sent() -> TargetState {
    let digest = Request::exec(["x"]).build().unwrap().digest();
    let sent = Sent { attempt: 1, key: Key::from_text(b"k"), generation: 1, digest, at: NOW };
    TargetState { attempt: 1, sent: Some(sent), end: None }
}

/// Returns a run of a shell line over a1, a2 and so on.
fn seen(line: &str, states: Vec<TargetState>) -> Seen {
    let set: HostSet = (1..=states.len()).map(|number| format!("a{number}").into()).collect();
    let plan = Plan {
        command: CommandSpec::Shell(line.into()),
        env: Vec::new(),
        cwd: None,
        templates: true,
        user: None,
        timeout: None,
        lock: None,
        key: None,
        input: false,
        targets: Arc::from(set.targets(&Inventory::default()).unwrap()),
    };
    let recorded = Recorded { id: id(), began: BEGAN, plan, states, resumed: Vec::new() };
    Seen { recorded, running: false }
}

fn id() -> RunId {
    RunId::parse("19ac7436cdbdef01").unwrap()
}

fn list(seen: Seen, width: Option<usize>) -> String {
    listed(id(), Ok(seen), NOW, width)
}

#[test]
fn a_run_is_listed_with_its_hosts_command_counts_and_what_can_be_done() {
    let unreachable = failure(ErrorKind::Unreachable, "no route");
    let states = vec![
        exited(0),
        exited(0),
        exited(3),
        ended(Outcome::TimedOut, None, None),
        ended(Outcome::NotStarted, None, Some(unreachable)),
        sent(),
        TargetState::default(),
    ];
    assert_eq!(
        list(seen("uptime", states.clone()), None),
        "19ac7436cdbdef01  2025-11-27T21:41:16Z  3 minutes ago\n  a[1-7] (7): uptime\n  \
         2 exited, 1 failed, 1 timed out, 2 not started, 1 unknown; can be resumed\n"
    );
    let running = Seen { running: true, ..seen("uptime", states) };
    assert!(list(running, None).ends_with("1 running, 1 waiting; still goes on\n"));
    assert!(list(seen("x", vec![exited(0)]), None).ends_with("1 exited; whole\n"));
    let mut input = seen("x", vec![exited(1)]);
    input.recorded.plan.input = true;
    assert!(list(input, None).contains("1 failed; can't be resumed"));
    let unknown = ended(Outcome::Unknown, None, None);
    let left = list(seen("x", vec![exited(0), unknown]), None);
    assert!(left.ends_with("; nothing is left but the unknown\n"), "{left}");
}

#[test]
fn a_list_fits_the_terminal_and_keeps_the_number_of_hosts() {
    let states: Vec<_> = (0..40).map(|_| exited(1)).collect();
    for width in [20, 40, 80] {
        for line in ["x", &"echo 北京 ".repeat(30)] {
            let mut seen = seen(line, states.clone());
            let names = (0..40).map(|number| format!("host{}x", number * 7).into());
            let set: HostSet = names.collect();
            seen.recorded.plan.targets = Arc::from(set.targets(&Inventory::default()).unwrap());
            let text = list(seen, Some(width));
            let fits = |line: &str| columns(line) <= width;
            assert!(width < 40 || text.lines().all(fits), "{width}: {text}");
            assert!(text.contains(" (40): "), "{width}: {text}");
        }
    }
}

#[test]
fn no_byte_of_a_command_or_a_message_commands_the_terminal() {
    let evil = "\u{1b}]0;owned\u{7}\r\n\u{9b}2J\u{202e}";
    let told = ended(Outcome::NotStarted, None, Some(failure(ErrorKind::Lost, evil)));
    let make = || {
        let mut seen = seen(evil, vec![told.clone()]);
        seen.recorded.plan.user = Some(evil.into());
        seen
    };
    let damaged = listed(id(), Err(failure(ErrorKind::Usage, evil)), NOW, Some(80));
    for text in
        [list(make(), None), list(make(), Some(80)), show::text(&make(), NOW, None), damaged]
    {
        let odd = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(odd), "{text:?}");
        assert!(text.lines().all(|line| !line.starts_with("2J")), "{text}");
    }
}

#[test]
fn a_run_is_shown_host_by_host_with_what_to_type_next() {
    let unreachable = |host: &str| {
        let error = failure(ErrorKind::Unreachable, &format!("cannot reach {host}: no route"));
        ended(Outcome::NotStarted, None, Some(error))
    };
    let killed = TargetState {
        end: ended(Outcome::Signaled, None, None)
            .end
            .map(|report| Box::new(Report { signal: Some(Signal::KILL), ..*report })),
        ..TargetState::default()
    };
    let states =
        vec![unreachable("a1"), exited(0), exited(9), killed, unreachable("a5"), exited(0)];
    let mut seen = seen("uptime", states);
    seen.recorded.plan.command = CommandSpec::Exec {
        program: "echo".into(),
        arguments: vec!["it's".into(), "".into(), "a=b".into()],
    };
    seen.recorded.plan.timeout = Some(Duration::from_secs(90));
    seen.recorded.plan.env = vec![("TOKEN".into(), "secret".into())];
    seen.recorded.resumed = vec![BEGAN + 60_000];
    assert_eq!(
        show::text(&seen, NOW, Some("my dir".as_ref())),
        "run 19ac7436cdbdef01, 2025-11-27T21:41:16Z, 3 minutes ago\n\
         command: echo 'it'\\''s' '' a=b\n\
         options: --env TOKEN=... --timeout '1m 30s'\n\
         hosts: a[1-6] (6)\n\
         resumed: 2025-11-27T21:42:16Z, 2 minutes ago\n\
         \n\
         exited with 0 (2): a[2,6]\n\
         exited with 9 (1): a3\n\
         ended by SIGKILL (1): a4\n\
         not started, unreachable (2): a[1,5]\n  \
           cannot reach a1: no route\n  \
           hint: Try again.\n\
         \n\
         To go on with it: rcmd-client --dir 'my dir' run --resume 19ac7436cdbdef01\n"
    );
}

#[test]
fn what_can_not_be_gone_on_with_says_why() {
    let next = |seen: Seen| show::text(&seen, NOW, None).lines().last().unwrap().to_owned();
    assert_eq!(next(seen("x", vec![exited(0)])), "Nothing is left to do.");
    assert!(next(seen("x", vec![ended(Outcome::Unknown, None, None)])).ends_with(" --again"));
    let mut input = seen("x", vec![exited(1)]);
    input.recorded.plan.input = true;
    assert!(next(input).contains("(-i) is not kept"));
    let running = Seen { running: true, ..seen("x", vec![sent()]) };
    assert_eq!(next(running), "It still goes on.");
}

#[test]
fn objects_have_numbers_that_add_up_and_every_host_once() {
    let states = vec![exited(0), exited(1), sent(), TargetState::default()];
    let seen = seen("uptime", states);
    let hosts = show::json(&seen).unwrap();
    let hosts: Vec<serde_json::Value> =
        hosts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let states: Vec<_> = hosts.iter().map(|host| host["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["exited", "failed", "unknown", "not_started"]);
    assert_eq!((&hosts[1]["host"], &hosts[1]["index"]), (&"a2".into(), &1.into()));
    assert_eq!(hosts[1]["result"]["code"], 1);
    let run: serde_json::Value = serde_json::from_str(&json(id(), Ok(seen), NOW).unwrap()).unwrap();
    let numbers = ["exited", "failed", "timed_out", "not_started", "unknown", "running", "waiting"];
    let sum: u64 = numbers.iter().map(|name| run[name].as_u64().unwrap()).sum();
    assert_eq!((run["total"].as_u64(), sum), (Some(4), 4));
    assert_eq!((&run["hosts"], &run["state"]), (&"a[1-4]".into(), &"resumable".into()));
    assert_eq!(run["command"], serde_json::json!(["uptime"]));
    let damaged = json(id(), Err(failure(ErrorKind::Usage, "x")), NOW).unwrap();
    assert!(damaged.contains("\"error\":{\"kind\":\"usage\""), "{damaged}");
}
