//! `--format`: a record a host.

use super::harness::{PIPE, TERMINAL, exited, failed};
use super::*;

fn stage(format: &str, kind: Kind) -> Stage {
    Stage::new("a[1-3]", kind, settings(DisplayForm::Format(Format::parse(format).unwrap())))
}

#[test]
fn a_record_comes_as_its_target_ends() {
    let mut stage = stage("{host}\\t{code}\\t{stdout}", PIPE);
    stage.out(1, "two\nlines\n\n");
    stage.out(0, "one");
    stage.err(0, "not asked for");
    stage.end(1, exited(0));
    stage.worker.show(Shown::Note { index: Some(0), text: "late".to_owned() });
    assert_eq!(stage.seen.out(), "a2\t0\ttwo\nlines\n", "before the next");
    stage.end(0, exited(3));
    assert_eq!(stage.finish().out(), "a2\t0\ttwo\nlines\na1\t3\tone\n");
}

#[test]
fn every_field_has_its_text_and_nothing_where_there_is_none() {
    let all = "{index} {outcome} {code} {signal} {job} {duration_ms} {label.role} {error}|{stderr}";
    let mut stage = stage(all, PIPE);
    let killed = Report {
        signal: Some(Signal::KILL),
        job: Some("k7".to_owned()),
        duration_ms: Some(12),
        ..failed(Outcome::Signaled, ErrorKind::Lost, "")
    };
    stage.err(0, "e\n");
    stage.end(0, Report { error: None, ..killed });
    stage.end(2, failed(Outcome::NotStarted, ErrorKind::Denied, "no\nrule"));
    assert_eq!(
        stage.finish().out(),
        "0 signaled  SIGKILL k7 12  |e\n2 not_started      no\\u{a}rule|\n"
    );
}

#[test]
fn control_characters_are_escaped_at_a_terminal_alone() {
    for (kind, shown) in [(TERMINAL, "a1 \\u{1b}[2Jx\ty\\xff\n"), (PIPE, "")] {
        let mut stage = stage("{host} {stdout}", kind);
        stage.out(0, b"\x1b[2Jx\ty\xff\n");
        stage.end(0, exited(0));
        let out = stage.finish().stdout();
        let expected =
            if shown.is_empty() { &b"a1 \x1b[2Jx\ty\xff\n"[..] } else { shown.as_bytes() };
        assert_eq!(out, expected);
    }
}
