//! Tests of a supervisor without a client: real processes, controls put in, events checked.

use std::{ffi::OsString, sync::Arc, time::Duration};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    admission::budget::{Budget, Share},
    process::{Plan, Processes, Spawn, TreeLimits},
};

/// A deadline that is met however slow the machine is.
const DEADLINE: Duration = Duration::from_secs(30);
const TERMS: Terms = Terms { timeout_ms: 0, timestamps: false, holds_lock: false };
const ROOM: Room = Room { stdout: 65_536, stderr: 65_536, keeps_blocks: true };

fn plan(line: &str) -> Plan {
    let job = format!("supervisor-{}-{:p}", std::process::id(), line);
    let path = std::env::var_os("PATH").unwrap();
    Plan {
        program: "/bin/sh".into(),
        arg0: "sh".into(),
        args: ["-c", line].map(OsString::from).into(),
        env: vec![("RCMD_JOB".into(), job.clone().into()), ("PATH".into(), path)],
        cwd: "/".into(),
        folder: None,
        trusted: true,
        job,
        stdin: true,
        sealed: None,
        handed: None,
        credentials: None,
        no_new_privs: false,
    }
}

async fn start(line: &str, terms: Terms) -> Supervisor {
    let processes = Processes::new(Spawn::Portable, &TreeLimits::default()).unwrap().0;
    let process = processes.spawn(&plan(line), "tests", &CancellationToken::new()).await.unwrap();
    let budget = Arc::new(Budget::new(1 << 20)).of("a");
    Supervisor::new(process, terms, InputWriter::new(Share::new(budget)))
}

async fn next(supervisor: &mut Supervisor) -> Event {
    let event = async {
        loop {
            match supervisor.next_event() {
                Some(event) => return event,
                None => supervisor.step(ROOM).await,
            }
        }
    };
    timeout(DEADLINE, event).await.expect("an event in time")
}

/// The events of a process: its output as text, and how it ended.
struct Seen {
    stdout: String,
    stderr: String,
    open: [bool; 2],
    exited: Exited,
}

async fn to_its_end(supervisor: &mut Supervisor) -> Seen {
    let (mut text, mut open) = ([String::new(), String::new()], [None; 2]);
    let index = |stream| usize::from(stream == OutputStream::Stderr);
    loop {
        match next(supervisor).await {
            Event::Output { stream, bytes, .. } => {
                assert_eq!(open[index(stream)], None, "output after its end");
                text[index(stream)].push_str(std::str::from_utf8(&bytes).unwrap());
            }
            Event::OutputEnded { stream, is_open } => {
                assert_eq!(open[index(stream)].replace(is_open), None, "it ends once");
            }
            Event::Exited(exited) => {
                let [stdout, stderr] = text;
                let open = open.map(|open| open.expect("it ends before the exit"));
                return Seen { stdout, stderr, open, exited };
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_process_is_reported_from_its_start_to_its_end() {
    let mut supervisor = start("echo out; echo err >&2; exit 3", TERMS).await;
    assert!(matches!(next(&mut supervisor).await, Event::Started(_)));
    let seen = to_its_end(&mut supervisor).await;
    assert_eq!((seen.stdout.as_str(), seen.stderr.as_str()), ("out\n", "err\n"));
    assert_eq!((seen.exited.status, seen.exited.reason), (ProcessExit::Code(3), None));
    assert_eq!((seen.open, seen.exited.left), ([false; 2], vec![]));
}

#[tokio::test]
async fn input_is_written_counted_and_ended() {
    let mut supervisor = start("cat", TERMS).await;
    supervisor.apply(Control::InputData("one ".into()));
    supervisor.apply(Control::InputData("two".into()));
    supervisor.apply(Control::InputEnd);
    let (mut taken, mut back) = (0, String::new());
    let exited = loop {
        match next(&mut supervisor).await {
            Event::InputTaken(count) => taken += count,
            Event::Output { bytes, .. } => back.push_str(std::str::from_utf8(&bytes).unwrap()),
            Event::Exited(exited) => break exited,
            _ => {}
        }
    };
    assert_eq!((taken, back.as_str(), exited.status), (7, "one two", ProcessExit::Code(0)));
}

#[tokio::test]
async fn a_process_that_closes_its_input_is_told_of_once() {
    let mut supervisor = start("exec <&-; echo closed; sleep 600", TERMS).await;
    while !matches!(next(&mut supervisor).await, Event::Output { .. }) {}
    supervisor.apply(Control::InputData("x".into()));
    while next(&mut supervisor).await != Event::InputClosed {}
    supervisor.apply(Control::Kill(Reason::Client));
    let seen = to_its_end(&mut supervisor).await;
    assert_eq!(seen.exited.reason, Some(Reason::Client));
}

#[tokio::test]
async fn the_first_reason_to_end_a_process_counts() {
    let terms = Terms { timeout_ms: 1, ..TERMS };
    let mut supervisor = start("trap '' TERM; echo up; while :; do sleep 1; done", terms).await;
    while supervisor.reason.is_none() {
        next_step(&mut supervisor).await;
    }
    supervisor.apply(Control::Kill(Reason::Client));
    let seen = to_its_end(&mut supervisor).await;
    assert_eq!(seen.exited.reason, Some(Reason::Timeout));
    assert!(matches!(seen.exited.status, ProcessExit::Signal(_)));
}

async fn next_step(supervisor: &mut Supervisor) {
    timeout(DEADLINE, supervisor.step(ROOM)).await.expect("a step in time");
}

#[tokio::test]
async fn what_is_left_of_a_process_that_was_told_to_end_ends_with_it() {
    let line = "sleep 605 >/dev/null 2>&1 </dev/null & echo $!; wait";
    let mut supervisor = start(line, TERMS).await;
    let daemon = loop {
        if let Event::Output { bytes, .. } = next(&mut supervisor).await {
            break String::from_utf8(bytes.to_vec()).unwrap();
        }
    };
    supervisor.apply(Control::Signal(Signal::KILL));
    let seen = to_its_end(&mut supervisor).await;
    assert_eq!(seen.exited.status, ProcessExit::Signal(Signal::KILL));
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.trim()));
    assert!(stat.is_err() || stat.unwrap().contains(") Z "), "it lives on");
}

#[tokio::test]
async fn a_stream_that_nobody_reads_is_closed_under_its_process() {
    let mut supervisor = start("echo up >&2; while echo x; do :; done; exit 7", TERMS).await;
    while !matches!(next(&mut supervisor).await, Event::Output { stream: OutputStream::Stderr, .. })
    {
    }
    supervisor.apply(Control::ReaderGone(OutputStream::Stdout));
    while !matches!(next(&mut supervisor).await, Event::Exited(_)) {}
}
