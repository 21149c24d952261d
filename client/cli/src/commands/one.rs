//! One command of many: run to its end, with the beginning of its output kept.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcmd_client::{ChildStdout, Command, Notice, Report};
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use crate::output::json::unfinished;
use crate::session::not_started;
use crate::signals::Action;

/// A command that ended.
#[derive(Debug)]
pub(super) struct Done {
    /// Which command of all it was, from 0.
    pub(super) place: u64,
    /// Its line, from 1.
    pub(super) line: u64,
    pub(super) report: Report,
    pub(super) stdout: Kept,
    pub(super) stderr: Kept,
}

/// The beginning of a stream.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) bytes: Vec<u8>,
    pub(super) cut: bool,
}

/// What the run of all commands has of those that run.
pub(super) struct Controls {
    /// What is to be done about all that run, from now on.
    pub(super) actions: watch::Sender<Option<Action>>,
    /// What happens to the connection.
    pub(super) notices: mpsc::Sender<Notice>,
}

impl Controls {
    /// Returns the ends of one command.
    pub(super) fn handles(&self) -> Handles {
        Handles { actions: self.actions.subscribe(), notices: self.notices.clone() }
    }

    /// Has all that run signalled or killed.
    pub(super) fn act(&self, action: Action) {
        self.actions.send_replace(Some(action));
    }
}

/// What reaches a command that runs, and what comes of it.
pub(super) struct Handles {
    /// What is to be done about all that run, from now on.
    pub(super) actions: watch::Receiver<Option<Action>>,
    /// What happens to the connection.
    pub(super) notices: mpsc::Sender<Notice>,
}

/// Runs a command to its end and keeps at most `most` bytes of each stream; all are read.
pub(super) async fn carry_out(
    host: &str,
    mut command: Command,
    most: usize,
    mut handles: Handles,
) -> (Report, Kept, Kept) {
    let mut child = match command.spawn().await {
        Ok(child) => child,
        Err(failure) => return (not_started(host, failure), Kept::default(), Kept::default()),
    };
    drop(command);
    let mut notices = child.notices();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let kept = async { tokio::join!(keep(stdout, most), keep(stderr, most)) };
    let watched = async {
        loop {
            tokio::select! {
                report = child.wait() => return report,
                Some(notice) = notices.next() => {
                    // Those that the connection is told of by many; one that gets through does.
                    let _ = handles.notices.try_send(notice);
                }
                Ok(()) = handles.actions.changed() => match *handles.actions.borrow_and_update() {
                    Some(Action::Pass(signal)) => child.signal(signal),
                    Some(Action::Kill) => child.cancel(),
                    Some(Action::GiveUp(_)) | None => {}
                },
            }
        }
    };
    let ((stdout, stderr), mut report) = tokio::join!(kept, watched);
    report.truncated |= stdout.cut || stderr.cut;
    (report, stdout, stderr)
}

async fn keep(stream: Option<ChildStdout>, most: usize) -> Kept {
    let mut kept = Kept::default();
    let Some(mut stream) = stream else { return kept };
    while let Some(chunk) = stream.chunk().await {
        let room = most - kept.bytes.len();
        kept.cut |= chunk.bytes.len() > room;
        kept.bytes.extend_from_slice(chunk.bytes.get(..room).unwrap_or(&chunk.bytes));
    }
    kept
}

impl Kept {
    /// As text where it is text, else as base64; and which.
    fn encoded(&self) -> (String, &'static str) {
        // Where we cut, half a character is none of the command's doing.
        let half = if self.cut { unfinished(&self.bytes) } else { 0 };
        let whole = self.bytes.len() - half;
        match self.bytes.get(..whole).map(str::from_utf8) {
            Some(Ok(text)) => (text.to_owned(), "utf-8"),
            _ => (STANDARD.encode(&self.bytes), "base64"),
        }
    }
}

#[derive(Serialize)]
struct Record<'a> {
    line: u64,
    #[serde(flatten)]
    report: &'a Report,
    stdout: String,
    stdout_encoding: &'static str,
    stderr: String,
    stderr_encoding: &'static str,
}

impl Done {
    /// A command that could not even be sent.
    pub(super) fn not_started(place: u64, line: u64, report: Report) -> Self {
        Self { place, line, report, stdout: Kept::default(), stderr: Kept::default() }
    }

    /// The result object with its line and output, as one line of JSON.
    pub(super) fn record(&self) -> String {
        let (stdout, stdout_encoding) = self.stdout.encoded();
        let (stderr, stderr_encoding) = self.stderr.encoded();
        let (line, report) = (self.line, &self.report);
        let record = Record { line, report, stdout, stdout_encoding, stderr, stderr_encoding };
        // Into memory, and with keys that are text: this can't fail.
        let mut text = serde_json::to_string(&record).unwrap_or_default();
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use rcmd_client::{ErrorKind, WireError};
    use serde_json::Value;

    use super::*;

    fn encoded(bytes: &[u8], cut: bool) -> (String, &'static str) {
        Kept { bytes: bytes.to_vec(), cut }.encoded()
    }

    #[test]
    fn output_is_text_or_base64_and_never_lossy() {
        assert_eq!(
            encoded("磁盘\u{1b}[2J\n".as_bytes(), false),
            ("磁盘\u{1b}[2J\n".into(), "utf-8")
        );
        assert_eq!(encoded(b"\xff\0", false), ("/wA=".into(), "base64"));
        assert_eq!(encoded(b"ab\xe7\xa3", false), ("YWLnow==".into(), "base64"));
    }

    #[test]
    fn a_cut_within_a_character_leaves_text_what_was_text() {
        assert_eq!(encoded(b"ab\xe7\xa3", true), ("ab".into(), "utf-8"));
        assert_eq!(encoded(b"a\xffb\xe7", true), ("Yf9i5w==".into(), "base64"));
    }

    #[test]
    fn a_record_is_the_result_object_in_one_line() {
        let report = not_started("web1", WireError::new(ErrorKind::Usage, "no\ncommand"));
        let expected = serde_json::to_value(&report).unwrap();
        let mut done = Done::not_started(0, 7, report);
        done.stdout.bytes = b"a\nb\r\x1b".to_vec();
        let text = done.record();
        let (line, end) = text.split_at(text.len() - 1);
        assert!(end == "\n" && !line.chars().any(char::is_control), "{line:?}");
        let mut record: Value = serde_json::from_str(line).unwrap();
        let record = record.as_object_mut().unwrap();
        assert_eq!(record.remove("line").unwrap(), 7);
        assert_eq!(record.remove("stdout").unwrap(), "a\nb\r\u{1b}");
        assert_eq!(record.remove("stderr").unwrap(), "");
        assert_eq!(record.remove("stdout_encoding").unwrap(), "utf-8");
        assert_eq!(record.remove("stderr_encoding").unwrap(), "utf-8");
        assert_eq!(Value::Object(record.clone()), expected);
    }
}
