//! The label before each line: whose line it is.

use std::io::Write as _;
use std::sync::Arc;

use anstyle::{AnsiColor, Style};
use rcmd_client::hosts::HostTarget;
use unicode_width::UnicodeWidthStr as _;

use crate::fleet::display::screen::Look;
use crate::output::sink::Place;
use crate::text::escaped;

/// Labels are padded to no more columns than this, nor to more than a third of the terminal.
const WIDEST: usize = 24;

/// The mark between a label and a line of standard error, at a terminal.
const MARK: &str = "! ";

/// The colour of standard error.
const RED: Style = AnsiColor::Red.on_default();

/// The colours of hosts, in turn. Red is what went wrong.
const COLOURS: [AnsiColor; 10] = [
    AnsiColor::Cyan,
    AnsiColor::Yellow,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::BrightCyan,
    AnsiColor::BrightYellow,
    AnsiColor::BrightGreen,
    AnsiColor::BrightMagenta,
    AnsiColor::BrightBlue,
];

/// The labels of all targets.
pub(super) struct Labels {
    targets: Arc<[HostTarget]>,
    /// The width of the terminal, in columns.
    terminal: usize,
    /// The number of columns to which names are padded at the terminal.
    width: usize,
}

impl Labels {
    /// Returns the labels for a terminal of so many columns.
    pub(super) fn new(targets: Arc<[HostTarget]>, terminal: usize) -> Self {
        let width = width(&targets, terminal);
        Self { targets, terminal, width }
    }

    /// Pads the labels that follow for a terminal of so many columns.
    pub(super) fn fit(&mut self, terminal: usize) {
        if terminal != self.terminal {
            self.width = width(&self.targets, terminal);
            self.terminal = terminal;
        }
    }

    /// Appends what stands before a line of a target: `HOST: `; at a terminal the name is padded, and
    /// lines of standard error are told apart.
    pub(super) fn put(&self, index: usize, place: Place, look: &Look, line: &mut Vec<u8>) {
        let name = self.targets.get(index).map(|target| &*target.name).unwrap_or_default();
        if !look.terminal {
            line.extend_from_slice(name.as_bytes());
            line.extend_from_slice(b": ");
            return;
        }
        let name = escaped(name);
        let padding = self.width.saturating_sub(name.width());
        let colour = index.checked_rem(COLOURS.len()).and_then(|at| COLOURS.get(at));
        let host = match colour {
            Some(colour) if look.colour => colour.on_default(),
            _ => Style::new(),
        };
        // Writing to a Vec does not fail.
        let _ = write!(line, "{host}{name}:{host:#} {:padding$}", "");
        if place == Place::Stderr {
            let red = if look.colour { RED } else { Style::new() };
            let _ = write!(line, "{red}{MARK}");
        }
    }

    /// Returns what stands behind a line.
    pub(super) fn behind(place: Place, look: &Look) -> String {
        let red = look.terminal && look.colour && place == Place::Stderr;
        let style = if red { RED } else { Style::new() };
        format!("{style:#}\n")
    }
}

/// Returns to how many columns the names of targets are padded.
fn width(targets: &[HostTarget], terminal: usize) -> usize {
    let most = WIDEST.min(terminal / 3);
    let widths = targets.iter().map(|target| escaped(&target.name).width());
    widths.filter(|width| *width <= most).max().unwrap_or(0)
}
