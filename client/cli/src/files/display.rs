//! The thread that has standard output and standard error. It may wait for them; the hosts then wait with it, and
//! nothing grows.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rcmd_client::{ErrorKind, WireError};
use rcmd_transfer::{FileAction, FileNotes};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::events::{self, Of};
use super::live::{self, Rate};
use super::shown::{Account, Shown, ShownFile};
use super::sides::ShownSides;
use super::tally::HostTally;
use super::verdict::{self, HostEnd};
use super::words;
use crate::output::sink::Place;
use crate::settings::Verbosity;
use crate::settings::copy::{CopyRun, CopyShow};
use crate::terminal;
use crate::text::{self, Tone};

/// The messages that wait for the thread.
const WAITING: usize = 256;

/// The bytes of lines that are gathered before they are written.
const GATHER: usize = 64 * 1024;

/// The time that the live line has to go away before this process is stopped.
const HIDING: Duration = Duration::from_millis(100);

/// Erases the live line, which is drawn with the cursor back at its beginning.
const ERASE: &str = "\r\x1b[J";

/// The display, as those see it who feed it.
pub(super) struct Display {
    /// How far each host is.
    pub(super) tallies: Arc<[Arc<HostTally>]>,
    /// True if there is a live line, which time changes.
    pub(super) has_live: bool,
    failed: oneshot::Receiver<(Place, io::Error)>,
    ended: oneshot::Receiver<()>,
}

impl Display {
    /// Starts the thread. It ends when all that feed it are gone.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn open(run: &CopyRun) -> Result<(Self, mpsc::Sender<Shown>), WireError> {
        let (feed, shown) = mpsc::channel(WAITING);
        let (fail, failed) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let tallies: Arc<[_]> = run.hosts.iter().map(|_| Arc::new(HostTally::default())).collect();
        let is_terminal = |place: Place| terminal::is_terminal(place.descriptor());
        let stderr_is_terminal = is_terminal(Place::Stderr);
        let CopyShow { json, itemize, progress, verbosity } = run.show;
        let has_live = terminal::can_redraw(Place::Stderr.descriptor())
            && verbosity > Verbosity::Quiet
            && !json
            && (progress || !(itemize && is_terminal(Place::Stdout)));
        let worker = Worker {
            hosts: run.hosts.iter().map(|host| host.name.clone()).collect(),
            is_set: run.is_set,
            is_dry: run.options.dry_run,
            sides: ShownSides::of(run),
            withheld: HashMap::new(),
            has_reader: true,
            show: run.show,
            stdout_is_terminal: is_terminal(Place::Stdout),
            stderr_is_terminal,
            tallies: Arc::clone(&tallies),
            has_live,
            rate: Rate::default(),
            drawn: false,
            waiting: Vec::new(),
            fail: Some(fail),
        };
        let run = move || {
            worker.run(shown);
            drop(end);
        };
        thread::Builder::new().name("display".to_owned()).spawn(run).map_err(|error| {
            WireError::new(ErrorKind::Resources, format!("cannot start a thread: {error}"))
                .hint("Nothing was transferred; check the limits of this shell with `ulimit -a`.")
        })?;
        Ok((Self { tallies, has_live, failed, ended }, feed))
    }

    /// Waits for a place that can't be written. It comes once.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub(super) async fn failed(&mut self) -> Option<(Place, io::Error)> {
        (&mut self.failed).await.ok()
    }

    /// Ends the display, and waits until all that came before is shown.
    pub(super) async fn finish(self, feed: mpsc::Sender<Shown>) {
        // It fails if the display has ended. The sender of its end is dropped then.
        let _ = feed.send(Shown::Over).await;
        let _ = self.ended.await;
    }
}

/// Removes the live line, since this process is about to be stopped and the shell writes next. A display that waits
/// for a terminal is not waited for.
pub(super) async fn hide(feed: &mpsc::Sender<Shown>) {
    let (hide, hidden) = oneshot::channel();
    if feed.try_send(Shown::Suspended(hide)).is_ok() {
        let _ = timeout(HIDING, hidden).await;
    }
}

