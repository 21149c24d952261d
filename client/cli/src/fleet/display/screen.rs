//! Standard output and standard error together, and the live line below what they show.
//!
//! Bytes that are put here are gathered and written in large pieces. The two are written in the order in which
//! they were used: where both go to one place, their lines stand in that order.

use std::io::{self, Write};

use super::place::{Failures, Place};
use super::standing::Standing;
use crate::output::sink;
use crate::terminal;

/// Bytes that are gathered before they are written.
const GATHER: usize = 64 * 1024;

/// Erases from the cursor to the end of the screen (ECMA-48: ED). The live line is drawn with the cursor
/// back at its beginning, so that this erases all of it also after the terminal became narrower and
/// broke it into rows.
const ERASE: &str = "\r\x1b[J";

/// The kind of place that a screen is.
pub(super) struct Look {
    /// True if a terminal reads the screen, and control characters would be obeyed.
    pub(super) terminal: bool,
    /// True if colours are wanted.
    pub(super) colour: bool,
    /// Returns how many columns there are now.
    pub(super) columns: Box<dyn Fn() -> usize + Send>,
}

/// Standard output or standard error.
pub(super) struct Screen {
    pub(super) look: Look,
    out: Box<dyn Write + Send>,
    waiting: Vec<u8>,
    /// True if a write has failed; nothing more is written then.
    broken: bool,
}

impl Screen {
    /// Returns a screen that writes there.
    pub(super) fn new(look: Look, out: Box<dyn Write + Send>) -> Self {
        Self { look, out, waiting: Vec::new(), broken: false }
    }

    /// Returns the real one. Its writes block.
    pub(super) fn real(place: sink::Place) -> Self {
        let terminal = terminal::is_terminal(place.descriptor());
        let colour = match place {
            sink::Place::Stdout => terminal::has_colour(&io::stdout()),
            sink::Place::Stderr => terminal::has_colour(&io::stderr()),
        };
        let columns = move || terminal::columns(place.descriptor());
        let look = Look { terminal, colour, columns: Box::new(columns) };
        Self::new(look, Box::new(Blocking { place, terminal }))
    }
}

/// Writes to a descriptor, and waits for it.
struct Blocking {
    place: sink::Place,
    terminal: bool,
}

impl Write for Blocking {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.place.write_all(bytes, self.terminal)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The screens of standard output and standard error, and the live line.
pub(super) struct Screens {
    stdout: Screen,
    stderr: Screen,
    failures: Failures,
    /// True if there may be a live line.
    has_live: bool,
    /// The state that the live line shows, and the name of the target that runs longest.
    live: Option<(Standing, String)>,
    /// The live line as it is on the screen; none if it is not there.
    drawn: Option<String>,
}

impl Screens {
    /// Returns both; `has_live` asks for a live line, which only a terminal gets.
    pub(super) fn new(stdout: Screen, stderr: Screen, has_live: bool, failures: Failures) -> Self {
        let has_live = has_live && stderr.look.terminal;
        Self { stdout, stderr, failures, has_live, live: None, drawn: None }
    }

    /// Returns what kind of place it is.
    pub(super) fn look(&self, place: sink::Place) -> &Look {
        match place {
            sink::Place::Stdout => &self.stdout.look,
            sink::Place::Stderr => &self.stderr.look,
        }
    }

    /// Writes bytes, in time.
    pub(super) fn put(&mut self, place: sink::Place, bytes: &[u8]) {
        let (screen, other, other_place) = match place {
            sink::Place::Stdout => (&mut self.stdout, &mut self.stderr, sink::Place::Stderr),
            sink::Place::Stderr => (&mut self.stderr, &mut self.stdout, sink::Place::Stdout),
        };
        if screen.broken {
            return;
        }
        let waits = !other.waiting.is_empty();
        screen.waiting.extend_from_slice(bytes);
        let full = screen.waiting.len() >= GATHER;
        if waits {
            self.write(other_place);
        }
        if full {
            self.write(place);
        }
    }

    /// Writes what waits for one of them.
    fn write(&mut self, place: sink::Place) {
        // What goes elsewhere does not touch the line.
        if place == sink::Place::Stderr || self.stdout.look.terminal {
            self.erase();
        }
        let screen = match place {
            sink::Place::Stdout => &mut self.stdout,
            sink::Place::Stderr => &mut self.stderr,
        };
        if let Err(error) = screen.out.write_all(&screen.waiting) {
            screen.broken = true;
            self.failures.tell(Place::Screen(place), error);
        }
        screen.waiting.clear();
        // One long line must not keep its room for ever.
        screen.waiting.shrink_to(2 * GATHER);
    }

    /// Sets the live line, with the name of the target that runs longest; [`Screens::settle`] draws it.
    pub(super) fn show(&mut self, standing: Standing, name: &str) {
        if !self.has_live {
            return;
        }
        self.live = Some((standing, name.to_owned()));
        if self.drawn.is_some() && self.drawn != self.line() {
            self.erase();
        }
    }

    /// Returns the live line for the window as it is now: one that was made for a wider window would take
    /// several rows, of which only the last could be erased.
    fn line(&self) -> Option<String> {
        let (standing, name) = self.live.as_ref()?;
        Some(standing.line(name, (self.stderr.look.columns)()))
    }

    /// Writes all that waits, and draws the live line if it is not there.
    pub(super) fn settle(&mut self) {
        for place in [sink::Place::Stdout, sink::Place::Stderr] {
            if !self.waiting(place).is_empty() {
                self.write(place);
            }
        }
        if self.drawn.is_some() || self.stderr.broken {
            return;
        }
        if let Some(line) = self.line() {
            self.draw(&format!("{line}\r"));
            self.drawn = Some(line);
        }
    }

    /// Writes all that waits, and takes the live line away until it is shown again.
    pub(super) fn hide_live(&mut self) {
        self.live = None;
        self.settle();
        self.erase();
    }

    /// Writes all that waits, and ends the live line for good.
    pub(super) fn end_live(&mut self) {
        self.has_live = false;
        self.hide_live();
    }

    fn waiting(&self, place: sink::Place) -> &[u8] {
        match place {
            sink::Place::Stdout => &self.stdout.waiting,
            sink::Place::Stderr => &self.stderr.waiting,
        }
    }

    fn erase(&mut self) {
        if self.drawn.take().is_some() {
            self.draw(ERASE);
        }
    }

    fn draw(&mut self, text: &str) {
        if let Err(error) = self.stderr.out.write_all(text.as_bytes()) {
            self.stderr.broken = true;
            self.failures.tell(Place::Screen(sink::Place::Stderr), error);
        }
    }
}
