//! The parts that all forms of output share.

use std::sync::Arc;

use rcmd_client::WireError;
use rcmd_client::hosts::{HostSet, HostTarget};

use super::screen::Screens;
use super::store::Store;
use crate::output::sink::Place;
use crate::text::{self, Tone, styled};

/// The screens, what is kept for them, and who the targets are.
pub(super) struct Context {
    pub(super) targets: Arc<[HostTarget]>,
    pub(super) screens: Screens,
    pub(super) store: Store,
    /// True if control characters go to a terminal as they are.
    pub(super) raw: bool,
}

impl Context {
    /// Returns whether what would command a terminal has to be escaped there.
    pub(super) fn must_escape(&self, place: Place) -> bool {
        self.screens.look(place).terminal && !self.raw
    }

    /// Returns a target's name; nothing for one that there is not.
    pub(super) fn name(&self, index: usize) -> &str {
        self.targets.get(index).map(|target| &*target.name).unwrap_or_default()
    }

    /// Returns the names of targets as one expression.
    pub(super) fn folded(&self, indexes: impl IntoIterator<Item = usize>) -> String {
        let targets = indexes.into_iter().filter_map(|index| self.targets.get(index));
        targets.map(|target| Arc::clone(&target.name)).collect::<HostSet>().fold()
    }

    /// Writes a notice about a target, or about the run.
    pub(super) fn note(&mut self, index: Option<usize>, text: &str) {
        match index {
            Some(index) => {
                let text = format!("{}: {text}", self.name(index));
                self.say(Tone::Notice, &text);
            }
            None => self.say(Tone::Notice, text),
        }
    }

    /// Writes about a failure that stops nothing, and what follows from it.
    pub(super) fn warn(&mut self, failure: &WireError) {
        for warning in text::warning(failure) {
            self.say(Tone::Notice, &warning);
        }
    }

    /// Goes back to the beginning of the line where a terminal has echoed a key that was typed, such as `^C`: what
    /// is written next stands in its place.
    pub(super) fn cover_echo(&mut self) {
        if self.screens.look(Place::Stderr).terminal {
            self.screens.put(Place::Stderr, b"\r");
        }
    }

    /// Writes a message of rcmd's own to standard error.
    pub(super) fn say(&mut self, tone: Tone, text: &str) {
        let line = styled(tone, text, self.screens.look(Place::Stderr).colour);
        self.screens.put(Place::Stderr, line.as_bytes());
    }
}
