//! One command of many: run to its end, with the beginning of its output kept.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcmd_client::fleet::Stop;
use rcmd_client::{
    Child, ChildStdout, Command, ErrorKind, Notice, Outcome, Report, Signal, Started, WireError,
};
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::output::json::unfinished;
use crate::session::not_started;
use crate::signals::interrupts::until;

/// A command that ended.
#[derive(Debug)]
pub(super) struct Done {
    /// The place of its command among all, from 0.
    pub(super) place: u64,
    /// The number of the line of its command, from 1.
    pub(super) line: u64,
    /// The place of its host among those of the line, from 0; none where there is one host, or nobody can
    /// tell.
    pub(super) index: Option<usize>,
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

/// A word to all commands that run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// No further command begins, wherever it waits.
    Stop,
    /// The running commands are sent this signal.
    Signal(Signal),
    /// The running commands are killed.
    Kill,
}

/// The run's end of the channels to commands that run.
pub(super) struct Controls {
    /// The last word to all that run.
    told: watch::Sender<Option<Told>>,
    /// Notices of connections, with the name of the host.
    notices: mpsc::Sender<(Arc<str>, Notice)>,
    /// True if a command whose host does not confirm its end has a result.
    each_ends: bool,
}

impl Controls {
    /// Returns controls of nothing yet. With `each_ends` a command that was killed ends as unknown if its
    /// host does not confirm that.
    pub(super) fn new(notices: mpsc::Sender<(Arc<str>, Notice)>, each_ends: bool) -> Self {
        Self { told: watch::channel(None).0, notices, each_ends }
    }

    /// Returns the ends of one command.
    pub(super) fn handles(&self) -> Handles {
        let (told, notices) = (self.told.subscribe(), self.notices.clone());
        Handles { told, notices, each_ends: self.each_ends }
    }

    /// Sends a word to all that run.
    pub(super) fn tell(&self, told: Told) {
        self.told.send_replace(Some(told));
    }
}

/// A command's end of the channels to the run.
pub(super) struct Handles {
    told: watch::Receiver<Option<Told>>,
    notices: mpsc::Sender<(Arc<str>, Notice)>,
    each_ends: bool,
}

/// Runs a command to its end and keeps at most `most` bytes of each stream; all are read.
pub(super) async fn carry_out(
    host: &Arc<str>,
    mut command: Command,
    most: usize,
    handles: Handles,
) -> (Report, Kept, Kept) {
    let mut child = match command.spawn().await {
        Ok(child) => child,
        Err(failure) => return (not_started(host, failure), Kept::default(), Kept::default()),
    };
    drop(command);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (mut out, mut err) = (Kept::default(), Kept::default());
    // Of a host that is waited for no more the output is what came until then.
    let mut report = {
        let watched = attend(host, child, handles);
        let kept =
            async { tokio::join!(keep(stdout, most, &mut out), keep(stderr, most, &mut err)) };
        let mut kept = std::pin::pin!(kept);
        let mut watched = std::pin::pin!(watched);
        tokio::select! {
            (report, confirmed) = &mut watched => {
                if confirmed {
                    kept.await;
                }
                report
            }
            _ = &mut kept => watched.await.0,
        }
    };
    report.truncated |= out.cut || err.cut;
    (report, out, err)
}

/// Stays with a command until its end, and returns whether its host confirmed it.
async fn attend(host: &Arc<str>, mut child: Child, mut handles: Handles) -> (Report, bool) {
    let mut notices = child.notices();
    let (mut started, mut job) = (false, None);
    let (mut stopped, mut waits, mut called_off) = (false, false, false);
    let mut last_word = None;
    loop {
        tokio::select! {
            next = next(&mut child, started) => match next {
                Next::Started(now) => {
                    started = true;
                    job = now.map(|now| now.job);
                }
                Next::Ended(report) if called_off => return (held_back(*report), true),
                Next::Ended(report) => return (*report, true),
            },
            Some(notice) = notices.next() => {
                waits |= matches!(notice, Notice::Queued(_) | Notice::Busy(_));
                // Those that the connection is told of by many; one that gets through does.
                let _ = handles.notices.try_send((Arc::clone(host), notice));
            }
            Ok(()) = handles.told.changed() => {
                let told = *handles.told.borrow_and_update();
                // Over many hosts a signal begins nothing more either, and may have come before the word
                // that says so was heard.
                stopped |= told == Some(Told::Stop) || told.is_some() && handles.each_ends;
                match told {
                    Some(Told::Signal(signal)) => child.signal(signal),
                    Some(Told::Kill) => {
                        child.cancel();
                        last_word = Instant::now().checked_add(Child::LAST_WORD);
                        last_word = last_word.filter(|_| handles.each_ends);
                    }
                    Some(Told::Stop) | None => {}
                }
            }
            () = until(last_word) => return (Report::unconfirmed(host, job), false),
        }
        if stopped && waits && !started && !called_off {
            called_off = true;
            child.cancel();
        }
    }
}

/// The next step of a command.
enum Next {
    /// The start, or none if it will end without one.
    Started(Option<Started>),
    Ended(Box<Report>),
}

/// Waits for the end of a command, or for its start before that.
///
/// # Cancel safety
/// Nothing is lost when it is dropped.
async fn next(child: &mut Child, started: bool) -> Next {
    match started {
        true => Next::Ended(Box::new(child.wait().await)),
        false => Next::Started(child.started().await),
    }
}

/// Returns the report of a command that was called off while it waited for its turn there.
fn held_back(report: Report) -> Report {
    let kind = report.error.as_ref().map(|error| error.kind);
    match (report.outcome, kind) {
        // What its host refused meanwhile it refused.
        (Outcome::NotStarted, None | Some(ErrorKind::Busy | ErrorKind::Lost)) => {
            Report { error: Some(interrupted()), ..report }
        }
        _ => report,
    }
}

/// Returns why a command has not begun that an interrupt came before.
pub(super) fn interrupted() -> WireError {
    WireError::new(ErrorKind::HeldBack, Stop::Caller.why())
}

async fn keep(stream: Option<ChildStdout>, most: usize, kept: &mut Kept) {
    let Some(mut stream) = stream else { return };
    while let Some(chunk) = stream.chunk().await {
        let room = most - kept.bytes.len();
        kept.cut |= chunk.bytes.len() > room;
        kept.bytes.extend_from_slice(chunk.bytes.get(..room).unwrap_or(&chunk.bytes));
    }
}

impl Kept {
    /// Returns the bytes as text, or in base64 if they are no text, and the name of the encoding.
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
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    #[serde(flatten)]
    report: &'a Report,
    stdout: String,
    stdout_encoding: &'static str,
    stderr: String,
    stderr_encoding: &'static str,
}

impl Done {
    /// Returns the end of a command that was not sent.
    pub(super) fn not_started(place: u64, line: u64, index: Option<usize>, report: Report) -> Self {
        let (stdout, stderr) = (Kept::default(), Kept::default());
        Self { place, line, index, report, stdout, stderr }
    }

    /// Returns the result object with its line and output, as one line of JSON.
    pub(super) fn record(&self) -> String {
        let (stdout, stdout_encoding) = self.stdout.encoded();
        let (stderr, stderr_encoding) = self.stderr.encoded();
        let Self { line, index, report, .. } = self;
        let (line, index) = (*line, *index);
        let record =
            Record { line, index, report, stdout, stdout_encoding, stderr, stderr_encoding };
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
        let mut done = Done::not_started(0, 7, None, report);
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
