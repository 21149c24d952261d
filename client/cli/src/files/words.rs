//! What is said about files: sizes, totals, reasons.

use std::time::Duration;

use rcmd_transfer::{FileAction, FileKind, FileNotes, Summary, Withheld};

use super::verdict;
use crate::text::escaped;

/// The units of sizes, each 1,024 times the one before.
const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Returns a size for people, such as `3.4 MiB`.
pub(super) fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // In tenths of the unit, without a fraction of the arithmetic.
    let (mut tenths, mut unit) = (u128::from(bytes) * 10 / 1024, 0);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        (tenths, unit) = (tenths / 1024, unit + 1);
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    match tenths >= 1_000 {
        true => format!("{} {name}", tenths / 10),
        false => format!("{}.{} {name}", tenths / 10, tenths % 10),
    }
}

/// Returns bytes of a path for people: what is no text and what a terminal would obey stands escaped.
pub(super) fn path(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(&escaped(chunk.valid()));
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// Returns the name of an action, in lines and events.
pub(super) fn action(action: FileAction) -> &'static str {
    match action {
        FileAction::Created => "created",
        FileAction::Replaced => "replaced",
        FileAction::Adjusted => "adjusted",
        FileAction::Unchanged => "unchanged",
        FileAction::Skipped => "skipped",
        FileAction::Deleted => "deleted",
        FileAction::Vanished => "vanished",
        FileAction::Failed => "failed",
    }
}

/// Returns the name of a kind of file, in events.
pub(super) fn kind(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "file",
        FileKind::Folder => "folder",
        FileKind::Link => "link",
        FileKind::HardLink => "hard_link",
        FileKind::Other => "other",
    }
}

/// Returns what differed at the destination, by name.
pub(super) fn notes(notes: FileNotes) -> Vec<&'static str> {
    let all = [
        (FileNotes::SIZE, "size"),
        (FileNotes::TIME, "time"),
        (FileNotes::MODE, "mode"),
        (FileNotes::CONTENT, "content"),
        (FileNotes::GREW, "grew"),
        (FileNotes::SET_ID_DROPPED, "set_id_dropped"),
        (FileNotes::RESUMED, "resumed"),
        (FileNotes::OWNER, "owner"),
        (FileNotes::XATTRS, "xattrs"),
        (FileNotes::ACL, "acl"),
    ];
    all.into_iter().filter(|(note, _)| notes.contains(*note)).map(|(_, name)| name).collect()
}

/// Returns the name of the reason why nothing was deleted, in events.
pub(super) fn withheld_name(withheld: Withheld) -> &'static str {
    match withheld {
        Withheld::Incomplete => "incomplete",
        Withheld::EmptySource => "empty_source",
        Withheld::TooMany => "too_many",
        _ => "other",
    }
}

/// Returns why nothing was deleted, for people, and what to type. `said` is what the destination's end says of it.
pub(super) fn withheld(withheld: Withheld, said: Option<String>) -> (String, Option<&'static str>) {
    let (message, hint) = match withheld {
        Withheld::Incomplete => ("nothing was deleted, since not everything arrived", None),
        Withheld::EmptySource => {
            ("nothing was deleted, since the source has no file", Some(verdict::MAY_BE_EMPTY))
        }
        Withheld::TooMany => (
            "nothing was deleted, since there is more to delete than may be",
            Some("--dry-run lists what there is to delete; --max-delete N permits N entries."),
        ),
        _ => ("nothing was deleted", None),
    };
    (said.unwrap_or_else(|| message.to_owned()), hint)
}

/// From so many bytes on a rate says something of the link.
const WORTH_A_RATE: u64 = 64 * 1024;

