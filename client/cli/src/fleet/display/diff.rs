//! `--diff`: the most common answer in full, then how the others differ from it.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use similar::{Algorithm, DiffOp, capture_diff_slices_deadline, group_diff_ops};

use super::collect::Stored;
use super::context::Context;
use super::fold::{Group, show_head, show_outputs, unreadable};
use super::kept::Kept;
use super::safe::put_safe;
use super::store::Store;
use crate::fleet::account::Reason;
use crate::output::sink::Place;

/// The longest output that is compared line by line, in bytes. Of what is longer the first difference
/// is told.
const LONGEST: u64 = 4 << 20;

/// Lines around a difference.
const AROUND: usize = 3;

/// The time for which two outputs are compared in search of the shortest description; past it a longer one
/// will do.
const PATIENCE: Duration = Duration::from_secs(2);

/// Shows the most common answer, and for each other group what is different there.
pub(super) fn show(context: &mut Context, mut groups: Vec<Group>) {
    if groups.is_empty() {
        return;
    }
    // Those that never ran have no answer, however many they are.
    let answered = groups.iter().position(|group| group.whole && has_answer(group.reason));
    let common = groups.remove(answered.unwrap_or(0));
    show_head(context, &common);
    show_outputs(context, &common);
    for group in &groups {
        show_head(context, group);
        if let Err(error) = show_difference(context, &common, group) {
            unreadable(context, &error);
        }
    }
}

fn has_answer(reason: Reason) -> bool {
    !matches!(reason, Reason::NotStarted(_) | Reason::HeldBack | Reason::Unknown(_))
}

fn show_difference(context: &mut Context, common: &Group, group: &Group) -> io::Result<()> {
    if !has_answer(group.reason)
        && group.outputs.stdout.kept.len() + group.outputs.stderr.kept.len() == 0
    {
        return Ok(());
    }
    if common.said == group.said {
        context.screens.put(Place::Stdout, b"(the same output)\n");
        return Ok(());
    }
    let names = [common, group].map(|group| context.folded(group.hosts.iter().copied()));
    let streams = [
        ("stdout", &common.outputs.stdout, &group.outputs.stdout, common.said.0 == group.said.0),
        ("stderr", &common.outputs.stderr, &group.outputs.stderr, common.said.1 == group.said.1),
    ];
    for (stream, one, other, same) in streams {
        if !same {
            let [one_name, other_name] = &names;
            let titles = [format!("{one_name} {stream}"), format!("{other_name} {stream}")];
            show_stream(context, &titles, stream, [one, other])?;
        }
    }
    Ok(())
}

fn show_stream(
    context: &mut Context,
    titles: &[String; 2],
    stream: &str,
    [one, other]: [&Stored; 2],
) -> io::Result<()> {
    let lengths = [one.kept.len(), other.kept.len()];
    if lengths.iter().all(|length| *length <= LONGEST) {
        let [one, other] = [text(&one.kept, &context.store)?, text(&other.kept, &context.store)?];
        if !one.contains(&0) && !other.contains(&0) {
            show_lines(context, titles, [&lines(&one), &lines(&other)]);
            return Ok(());
        }
    }
    let (byte, line) = first_difference(&one.kept, &other.kept, &context.store)?;
    let text = format!("({stream} differs from byte {byte} on, in line {line})\n");
    context.screens.put(Place::Stdout, text.as_bytes());
    Ok(())
}

fn text(kept: &Kept, store: &Store) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    kept.reader(store).read_to_end(&mut text)?;
    Ok(text)
}

/// Returns the lines of a text without their ends.
fn lines(text: &[u8]) -> Vec<&[u8]> {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    lines.map(|line| line.strip_suffix(b"\n").unwrap_or(line)).collect()
}

/// Shows a unified diff.
fn show_lines(context: &mut Context, titles: &[String; 2], [one, other]: [&[&[u8]]; 2]) {
    let look = context.screens.look(Place::Stdout);
    let coloured = |style: Style| if look.colour { style } else { Style::new() };
    let bold = coloured(Style::new().bold());
    let cyan = coloured(AnsiColor::Cyan.on_default());
    let red = coloured(AnsiColor::Red.on_default());
    let green = coloured(AnsiColor::Green.on_default());
    let safe = context.must_escape(Place::Stdout);
    let deadline = Some(Instant::now() + PATIENCE);
    let steps = capture_diff_slices_deadline(Algorithm::Myers, one, other, deadline);
    let [one_title, other_title] = titles;
    let mut shown = Vec::new();
    // Writing to a Vec does not fail.
    let _ = write!(shown, "{bold}--- {one_title}{bold:#}\n{bold}+++ {other_title}{bold:#}\n");
    for hunk in group_diff_ops(steps, AROUND) {
        let (before, behind) = (range(&hunk, DiffOp::old_range), range(&hunk, DiffOp::new_range));
        let _ = writeln!(shown, "{cyan}@@ -{before} +{behind} @@{cyan:#}");
        for step in &hunk {
            let (old, new) = (one.get(step.old_range()), other.get(step.new_range()));
            let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
            if let DiffOp::Equal { .. } = step {
                put_lines(old, b' ', Style::new(), safe, &mut shown);
            } else {
                put_lines(old, b'-', red, safe, &mut shown);
                put_lines(new, b'+', green, safe, &mut shown);
            }
        }
    }
    context.screens.put(Place::Stdout, &shown);
}

/// Returns the lines of a hunk on one side, as its heading has them.
fn range(hunk: &[DiffOp], side: impl Fn(&DiffOp) -> std::ops::Range<usize>) -> String {
    let start = hunk.first().map_or(0, |step| side(step).start);
    let end = hunk.last().map_or(0, |step| side(step).end);
    match end.saturating_sub(start) {
        0 => format!("{start},0"),
        1 => format!("{}", start + 1),
        count => format!("{},{count}", start + 1),
    }
}

fn put_lines(lines: &[&[u8]], sign: u8, style: Style, safe: bool, shown: &mut Vec<u8>) {
    for line in lines {
        let _ = write!(shown, "{style}");
        shown.push(sign);
        if safe {
            put_safe(line, shown)
        } else {
            shown.extend_from_slice(line)
        }
        let _ = writeln!(shown, "{style:#}");
    }
}

/// Returns the first byte, from 0, in which two outputs differ, and its line, from 1.
fn first_difference(one: &Kept, other: &Kept, store: &Store) -> io::Result<(u64, u64)> {
    let (mut one, mut other) = (one.reader(store), other.reader(store));
    let (mut at, mut line) = (0, 1);
    loop {
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        let most = left.len().min(right.len());
        let same = left.iter().zip(right).take_while(|(left, right)| left == right).count();
        let newlines = left.iter().take(same).filter(|byte| **byte == b'\n').count();
        at += same as u64;
        line += newlines as u64;
        if same < most || most == 0 {
            return Ok((at, line));
        }
        one.consume(same);
        other.consume(same);
    }
}
