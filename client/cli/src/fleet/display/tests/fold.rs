//! `--fold`: hosts that answered alike stand together.

use super::harness::{PIPE, TERMINAL, exited, failed, targets};
use super::*;
use crate::fleet::display::kept::Kept;
use crate::fleet::display::store::{BLOCK, StoreLimits};

fn stage(hosts: &str) -> Stage {
    Stage::new(hosts, PIPE, settings(DisplayForm::Fold))
}

const RULE: &str = "---------------\n";

fn group(heading: &str, output: &str) -> String {
    format!("{RULE}{heading}\n{RULE}{output}")
}

#[test]
fn the_largest_group_is_first_then_the_one_with_the_first_host() {
    let mut stage = stage("a[1-7]");
    for (index, text) in ["x", "same", "y", "same", "y", "same", "x"].iter().enumerate().rev() {
        stage.out(index, format!("{text}\n"));
        stage.end(index, exited(0));
    }
    let expected =
        [group("a[2,4,6] (3)", "same\n"), group("a[1,7] (2)", "x\n"), group("a[3,5] (2)", "y\n")];
    assert_eq!(stage.finish().out(), expected.concat());
}

#[test]
fn nothing_is_shown_before_the_end() {
    let mut stage = stage("a[1-2]");
    stage.out(0, "x\n");
    stage.end(0, exited(0));
    stage.worker.show(Shown::Standing(Standing::default()));
    assert_eq!(stage.seen.all(), "");
}

#[test]
fn a_missing_last_newline_makes_no_difference_and_a_blank_does() {
    let mut stage = stage("a[1-5]");
    for (index, text) in ["x", "x\n", "x \n", "x\n\n", "\n"].iter().enumerate() {
        stage.out(index, text);
        stage.end(index, exited(0));
    }
    let expected = [
        group("a[1-2] (2)", "x\n"),
        group("a3 (1)", "x \n"),
        group("a4 (1)", "x\n\n"),
        group("a5 (1)", "\n"),
    ];
    assert_eq!(stage.finish().out(), expected.concat());
}

#[test]
fn streams_and_status_are_compared_together_and_standard_error_is_last() {
    let mut stage = stage("a[1-6]");
    for index in 0..6 {
        stage.err(index, if index == 1 { "other\n" } else { "e" });
        stage.out(index, if index == 2 { "" } else { "o\n" });
        let code = if index == 3 { 3 } else { 0 };
        stage.end(index, exited(code));
    }
    let seen = stage.finish();
    let expected = [
        group("a[1,5-6] (3)", "o\ne\n"),
        group("a2 (1)", "o\nother\n"),
        group("a3 (1)", "e\n"),
        group("a4 (1): failed with status 3", "o\ne\n"),
    ];
    assert_eq!((seen.out(), seen.err()), (expected.concat(), String::new()));
}

#[test]
fn hosts_without_output_are_a_group_and_those_that_never_ran_another() {
    let mut stage = stage("a[1-6]");
    stage.end(0, exited(0));
    stage.end(2, exited(0));
    stage.end(1, failed(Outcome::NotStarted, ErrorKind::Unreachable, "cannot reach a2"));
    stage.end(4, failed(Outcome::NotStarted, ErrorKind::Unreachable, "cannot reach a5"));
    stage.end(3, failed(Outcome::NotStarted, ErrorKind::Denied, "no rule\u{1b}[2J"));
    stage.end(5, exited(0));
    let expected = [
        group("a[1,3,6] (3)", ""),
        group("a[2,5] (2): not started, for one: cannot reach a2", ""),
        group("a4 (1): not started: no rule\\u{1b}[2J", ""),
    ];
    assert_eq!(stage.finish().out(), expected.concat());
}

#[test]
fn what_is_not_whole_is_never_among_what_is() {
    let mut stage = stage("a[1-5]");
    (0..5).for_each(|index| stage.out(index, "ok\n"));
    stage.end(0, exited(0));
    stage.end(1, failed(Outcome::Unknown, ErrorKind::Lost, "the link is gone"));
    stage.end(2, Report { truncated: true, ..exited(0) });
    stage.end(3, exited(0));
    let missing = "the end of the output is missing";
    let expected = [
        group("a[1,4] (2)", "ok\n"),
        group(&format!("a2 (1): unknown: the link is gone; {missing}"), "ok\n"),
        group(&format!("a3 (1); {missing}"), "ok\n"),
        group(&format!("a5 (1): unknown; {missing}"), "ok\n"),
    ];
    assert_eq!(stage.finish().out(), expected.concat(), "a5 has not ended");
}