/// Returns the line with all totals, such as `12 files sent (3.4 MiB), 1 failed; 2.3 s, 1.4 MiB/s`.
pub(super) fn totals(summary: &Summary, took: Duration, is_dry: bool, is_push: bool) -> String {
    let counts = &summary.counts;
    let sent = match (is_dry, is_push) {
        (true, true) => "would be sent",
        (true, false) => "would be fetched",
        (false, true) => "sent",
        (false, false) => "fetched",
    };
    // That nothing was deleted is a failure to both ends, and has a line of its own.
    let of_deletion = match summary.withheld {
        None | Some(Withheld::Incomplete) => 0,
        Some(_) => 1,
    };
    let noun = if counts.sent == 1 { "file" } else { "files" };
    let bytes = if is_dry { size(counts.bytes) } else { content(counts.bytes, summary.crossed) };
    let mut parts = vec![format!("{} {noun} {sent} ({bytes})", number(counts.sent))];
    let made = if counts.made == 1 { "folder or link made" } else { "folders and links made" };
    for (count, what) in [
        (counts.made, made),
        (counts.adjusted, "adjusted"),
        (counts.unchanged, "unchanged"),
        (counts.skipped, "newer and left"),
        (counts.vanished, "vanished"),
        (counts.deleted, "deleted"),
        (counts.failed.saturating_sub(of_deletion), "failed"),
    ] {
        if count > 0 {
            parts.push(format!("{} {what}", number(count)));
        }
    }
    let mut text = parts.join(", ");
    if summary.stopped {
        text.push_str("; stopped at the first failure");
    }
    if is_dry {
        return format!("dry run: {text}");
    }
    let tenths = took.as_millis() / 100;
    text.push_str(&format!("; {}.{} s", tenths / 10, tenths % 10));
    if let Some(rate) = rate(summary.crossed, took).filter(|_| summary.crossed >= WORTH_A_RATE) {
        text.push_str(&format!(", {}/s", size(rate)));
    }
    text
}

/// Returns the size of contents, and what crossed of them if that was less: parts were there, they were packed, or only
/// differences crossed.
fn content(bytes: u64, crossed: u64) -> String {
    match crossed < bytes / 10 * 9 {
        true => format!("{}, of which {} crossed", size(bytes), size(crossed)),
        false => size(bytes),
    }
}

/// Returns bytes a second; none for too short a time.
pub(super) fn rate(bytes: u64, took: Duration) -> Option<u64> {
    let millis = took.as_millis();
    let rate = (u128::from(bytes) * 1000).checked_div(millis)?;
    u64::try_from(rate).ok()
}

/// Returns a number with commas between its thousands.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short_and_never_larger_than_they_are() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (102_399, "99.9 KiB"),
            (102_400, "100 KiB"),
            (1_048_575, "1023 KiB"),
            (1_048_576, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn a_path_commands_no_terminal_and_hides_no_byte() {
        assert_eq!(path(b"a b/\xff\x1b[2K\n"), "a b/\\xff\\u{1b}[2K\\u{a}");
        assert_eq!(path("é".as_bytes()), "é");
        assert_eq!(path(b"\xe2\x80\xae.exe"), "\\u{202e}.exe");
    }

    #[test]
    fn numbers_have_commas() {
        assert_eq!(
            (number(0), number(999), number(1_000)),
            ("0".into(), "999".into(), "1,000".into())
        );
        assert_eq!(number(1_234_567), "1,234,567");
    }

    #[test]
    fn a_rate_takes_some_time() {
        assert_eq!(rate(1_000, Duration::from_secs(2)), Some(500));
        assert_eq!(rate(1_000, Duration::ZERO), None);
    }

    #[test]
    fn what_crossed_is_told_where_it_was_less() {
        assert_eq!(content(6 << 20, 8_313), "6.0 MiB, of which 8.1 KiB crossed");
        assert_eq!(content(6 << 20, 6 << 20), "6.0 MiB");
        assert_eq!(content(0, 0), "0 B");
    }

    #[test]
    fn notes_have_names() {
        let both = FileNotes::SIZE.with(FileNotes::GREW);
        assert_eq!(notes(both), ["size", "grew"]);
        assert_eq!(notes(FileNotes::default()), [""; 0]);
    }
}
