//! `--json`: one event on each line.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcmd_client::{Report, WireError};
use rcmd_transfer::{Failure, Summary};
use serde::Serialize;

use super::shown::{Account, ShownFile};
use super::verdict::HostEnd;
use super::words;
use crate::output::safe_json;

/// The host of an event, and its place in a set.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Of<'a> {
    pub(super) host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) index: Option<usize>,
}

#[derive(Serialize)]
struct Event<'a, B> {
    event: &'a str,
    #[serde(flatten)]
    of: Of<'a>,
    #[serde(flatten)]
    body: B,
}

#[derive(Serialize)]
struct FileBody<'a> {
    path: Cow<'a, str>,
    path_encoding: &'static str,
    kind: &'static str,
    action: &'static str,
    bytes: u64,
    digest: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<FileError<'a>>,
}

#[derive(Serialize)]
struct FileError<'a> {
    kind: &'static str,
    message: &'a str,
}

#[derive(Serialize)]
struct NoteBody<'a> {
    data: &'a str,
    encoding: &'static str,
}

#[derive(Serialize)]
struct EndBody<'a> {
    status: u8,
    /// Nothing was changed: the totals say what would be.
    dry_run: bool,
    totals: Option<Totals>,
    error: Option<&'a WireError>,
    duration_ms: u64,
    result: &'a Report,
}

#[derive(Serialize)]
struct Totals {
    sent: u64,
    bytes: u64,
    made: u64,
    adjusted: u64,
    unchanged: u64,
    skipped: u64,
    vanished: u64,
    deleted: u64,
    failed: u64,
    /// Bytes of content that crossed the link.
    crossed: u64,
    digest: String,
    stopped: bool,
    /// Why nothing was deleted.
    withheld: Option<&'static str>,
}

#[derive(Serialize)]
struct AccountBody {
    event: &'static str,
    exited: usize,
    failed: usize,
    timed_out: usize,
    not_started: usize,
    unknown: usize,
    total: usize,
}

/// Appends the event of a file.
pub(super) fn file(of: Of<'_>, file: &ShownFile, out: &mut Vec<u8>) {
    let (path, path_encoding) = text(&file.path);
    let body = FileBody {
        path,
        path_encoding,
        kind: words::kind(file.kind),
        action: words::action(file.action),
        bytes: file.bytes,
        digest: file.digest.map(blake3_name),
        notes: words::notes(file.notes),
        error: file.failure.as_ref().map(of_failure),
    };
    put(&Event { event: "file", of, body }, out);
}

/// Appends a note.
pub(super) fn note(of: Of<'_>, data: &str, out: &mut Vec<u8>) {
    put(&Event { event: "note", of, body: NoteBody { data, encoding: "utf-8" } }, out);
}

/// Appends the end of one host.
pub(super) fn end(of: Of<'_>, end: &HostEnd, dry_run: bool, took: Duration, out: &mut Vec<u8>) {
    let body = EndBody {
        status: end.status,
        dry_run,
        totals: end.summary.as_ref().map(totals),
        error: end.failure.as_ref(),
        duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        result: &end.report,
    };
    put(&Event { event: "end", of, body }, out);
}

/// Appends the account of a set.
pub(super) fn account(account: Account, out: &mut Vec<u8>) {
    let Account { done, failed, timed_out, not_started, unknown } = account;
    let body = AccountBody {
        event: "summary",
        exited: done,
        failed,
        timed_out,
        not_started,
        unknown,
        total: done + failed + timed_out + not_started + unknown,
    };
    put(&body, out);
}

fn put(event: &impl Serialize, out: &mut Vec<u8>) {
    // Writing to memory with text as keys does not fail.
    if safe_json::append(out, event).is_ok() {
        out.push(b'\n');
    }
}

/// Returns bytes as text, or in base64 where they are none.
fn text(bytes: &[u8]) -> (Cow<'_, str>, &'static str) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Cow::Borrowed(text), "utf-8"),
        Err(_) => (Cow::Owned(STANDARD.encode(bytes)), "base64"),
    }
}

fn blake3_name(digest: [u8; 32]) -> String {
    format!("blake3:{}", blake3::Hash::from_bytes(digest).to_hex())
}

fn of_failure(failure: &Failure) -> FileError<'_> {
    FileError { kind: failure.kind.name(), message: &failure.message }
}

