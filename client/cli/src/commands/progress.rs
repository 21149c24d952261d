//! Messages on standard error meanwhile: at a terminal the progress of the run, elsewhere only what happens
//! to connections.

use std::collections::HashMap;
use std::io::{self, IsTerminal as _};
use std::sync::Arc;
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
use crate::terminal;
use crate::text::{self, Tone};

/// The time between two states of the line.
const PAUSE: Duration = Duration::from_millis(100);
/// The control sequence that returns to the beginning of the line and clears it (ECMA-48: CR, EL).
const CLEAR: &str = "\r\x1b[K";

/// The messages of a run, and what they depend on.
pub(super) struct Progress {
    stderr: Feed,
    written: Written,
    verbosity: Verbosity,
    at_terminal: bool,
    /// True if a person is told the state: results that go to a terminal show by themselves how far it is.
    told: bool,
    /// True if it has a line, which is drawn again and again.
    drawn: bool,
    /// The time at which to draw it again, if it has changed.
    due: Option<Instant>,
    /// The connections of which something is, or may have to be, told.
    links: HashMap<Arc<str>, LinkNotices>,
    /// The time at which to look at them again.
    links_due: Option<Instant>,
}

impl Progress {
    /// Opens the writer. Must be called inside a tokio runtime.
    pub(super) fn open(verbosity: Verbosity) -> Self {
        let form = Form::Text { encoding: None, timestamps: false };
        let (stderr, written) = sink::open(Place::Stderr, render::text(form));
        let at_terminal = io::stderr().is_terminal();
        let told = at_terminal && !io::stdout().is_terminal() && verbosity > Verbosity::Quiet;
        let drawn = told && terminal::can_redraw(io::stderr());
        let (links, links_due) = (HashMap::new(), None);
        Self { stderr, written, verbosity, at_terminal, told, drawn, due: None, links, links_due }
    }

    /// Notes that a command ended.
    pub(super) fn handle_end(&mut self, now: Instant) {
        if self.drawn {
            self.due.get_or_insert(now + PAUSE);
        }
    }

    /// Takes a notice of a command. Its place in a queue interests nobody: others run.
    pub(super) fn handle_notice(&mut self, host: &Arc<str>, notice: &Notice, now: Instant) {
        if matches!(notice, Notice::Lost(_) | Notice::Resumed(_)) {
            let link = self.links.entry(Arc::clone(host)).or_default();
            let told = link.handle(notice, now);
            if link.is_calm() {
                self.links.remove(host);
            }
            self.note(host, told);
            self.look_again();
        }
    }

    /// Forgets a connection that is made anew, or no more.
    pub(super) fn forget(&mut self, host: &str) {
        if self.links.remove(host).is_some() {
            self.look_again();
        }
    }

    fn look_again(&mut self) {
        self.links_due = self.links.values().filter_map(LinkNotices::timeout).min();
    }

    /// Returns when to call [`Progress::handle_timeout`].
    pub(super) fn timeout(&self) -> Option<Instant> {
        self.due.into_iter().chain(self.links_due).min()
    }

    /// Notes that the time of [`Progress::timeout`] came.
    pub(super) fn handle_timeout(&mut self, tally: &Tally, now: Instant) {
        if self.links_due.is_some_and(|due| due <= now) {
            let told: Vec<_> = self
                .links
                .iter_mut()
                .filter_map(|(host, link)| Some((Arc::clone(host), link.handle_timeout(now)?)))
                .collect();
            told.into_iter().for_each(|(host, told)| self.note(&host, Some(told)));
            self.look_again();
        }
        if self.due.take_if(|due| *due <= now).is_some() {
            self.say(format!("{CLEAR}rcmd: {tally}"));
        }
    }

    /// Returns whether a person may read what is printed here.
    pub(super) fn is_at_terminal(&self) -> bool {
        self.at_terminal
    }

    /// Goes back to the beginning of the line where a terminal has echoed a key that was typed, such as `^C`.
    pub(super) fn cover_echo(&self) {
        if self.at_terminal && self.verbosity > Verbosity::Quiet {
            self.say("\r".to_owned());
        }
    }

    /// Prints a line about the run, unless quiet is wanted.
    pub(super) fn tell(&self, message: &str) {
        if self.verbosity > Verbosity::Quiet {
            self.line(Tone::Notice, message);
        }
    }

    /// Prints the last state, then these lines, and waits until all is written. With `-v` the state of one
    /// `host` is printed where no line shows it.
    pub(super) async fn finish(
        self,
        tally: &Tally,
        host: Option<&str>,
        lines: Vec<(Tone, String)>,
        last: Option<String>,
    ) {
        if self.drawn {
            self.wait(format!("{CLEAR}rcmd: {tally}\n")).await;
        } else if self.told {
            self.wait(format!("rcmd: {tally}\n")).await;
        } else if let Some(host) = host.filter(|_| self.verbosity == Verbosity::Verbose) {
            self.wait(text::line(Tone::Notice, &format!("{host}: {tally}"))).await;
        }
        for (tone, line) in lines {
            self.wait(text::line(tone, &line)).await;
        }
        if let Some(last) = last {
            self.wait(last).await;
        }
        drop(self.stderr);
        // That nobody reads standard error is no reason to fail.
        let _ = self.written.await;
    }

    fn note(&self, host: &str, note: Option<String>) {
        if let Some(note) = note {
            self.tell(&format!("{host}: {note}"));
        }
    }

    fn line(&self, tone: Tone, message: &str) {
        let line = text::line(tone, message);
        self.say(if self.drawn { format!("{CLEAR}{line}") } else { line });
    }

    async fn wait(&self, text: String) {
        // Whoever does not read standard error is told nothing.
        let _ = self.stderr.send(Piece::Note(text)).await;
    }

    /// Prints a text, or drops it if too much waits: nobody waits for a terminal that was stopped.
    fn say(&self, text: String) {
        let _ = self.stderr.try_send(Piece::Note(text));
    }
}