/// What the thread has.
struct Worker {
    hosts: Vec<String>,
    is_set: bool,
    is_dry: bool,
    sides: ShownSides,
    /// Why nothing was deleted, of hosts that have not ended.
    withheld: HashMap<usize, String>,
    /// False once the reader of standard output is gone: then nothing more is said.
    has_reader: bool,
    show: CopyShow,
    stdout_is_terminal: bool,
    stderr_is_terminal: bool,
    tallies: Arc<[Arc<HostTally>]>,
    has_live: bool,
    rate: Rate,
    /// True while the live line is on the screen.
    drawn: bool,
    /// Bytes for standard output.
    waiting: Vec<u8>,
    /// Where the first failure goes. After one of standard output nothing more is written there.
    fail: Option<oneshot::Sender<(Place, io::Error)>>,
}

impl Worker {
    fn run(mut self, mut shown: mpsc::Receiver<Shown>) {
        while let Some(next) = shown.blocking_recv().filter(|next| !matches!(next, Shown::Over)) {
            self.handle(next);
            if self.waiting.len() >= GATHER || shown.is_empty() {
                self.flush();
            }
        }
        self.flush();
        self.erase();
    }

    fn handle(&mut self, shown: Shown) {
        match shown {
            Shown::File { host, file } => self.file(host, &file),
            Shown::Note { host, text } if self.show.json => {
                let of = of(&self.hosts, self.is_set, Some(host));
                events::note(of, &text, &mut self.waiting);
            }
            Shown::Note { host, text } => self.notice(Some(host), &text),
            Shown::Ended { host, end, took } => self.end(host, &end, took),
            Shown::Account(account) => self.account(account),
            Shown::Tick => self.tick(),
            Shown::Over => {}
            Shown::Content(done) => {
                self.flush();
                self.erase();
                self.has_live = false;
                drop(done);
            }
            Shown::Suspended(done) => {
                self.flush();
                self.erase();
                drop(done);
            }
        }
    }

