//! What a person is told on standard error meanwhile: at a terminal how far it is, else only what
//! happens to the connection.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use rcmd_client::Notice;
use tokio::time::Instant;

use super::tally::Tally;
use crate::notices::LinkNotices;
use crate::output::Form;
use crate::output::piece::Piece;
use crate::output::render;
use crate::output::sink::{self, Feed, Place, Written};
use crate::settings::Verbosity;
use crate::text::{self, Tone};

/// Between two states of the line.
const PAUSE: Duration = Duration::from_millis(100);
/// Back to the beginning of the line, and nothing on it (ECMA-48: CR, EL).
const CLEAR: &str = "\r\x1b[K";

/// What is told.
pub(super) struct Progress {
    stderr: Feed,
    written: Written,
    host: String,
    verbosity: Verbosity,
    /// Whether the state has a line: results that go to a terminal show by themselves how far it
    /// is.
    drawn: bool,
    /// When to draw it again, if it has changed.
    due: Option<Instant>,
    notices: LinkNotices,
}

impl Progress {
    /// Opens the writer. Must be called inside a tokio runtime.
    pub(super) fn open(host: &str, verbosity: Verbosity) -> Self {
        let form = Form::Text { encoding: None, timestamps: false };
        let (stderr, written) = sink::open(Place::Stderr, render::text(form));
        let terminal = io::stderr().is_terminal() && !io::stdout().is_terminal();
        let drawn = terminal && verbosity > Verbosity::Quiet;
        let (host, notices) = (host.to_owned(), LinkNotices::default());
        Self { stderr, written, host, verbosity, drawn, due: None, notices }
    }

    /// Notes that a command ended.
    pub(super) fn handle_end(&mut self, now: Instant) {
        if self.drawn {
            self.due.get_or_insert(now + PAUSE);
        }
    }

    /// Takes a notice of a command. Its place in a queue interests nobody: others run.
    pub(super) fn handle_notice(&mut self, notice: &Notice, now: Instant) {
        if matches!(notice, Notice::Lost(_) | Notice::Resumed(_)) {
            let notices = self.notices.handle(notice, now);
            self.note(notices);
        }
    }

    /// When to call [`Progress::handle_timeout`].
    pub(super) fn timeout(&self) -> Option<Instant> {
        self.due.into_iter().chain(self.notices.timeout()).min()
    }

    /// The time of [`Progress::timeout`] came.
    pub(super) fn handle_timeout(&mut self, tally: &Tally, now: Instant) {
        let notices = self.notices.handle_timeout(now);
        self.note(notices);
        if self.due.take_if(|due| *due <= now).is_some() {
            self.say(format!("{CLEAR}rcmd: {tally}"));
        }
    }

    /// Prints the last state, and waits until all is written.
    pub(super) async fn finish(self, tally: &Tally) {
        if self.drawn {
            self.say(format!("{CLEAR}rcmd: {tally}\n"));
        } else if self.verbosity == Verbosity::Verbose {
            self.say(text::line(Tone::Notice, &format!("{}: {tally}", self.host)));
        }
        drop(self.stderr);
        // That nobody reads standard error is no reason to fail.
        let _ = self.written.await;
    }

    fn note(&mut self, note: Option<String>) {
        let Some(note) = note.filter(|_| self.verbosity > Verbosity::Quiet) else { return };
        let line = text::line(Tone::Notice, &format!("{}: {note}", self.host));
        self.say(if self.drawn { format!("{CLEAR}{line}") } else { line });
    }

    /// Nobody waits for a terminal that was stopped: what finds no place is not told.
    fn say(&self, text: String) {
        let _ = self.stderr.try_send(Piece::Note(text));
    }
}
