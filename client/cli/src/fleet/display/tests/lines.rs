//! Lines in a pipe: whole, untouched, each with its host.

use super::harness::{PIPE, exited};
use super::*;
use crate::fleet::display::lines::{LineLimits, Lines};
use crate::fleet::display::store::{BLOCK, Store, StoreLimits};
use crate::output::Form;

fn stage(hosts: &str) -> Stage {
    Stage::new(hosts, PIPE, settings(DisplayForm::Lines))
}

#[test]
fn lines_of_hosts_that_write_at_once_never_mix() {
    let mut stage = stage("a[1-3]");
    // As hosts write byte by byte: in turn, one byte of each.
    for at in 0..12 {
        for (index, text) in
            ["one\ntwo\nmore", "eins\nzwei\n..", "\n\nuno\ndue\n!!"].iter().enumerate()
        {
            stage.out(index, &text.as_bytes()[at..=at]);
        }
    }
    (0..3).for_each(|index| stage.end(index, exited(0)));
    let seen = stage.finish();
    let of = |host: &str| -> Vec<String> {
        let out = seen.out();
        out.lines().filter_map(|line| line.strip_prefix(host)).map(str::to_owned).collect()
    };
    assert_eq!(of("a1: "), ["one", "two", "more"]);
    assert_eq!(of("a2: "), ["eins", "zwei", ".."]);
    assert_eq!(of("a3: "), ["", "", "uno", "due", "!!"]);
    assert_eq!(seen.out().lines().count(), 11);
}

#[test]
fn lines_stand_in_the_order_in_which_they_became_whole() {
    let mut stage = stage("a[1-2]");
    stage.out(0, "begun first");
    stage.out(1, "whole first\n");
    stage.out(0, ", whole second\n");
    assert_eq!(stage.finish().out(), "a2: whole first\na1: begun first, whole second\n");
}

#[test]
fn a_missing_last_newline_is_added_and_an_empty_line_is_a_line() {
    let mut stage = stage("a[1-4]");
    stage.out(0, "x");
    stage.out(1, "x\n");
    stage.out(2, "\n");
    stage.out(3, "");
    (0..4).for_each(|index| stage.end(index, exited(0)));
    assert_eq!(stage.finish().out(), "a2: x\na3: \na1: x\n");
}

#[test]
fn standard_error_goes_to_standard_error() {
    let mut stage = stage("a1,longer-name");
    stage.err(0, "no such");
    stage.out(1, "out\n");
    stage.err(0, " file\n");
    stage.err(1, "half");
    stage.end(1, exited(1));
    let seen = stage.finish();
    assert_eq!(
        (seen.out(), seen.err()),
        ("longer-name: out\n".to_owned(), "a1: no such file\nlonger-name: half\n".to_owned(),)
    );
    assert_eq!(
        seen.all(),
        "longer-name: out\na1: no such file\nlonger-name: half\n",
        "where both go to one place the order is kept"
    );
}

#[test]
fn bytes_in_a_pipe_are_untouched() {
    let mut stage = stage("a1");
    let bytes: Vec<u8> = (0..=255).filter(|byte| *byte != b'\n').collect();
    stage.out(0, &bytes);
    stage.out(0, b"\r\n\x1b[2J\xe5\n");
    let expected = [b"a1: ", &bytes[..], b"\r\na1: \x1b[2J\xe5\n"].concat();
    assert!(stage.finish().stdout() == expected);
}

#[test]
fn a_long_line_is_whole_and_others_go_on_meanwhile() {
    let mut stage = stage("long,short");
    let long: Vec<u8> = (0..40 * BLOCK + 17).map(|at| b'a' + (at / 1000 % 26) as u8).collect();
    for (number, piece) in long.chunks(10_007).enumerate() {
        stage.out(0, piece);
        if number % 50 == 0 {
            stage.out(1, format!("{number}\n"));
        }
    }
    stage.out(0, "\nnext\n");
    let out = stage.finish().out();
    let (before, behind) = out.split_once("long: ").unwrap();
    assert!(before.lines().all(|line| line.starts_with("short: ")) && before.lines().count() > 3);
    let (line, behind) = behind.split_at(long.len());
    assert!(line.as_bytes() == long);
    assert_eq!(behind, "\nlong: next\n");
}