    fn file(&mut self, host: Option<usize>, file: &ShownFile) {
        if self.show.json {
            let of = of(&self.hosts, self.is_set, host);
            events::file(of, file, &mut self.waiting);
            return;
        }
        if let (Some(host), Some(why)) = (host, file.withheld()) {
            // The last line says it.
            self.withheld.insert(host, why.to_owned());
            return;
        }
        let is_listed =
            file.action != FileAction::Unchanged || self.show.verbosity == Verbosity::Verbose;
        if self.show.itemize && file.failure.is_none() && is_listed {
            let host = self.label(host, true);
            let notes = words::notes(file.notes);
            let notes =
                if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) };
            let (action, path) = (words::action(file.action), words::path(&file.path));
            self.waiting.extend(format!("{host}{action:<9} {path}{notes}\n").into_bytes());
        }
        let path = words::path(&file.path);
        if let Some(failure) = &file.failure
            && file.action != FileAction::Vanished
        {
            let name = host.and_then(|host| self.hosts.get(host)).map(String::as_str);
            let place = self.sides.of_failure(host, name, self.is_set, file);
            let as_user = self.sides.user_of_failure(host, file);
            let what = format!("{place}{path}: {} ({}{as_user})", failure.message, failure.kind);
            self.say(&text::line(Tone::Error, &what));
        }
        for (note, what) in [
            (FileNotes::GREW, "it grew while it was read; what was there at first was copied"),
            (FileNotes::SET_ID_DROPPED, "its setuid or setgid bit was not set"),
        ] {
            if file.notes.contains(note) && !self.is_dry {
                self.notice(host, &format!("{path}: {what}"));
            }
        }
    }

    fn end(&mut self, host: usize, end: &HostEnd, took: Duration) {
        if self.show.json {
            let of = of(&self.hosts, self.is_set, Some(host));
            events::end(of, end, self.is_dry, took, &mut self.waiting);
            return;
        }
        let why = self.withheld.remove(&host);
        if let Some(failure) = end.failure.as_ref().filter(|_| why.is_none()) {
            let is_of_host = self.is_set || !end.is_here;
            let name = self.hosts.get(host).map(String::as_str).filter(|_| is_of_host);
            let as_user = if end.is_here { String::new() } else { self.sides.user(host, failure) };
            self.say(&text::failure(name, &with_kind(failure, &as_user)));
        }
        let Some(summary) = &end.summary else { return };
        if self.stderr_is_terminal || self.is_dry || self.show.verbosity == Verbosity::Verbose {
            let totals = words::totals(summary, took, self.is_dry, self.sides.is_push);
            self.notice(Some(host), &totals);
        }
        if let Some(withheld) = summary.withheld {
            let (message, hint) = words::withheld(withheld, why);
            let message = format!("{}{message}", self.label(Some(host), false));
            self.say(&text::line(Tone::Error, &message));
            if let Some(hint) = hint {
                self.say(&text::line(Tone::Notice, &format!("hint: {hint}")));
            }
        }
    }

    fn account(&mut self, account: Account) {
        if self.show.json {
            events::account(account, &mut self.waiting);
            return;
        }
        let Account { done, failed, timed_out, not_started, unknown } = account;
        let total = done + failed + timed_out + not_started + unknown;
        let noun = if total == 1 { "host" } else { "hosts" };
        let mut text = format!("{total} {noun}: {done} done");
        for (count, what) in [
            (failed, "failed"),
            (timed_out, "timed out"),
            (not_started, "not started"),
            (unknown, "unknown"),
        ] {
            if count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        self.notice(None, &text);
    }

    /// Returns the host that a line begins with. A single host is named on standard error alone.
    fn label(&self, host: Option<usize>, on_stdout: bool) -> String {
        match host.and_then(|host| self.hosts.get(host)) {
            Some(name) if self.is_set || !on_stdout => format!("{name}: "),
            _ => String::new(),
        }
    }

    fn notice(&mut self, host: Option<usize>, what: &str) {
        if self.show.verbosity > Verbosity::Quiet {
            let host = self.label(host, false);
            self.say(&text::line(Tone::Notice, &format!("{host}{what}")));
        }
    }

    /// Writes a line to standard error, behind what stands before it on standard output.
    fn say(&mut self, line: &str) {
        self.flush();
        if !self.has_reader {
            return;
        }
        self.erase();
        // As for commands, nobody need read standard error.
        let _ = Place::Stderr.write_all(line.as_bytes(), self.stderr_is_terminal);
    }

    fn flush(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        if self.stdout_is_terminal {
            self.erase();
        }
        if self.fail.is_some()
            && let Err(error) = Place::Stdout.write_all(&self.waiting, self.stdout_is_terminal)
            && let Some(fail) = self.fail.take()
        {
            self.has_reader = error.kind() != io::ErrorKind::BrokenPipe;
            // Nobody listens after an interrupt.
            let _ = fail.send((Place::Stdout, error));
        }
        self.waiting.clear();
    }

    fn tick(&mut self) {
        if !self.has_live {
            return;
        }
        self.flush();
        let looks: Vec<_> = self.tallies.iter().map(|tally| tally.look()).collect();
        let crossed = looks.iter().map(|look| look.progress.crossed).sum();
        let rate = self.rate.note(crossed, Instant::now());
        let hosts: Vec<_> = self.hosts.iter().map(String::as_str).zip(looks).collect();
        let line = live::line(&hosts, rate, terminal::columns(Place::Stderr.descriptor()));
        // Drawn anew in one write, so that it does not flicker.
        let _ = Place::Stderr.write_all(format!("{ERASE}{line}\r").as_bytes(), true);
        self.drawn = true;
    }

    fn erase(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let _ = Place::Stderr.write_all(ERASE.as_bytes(), true);
        }
    }
}

/// Returns a failure whose message has its kind, if it is that of a path, as the lines of files do.
fn with_kind(failure: &WireError, as_user: &str) -> WireError {
    match verdict::is_of_a_file(failure) {
        true => {
            let message = format!("{} ({}{as_user})", failure.message, failure.kind);
            WireError { message, ..failure.clone() }
        }
        false => failure.clone(),
    }
}

/// Returns the host of an event.
fn of(hosts: &[String], is_set: bool, host: Option<usize>) -> Of<'_> {
    let name = host.and_then(|host| hosts.get(host)).map(String::as_str);
    Of { host: name, index: host.filter(|_| is_set) }
}