fn totals(summary: &Summary) -> Totals {
    let counts = summary.counts;
    Totals {
        sent: counts.sent,
        bytes: counts.bytes,
        made: counts.made,
        adjusted: counts.adjusted,
        unchanged: counts.unchanged,
        skipped: counts.skipped,
        vanished: counts.vanished,
        deleted: counts.deleted,
        failed: counts.failed,
        crossed: summary.crossed,
        digest: blake3_name(summary.digest),
        stopped: summary.stopped,
        withheld: summary.withheld.map(words::withheld_name),
    }
}

#[cfg(test)]
mod tests {
    use rcmd_client::ErrorKind;
    use rcmd_transfer::{EventOrigin, FailureKind, FileAction, FileKind, FileNotes};
    use serde_json::{Value, json};

    use super::*;

    fn read(out: &[u8]) -> Value {
        let text = std::str::from_utf8(out).unwrap();
        assert!(text.ends_with('\n') && text.matches('\n').count() == 1, "{text:?}");
        serde_json::from_str(text).unwrap()
    }

    fn shown(path: &[u8]) -> ShownFile {
        ShownFile {
            path: path.to_vec(),
            kind: FileKind::File,
            origin: EventOrigin::Announced,
            action: FileAction::Created,
            bytes: 3,
            digest: Some([0xab; 32]),
            notes: FileNotes::default(),
            failure: None,
        }
    }

    #[test]
    fn a_file_has_the_contracts_fields() {
        let (mut out, of) = (Vec::new(), Of { host: Some("web1"), index: None });
        file(of, &shown(b"d/a\n"), &mut out);
        let expected = json!({
            "event": "file", "host": "web1", "path": "d/a\n", "path_encoding": "utf-8",
            "kind": "file", "action": "created", "bytes": 3,
            "digest": format!("blake3:{}", "ab".repeat(32)),
        });
        assert_eq!(read(&out), expected);
    }

    #[test]
    fn a_path_that_is_no_text_is_base64_and_a_failure_has_its_kind() {
        let failure = Failure { kind: FailureKind::NoSpace, message: "full".to_owned() };
        let file_shown = ShownFile {
            failure: Some(failure),
            action: FileAction::Failed,
            digest: None,
            notes: FileNotes::GREW,
            ..shown(b"\xff")
        };
        let mut out = Vec::new();
        file(Of { host: Some("web1"), index: Some(4) }, &file_shown, &mut out);
        let event = read(&out);
        assert_eq!((&event["path"], &event["path_encoding"]), (&json!("/w=="), &json!("base64")));
        assert_eq!(event["error"], json!({"kind": "no_space", "message": "full"}));
        assert_eq!((&event["digest"], &event["index"]), (&Value::Null, &json!(4)));
        assert_eq!(event["notes"], json!(["grew"]));
    }

    #[test]
    fn no_event_commands_a_terminal() {
        let text = "\u{9b}2K\u{202e}\u{1b}]0;x\u{7}";
        let failure = Failure { kind: FailureKind::Io, message: text.to_owned() };
        let named = ShownFile { failure: Some(failure), ..shown(text.as_bytes()) };
        let (mut out, of) = (Vec::new(), Of { host: Some("web1"), index: None });
        file(of, &named, &mut out);
        note(of, text, &mut out);
        let line = String::from_utf8(out).unwrap();
        assert!(line.chars().all(|one| one == '\n' || rcmd_certs::text::is_safe(one)), "{line:?}");
        let event = read(line.lines().next().map(|line| format!("{line}\n")).unwrap().as_bytes());
        assert_eq!((&event["path"], &event["error"]["message"]), (&json!(text), &json!(text)));
    }

    #[test]
    fn an_end_without_totals_says_so() {
        let failure = WireError::new(ErrorKind::Unreachable, "no");
        let mut out = Vec::new();
        let of = Of { host: Some("web1"), index: None };
        end(of, &HostEnd::unreached("web1", failure), true, Duration::from_millis(7), &mut out);
        let event = read(&out);
        assert_eq!((&event["event"], &event["totals"]), (&json!("end"), &Value::Null));
        assert_eq!((&event["status"], &event["duration_ms"]), (&json!(125), &json!(7)));
        assert_eq!(
            (&event["dry_run"], &event["result"]["outcome"]),
            (&json!(true), &json!("not_started"))
        );
    }

    #[test]
    fn the_account_adds_up() {
        let mut out = Vec::new();
        let counts = Account { done: 3, failed: 1, timed_out: 0, not_started: 2, unknown: 1 };
        account(counts, &mut out);
        let expected = json!({
            "event": "summary", "exited": 3, "failed": 1, "timed_out": 0, "not_started": 2,
            "unknown": 1, "total": 7,
        });
        assert_eq!(read(&out), expected);
    }
}