#[test]
fn a_terminal_sees_text_and_a_pipe_gets_bytes() {
    for (kind, shown) in [(TERMINAL, "\\u{1b}[2Jx\\u{d}\ty\n\\xff\n"), (PIPE, "")] {
        let mut stage = Stage::new("a1", kind, settings(DisplayForm::Fold));
        stage.out(0, b"\x1b[2Jx\r\ty\n\xff");
        stage.end(0, exited(0));
        let out = stage.finish().stdout();
        let head = group("a1 (1)", "");
        let body = &out[head.len()..];
        let expected =
            if shown.is_empty() { &b"\x1b[2Jx\r\ty\n\xff\n"[..] } else { shown.as_bytes() };
        assert_eq!(body, expected);
    }
}

#[test]
fn equal_outputs_of_many_hosts_take_the_room_of_one() {
    let (_, mut context) = context("a[1-51]", PIPE);
    let form = crate::output::Form::Text { encoding: None, timestamps: false };
    let mut fold = crate::fleet::display::fold::Fold::new(form);
    let output: Vec<u8> = (0..16 * BLOCK).map(|at| (at / BLOCK) as u8).collect();
    for piece in output.chunks(BLOCK / 2) {
        for index in 0..50 {
            fold.output(&mut context, index, Stream::Stdout, chunk(piece));
        }
        assert!(context.store.len() <= 16, "while they run as well");
    }
    // One more, which ends its last line: it is equal, and what it has for itself goes.
    fold.output(&mut context, 50, Stream::Stdout, chunk(&output));
    fold.output(&mut context, 50, Stream::Stdout, chunk(b"\n"));
    (0..51).for_each(|index| fold.ended(&mut context, index, &exited(0)));
    let groups = fold.finish(&mut context);
    assert_eq!((groups.len(), context.store.len(), context.store.gathered), (1, 16, 0));
    let kept: &Kept = &groups[0].outputs.stdout.kept;
    assert_eq!(kept.len(), output.len() as u64);
}

#[test]
fn output_without_room_is_told_of_each_host_and_stands_apart() {
    let (seen, mut context) = context("a[1-3]", PIPE);
    let full =
        StoreLimits { memory: BLOCK, disk: 0, gathered: usize::MAX, ..StoreLimits::default() };
    context.store = Store::new(full);
    let (told, _) = Failures::channel();
    let settings = settings(DisplayForm::Fold);
    let mut worker = Worker::new(settings, context, &told).unwrap();
    for index in 0..3 {
        let bytes = if index == 1 { vec![b'x'; 2 * BLOCK] } else { b"ok\n".to_vec() };
        let (stream, chunk) = (Stream::Stdout, chunk(&bytes));
        worker.show(Shown::Output { index, stream, chunk });
        let report = Box::new(exited(0));
        worker.show(Shown::Ended { index, report });
    }
    worker.finish(&Account::new(String::new(), targets("a[1-3]")));
    let heads: Vec<_> =
        seen.out().lines().filter(|line| line.starts_with('a')).map(str::to_owned).collect();
    assert_eq!(heads, ["a[1,3] (2)", "a2 (1); the end of the output is missing"]);
    assert_eq!(seen.err().lines().count(), 1, "{}", seen.err());
    let note = "rcmd: a2: not all of the output is kept (the limit of 0 MiB for kept output is";
    assert!(seen.err().starts_with(note), "{}", seen.err());
}

#[test]
fn times_can_not_be_compared() {
    let settings = DisplaySettings { timestamps: true, ..settings(DisplayForm::Fold) };
    let (_, context) = context("a1", PIPE);
    let (told, _) = Failures::channel();
    let error = Worker::new(settings, context, &told).err().unwrap();
    assert_eq!(error.message, "--fold and --timestamps exclude each other");
}
