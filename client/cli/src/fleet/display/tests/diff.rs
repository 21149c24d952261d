//! `--diff`: the most common answer, and how the others differ.

use super::harness::{PIPE, TERMINAL, exited, failed};
use super::*;

fn stage(hosts: &str) -> Stage {
    Stage::new(hosts, PIPE, settings(DisplayForm::Diff))
}

const RULE: &str = "---------------\n";

#[test]
fn the_most_common_answer_is_whole_and_the_others_are_differences() {
    let mut stage = stage("a[1-5]");
    let common: String = (1..=20).map(|number| format!("line {number}\n")).collect();
    for index in 0..3 {
        stage.out(index, &common);
        stage.end(index, exited(0));
    }
    stage.out(3, common.replace("line 10\n", "line ten\n").replace("line 20\n", ""));
    stage.end(3, exited(0));
    stage.out(4, &common);
    stage.err(4, "careful\n");
    stage.end(4, exited(1));
    assert_eq!(
        stage.finish().out(),
        format!(
            "{RULE}a[1-3] (3)\n{RULE}{common}\
             {RULE}a4 (1)\n{RULE}--- a[1-3] stdout\n+++ a4 stdout\n\
             @@ -7,7 +7,7 @@\n line 7\n line 8\n line 9\n-line 10\n+line ten\n line 11\n line 12\n line 13\n\
             @@ -17,4 +17,3 @@\n line 17\n line 18\n line 19\n-line 20\n\
             {RULE}a5 (1): failed with status 1\n{RULE}--- a[1-3] stderr\n+++ a5 stderr\n\
             @@ -0,0 +1 @@\n+careful\n"
        )
    );
}

#[test]
fn hosts_that_never_ran_are_not_the_most_common_answer() {
    let mut stage = stage("a[1-5]");
    (0..3).for_each(|index| stage.end(index, failed(Outcome::NotStarted, ErrorKind::Busy, "busy")));
    stage.out(3, "x");
    stage.end(3, exited(0));
    stage.out(4, "x\n");
    stage.end(4, exited(2));
    assert_eq!(
        stage.finish().out(),
        format!(
            "{RULE}a4 (1)\n{RULE}x\n{RULE}a[1-3] (3): not started, for one: busy\n{RULE}\
             {RULE}a5 (1): failed with status 2\n{RULE}(the same output)\n"
        )
    );
    let mut stage = self::stage("a1");
    stage.end(0, failed(Outcome::NotStarted, ErrorKind::Busy, "busy"));
    assert_eq!(stage.finish().out(), format!("{RULE}a1 (1): not started: busy\n{RULE}"));
}

#[test]
fn of_bytes_and_of_large_outputs_the_first_difference_is_told() {
    let large = "0123456\n".repeat(1 << 20);
    let mut other = large.clone().into_bytes();
    other[8 * 100_000 + 3] = b'x';
    for (one, other, place) in [
        (large.into_bytes(), other, "byte 800003 on, in line 100001"),
        (b"a\nb\0".to_vec(), b"a\nc\0".to_vec(), "byte 2 on, in line 2"),
        (b"a\0".to_vec(), b"a\0\0".to_vec(), "byte 2 on, in line 1"),
    ] {
        let mut stage = stage("a[1-2]");
        stage.out(0, one);
        stage.out(1, other);
        (0..2).for_each(|index| stage.end(index, exited(0)));
        let out = stage.finish().stdout();
        let expected = format!("(stdout differs from {place})\n");
        assert!(out.ends_with(expected.as_bytes()), "{expected}");
    }
}

#[test]
fn a_terminal_sees_text_alone() {
    let mut stage = Stage::new("a[1-2]", TERMINAL, settings(DisplayForm::Diff));
    stage.out(0, "a\n\x1b[2Jb\n");
    stage.out(1, "a\n\x1b[2Jc\n");
    (0..2).for_each(|index| stage.end(index, exited(0)));
    let out = stage.finish().out();
    assert!(out.ends_with("@@ -1,2 +1,2 @@\n a\n-\\u{1b}[2Jb\n+\\u{1b}[2Jc\n"), "{out}");
}

#[test]
fn a_pair_that_has_nothing_in_common_is_compared_in_time() {
    let text = |step: usize| -> String {
        (0..200_000).map(|number| format!("{}\n", number * step % 65_537)).collect()
    };
    let mut stage = stage("a[1-2]");
    stage.out(0, text(7));
    stage.out(1, text(11));
    (0..2).for_each(|index| stage.end(index, exited(0)));
    let began = std::time::Instant::now();
    let out = stage.finish().out();
    assert!(began.elapsed() < Duration::from_secs(60));
    let count = |sign| out.lines().filter(|line| line.starts_with(sign)).count();
    assert!(count('-') > 0 && count('+') > 0);
}
