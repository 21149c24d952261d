//! Where everything that is printed while a command runs goes: one writer a descriptor.

use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::Poll;

use super::render::{self, Json, Piece};
use super::settings::Form;
use super::sink::{self, Feed, Place, Written};
use super::text::{self, Tone};

/// Notes that wait for a slow reader; past it the oldest is dropped.
const NOTES: usize = 64;

/// The writers of one command.
pub(crate) struct Screen {
    /// Where standard output goes.
    pub(crate) stdout: Feed,
    /// Where standard error and notes go; with events, the same writer.
    pub(crate) stderr: Feed,
    writers: Vec<(Place, Written)>,
    notes: VecDeque<Piece>,
    json: bool,
}

impl Screen {
    /// Starts the writers.
    ///
    /// # Errors
    /// When no thread is to be had.
    pub(crate) fn open(form: Form, host: &str) -> io::Result<Self> {
        let notes = VecDeque::new();
        if let Form::Json { .. } = form {
            let (feed, written) = sink::open(Place::Stdout, Box::new(Json::new(host.to_owned())))?;
            let writers = vec![(Place::Stdout, written)];
            return Ok(Self { stdout: feed.clone(), stderr: feed, writers, notes, json: true });
        }
        let (stdout, out) = sink::open(Place::Stdout, render::text(form))?;
        let (stderr, err) = sink::open(Place::Stderr, render::text(form))?;
        let writers = vec![(Place::Stdout, out), (Place::Stderr, err)];
        Ok(Self { stdout, stderr, writers, notes, json: false })
    }

    /// Puts a note behind what waits already. It is written by [`Screen::drain`].
    pub(crate) fn note(&mut self, host: &str, note: &str) {
        if self.notes.len() == NOTES {
            self.notes.pop_front();
        }
        self.notes.push_back(Piece::Note(if self.json {
            note.to_owned()
        } else {
            text::line(Tone::Notice, &format!("{host}: {note}"))
        }));
    }

    /// Writes the notes, and waits for ever when there are none.
    ///
    /// # Cancel safety
    /// No note is lost when it is dropped.
    pub(crate) async fn drain(notes: &mut Notes<'_>) {
        match notes.feed.reserve().await {
            Ok(place) if !notes.waiting.is_empty() => {
                if let Some(note) = notes.waiting.pop_front() {
                    place.send(note);
                }
            }
            _ => std::future::pending().await,
        }
    }
}
