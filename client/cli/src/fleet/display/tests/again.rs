//! Hosts that ended in an earlier process of the run, and hosts whose command is run again.

use std::fs;

use serde_json::Value;

use super::harness::{PIPE, exited};
use super::*;

/// Returns a worker in which the output of a1 is that of an earlier command, with half a line of
/// it.
fn stage(settings: DisplaySettings) -> Stage {
    let mut stage = Stage::new("a[1-2]", PIPE, settings);
    stage.out(0, "old\nha");
    stage.worker.show(Shown::Again { index: 0 });
    stage.offsets.clear();
    stage.out(0, "new\n");
    stage.end(0, exited(0));
    stage
}

#[test]
fn what_was_kept_of_an_earlier_command_is_not_shown() {
    let format = DisplayForm::Format(Format::parse("{host} {stdout}").unwrap());
    for (form, shown) in [
        (DisplayForm::Fold, "---------------\na1 (1)\n---------------\nnew\n"),
        (DisplayForm::Diff, "---------------\na1 (1)\n---------------\nnew\n"),
        (format, "a1 new\n"),
    ] {
        let seen = stage(settings(form)).finish();
        assert_eq!(seen.out(), shown);
        assert_eq!(seen.err(), "rcmd: a1: nobody knows how it ended; it is run again\n");
    }
}

#[test]
fn a_line_that_had_begun_ends_before_it_is_said_that_the_command_is_run_again() {
    let seen = stage(settings(DisplayForm::Lines)).finish();
    assert_eq!(
        seen.all(),
        "a1: old\na1: ha\nrcmd: a1: nobody knows how it ended; it is run again\na1: new\n"
    );
}

#[test]
fn events_say_that_the_command_is_run_again_and_there_is_one_end() {
    let seen = stage(settings(DisplayForm::Json)).finish();
    let events = seen.out();
    let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let kinds: Vec<_> = events.map(|event| event["event"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds, ["stdout", "note", "stdout", "end", "summary"]);
}

#[test]
fn the_files_of_a_host_whose_command_is_run_again_begin_anew() {
    let dir = tempfile::tempdir().unwrap();
    let outdir = Some(dir.path().join("o"));
    stage(DisplaySettings { outdir, ..settings(DisplayForm::Lines) }).finish();
    assert_eq!(fs::read_to_string(dir.path().join("o/a1.out")).unwrap(), "new\n");
}

#[test]
fn a_host_that_ended_earlier_has_its_result_and_no_output() {
    let dir = tempfile::tempdir().unwrap();
    let result = dir.path().join("r.jsonl");
    for (form, out) in [(DisplayForm::Lines, ""), (DisplayForm::Fold, ""), (DisplayForm::Json, "1")]
    {
        let outdir = Some(dir.path().join("o"));
        let files = DisplaySettings { outdir, result: Some(result.clone()), ..settings(form) };
        let mut stage = Stage::new("a1", PIPE, files);
        stage.worker.show(Shown::Kept { index: 0, report: Box::new(exited(0)) });
        stage.worker.settle();
        let seen = stage.seen.out();
        assert_eq!(seen.matches("\"event\":\"end\"").count(), out.len(), "{seen}");
        assert!(out.len() == 1 || seen.is_empty(), "{seen}");
        stage.finish();
        for file in [&result, &dir.path().join("o/results.jsonl")] {
            assert_eq!(fs::read_to_string(file).unwrap().lines().count(), 1);
        }
    }
}