/// Returns what lines within these limits look like, of a host that writes these pieces.
fn limited(limits: LineLimits, store: StoreLimits, pieces: &[&[u8]]) -> (String, String) {
    let (seen, mut context) = context("a1", PIPE);
    context.store = Store::new(store);
    let form = Form::Text { encoding: None, timestamps: false };
    let mut lines = Lines::new(Arc::clone(&context.targets), 80, form, limits);
    for piece in pieces {
        lines.output(&mut context, 0, Stream::Stdout, chunk(piece));
    }
    lines.ended(&mut context, 0);
    assert_eq!((context.store.len(), context.store.gathered), (0, 0), "nothing is held for nobody");
    context.screens.settle();
    (seen.out(), seen.err())
}

#[test]
fn a_line_past_all_bounds_comes_in_pieces_with_the_label() {
    let limits = LineLimits { terminal: 10, other: 10 };
    let limited = |pieces: &[&[u8]]| limited(limits, StoreLimits::default(), pieces).0;
    assert_eq!(limited(&[b"0123456789\n"]), "a1: 0123456789\n");
    assert_eq!(limited(&[b"0123456789", b"\n"]), "a1: 0123456789\n");
    assert_eq!(limited(&[b"0123456789a\n"]), "a1: 0123456789\na1: a\n");
    assert_eq!(
        limited(&[b"01234", b"56789abcdefghijk", b"\nx"]),
        "a1: 0123456789\na1: abcdefghij\na1: k\na1: x\n"
    );
}

#[test]
fn a_line_for_which_there_is_no_room_comes_in_pieces_and_that_is_told_once() {
    let none = StoreLimits { memory: 0, disk: 0, gathered: usize::MAX, ..StoreLimits::default() };
    let line: Vec<u8> = (0..5 * BLOCK).map(|at| b'a' + (at / BLOCK) as u8).collect();
    let (out, err) = limited(LineLimits::default(), none, &[&line, b"\n"]);
    let pieces: Vec<_> = out.lines().map(|piece| piece.strip_prefix("a1: ").unwrap()).collect();
    assert!(pieces.concat().as_bytes() == line);
    assert_eq!(pieces.len(), 5);
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(err.starts_with("rcmd: long lines can't be kept"), "{err}");
}

#[test]
fn begun_lines_of_many_hosts_take_bounded_memory() {
    let (_, mut context) = context("a[1-500]", PIPE);
    let limits = StoreLimits { memory: 64 * 1024, gathered: 64 * 1024, ..StoreLimits::default() };
    context.store = Store::new(limits);
    let form = Form::Text { encoding: None, timestamps: false };
    let mut lines = Lines::new(Arc::clone(&context.targets), 80, form, LineLimits::default());
    for index in 0..500 {
        let bytes = format!("{index} ").repeat(2_000);
        lines.output(&mut context, index, Stream::Stdout, chunk(bytes.as_bytes()));
        assert!(context.store.gathered <= limits.gathered);
    }
    assert!(context.store.on_disk() > 0);
    (0..500).for_each(|index| lines.ended(&mut context, index));
    assert_eq!((context.store.on_disk(), context.store.len(), context.store.gathered), (0, 0, 0));
}

#[test]
fn times_stand_behind_the_label_and_other_encodings_become_utf_8() {
    let encoding = Some(encoding_rs::GBK);
    let settings = DisplaySettings { timestamps: true, encoding, ..settings(DisplayForm::Lines) };
    let mut stage = Stage::new("a[1-2]", PIPE, settings);
    let (bytes, ..) = encoding_rs::GBK.encode("磁盘\nb");
    for byte in bytes.iter() {
        (0..2).for_each(|index| stage.out(index, [*byte]));
    }
    stage.out(0, b"\xb4");
    (0..2).for_each(|index| stage.end(index, exited(0)));
    let zero = "1970-01-01T00:00:00.000Z";
    assert_eq!(
        stage.finish().out(),
        format!("a1: {zero} 磁盘\na2: {zero} 磁盘\na1: {zero} b\u{fffd}\na2: {zero} b\n")
    );
}
