//! Lines at a terminal: padded, coloured, and never obeyed.

use super::harness::{TERMINAL, exited};
use super::*;

const COLOURED: Kind = Kind { colour: true, ..TERMINAL };

fn stage(hosts: &str, kind: Kind) -> Stage {
    Stage::new(hosts, kind, settings(DisplayForm::Lines))
}

#[test]
fn labels_are_padded_and_standard_error_has_a_mark() {
    let mut stage = stage("web1,database1", TERMINAL);
    stage.out(0, "up\n");
    stage.err(0, "down\n");
    stage.out(1, "up\n");
    assert_eq!(stage.finish().all(), "web1:      up\nweb1:      ! down\ndatabase1: up\n");
}

#[test]
fn a_long_name_does_not_push_the_others_away() {
    let long = "a-name-that-is-longer-than-twenty-four-columns";
    let mut stage_ = stage(&format!("web1,{long},web22"), TERMINAL);
    stage_.out(0, "x\n");
    stage_.out(1, "x\n");
    assert_eq!(stage_.finish().out(), format!("web1:  x\n{long}: x\n"));
    let mut narrow = stage("web1,database1", Kind { columns: 20, ..TERMINAL });
    narrow.out(0, "x\n");
    narrow.out(1, "x\n");
    assert_eq!(narrow.finish().out(), "web1: x\ndatabase1: x\n", "a third of 20 columns is 6");
}

#[test]
fn hosts_have_colours_and_standard_error_is_red() {
    let mut stage = stage("a[1-2]", COLOURED);
    stage.out(0, "x\n");
    stage.out(1, "x\n");
    stage.err(0, "y\n");
    assert_eq!(
        stage.finish().all(),
        "\x1b[36ma1:\x1b[0m x\n\x1b[33ma2:\x1b[0m x\n\x1b[36ma1:\x1b[0m \x1b[31m! y\x1b[0m\n"
    );
}

/// Bytes that a host may send so that its text stands where another's is.
const HOSTILE: [&[u8]; 10] = [
    b"\ra2: I am a2\n",
    b"\x1b[1A\x1b[2Ka2: I am a2\n",
    b"\x1b]0;a title\x07\n",
    b"\x9b2J\xc2\x9b2J\n",
    b"\x08\x08\x08\x08a2: I am a2\n",
    b"\x1b[?1049h\x1b[?25l\n",
    b"\x1bP\x1b\\\x1b_G\x1b\\\n",
    "\u{202e}2a\u{2028}a2: I am a2\u{85}a2: \n".as_bytes(),
    b"\x0b\x0ca2: I am a2\n",
    b"\0\x7f\x1b",
];

#[test]
fn a_hostile_host_draws_over_nobody_s_lines() {
    for hostile in HOSTILE {
        for at in 0..hostile.len() {
            let (one, other) = hostile.split_at(at);
            let mut stage = stage("a[1-2]", TERMINAL);
            stage.out(1, "honest\n");
            for (stream, piece) in
                [(Stream::Stdout, one), (Stream::Stderr, hostile), (Stream::Stdout, other)]
            {
                stage.wrote(0, stream, piece);
            }
            stage.out(1, "honest\n");
            (0..2).for_each(|index| stage.end(index, exited(0)));
            let all = stage.finish().all();
            let safe = |c: char| rcmd_certs::text::is_safe(c) || c == '\n' || c == '\t';
            assert!(all.chars().all(safe), "{hostile:?} at {at}: {all:?}");
            assert_eq!(all.lines().filter(|line| line.starts_with("a2: ")).count(), 2, "{all:?}");
            assert!(
                all.lines().all(|line| line.starts_with("a1: ") || line == "a2: honest"),
                "{all:?}"
            );
        }
    }
}

#[test]
fn tabs_and_text_of_other_scripts_stay_wherever_they_are_cut() {
    let text = "a\té\t磁盘\u{1d11e}".as_bytes();
    for at in 0..=text.len() {
        let mut stage = stage("a1", TERMINAL);
        stage.out(0, &text[..at]);
        stage.out(0, &text[at..]);
        stage.end(0, exited(0));
        assert_eq!(stage.finish().out(), "a1: a\té\t磁盘\u{1d11e}\n", "{at}");
    }
}

#[test]
fn raw_leaves_control_characters_to_those_who_want_them() {
    let settings = DisplaySettings { raw: true, ..settings(DisplayForm::Lines) };
    let mut stage = Stage::new("a1", TERMINAL, settings);
    stage.out(0, "\x1b[32mgreen\x1b[0m\r\n");
    assert_eq!(stage.finish().out(), "a1: \x1b[32mgreen\x1b[0m\r\n");
}

#[test]
fn a_line_without_an_end_comes_in_pieces_of_a_mebibyte_with_the_label() {
    let mut stage = stage("a[1-2]", TERMINAL);
    // A character of three bytes lies across each boundary.
    let text = "磁".repeat(1_000_000);
    for piece in text.as_bytes().chunks(50_000) {
        stage.out(0, piece);
    }
    stage.out(1, "honest\n");
    stage.end(0, exited(0));
    let out = stage.finish().out();
    let of_first = out.lines().filter_map(|line| line.strip_prefix("a1: "));
    assert_eq!(of_first.clone().count(), 3);
    assert!(of_first.clone().all(|piece| piece.len() <= 1 << 20));
    assert!(of_first.collect::<String>() == text);
    assert_eq!(out.lines().filter(|line| *line == "a2: honest").count(), 1);
}
