//! The output while a command runs: one writer for each descriptor.

use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::Poll;

use rcmd_client::Report;

use crate::output::Form;
use crate::output::json::Json;
use crate::output::piece::Piece;
use crate::output::render;
use crate::output::sink::{self, Feed, Place, Written};
use crate::text::{self, Tone};

/// The maximum number of notes that wait for a slow reader. If there are more, the oldest is dropped.
const NOTES: usize = 64;

/// The writers of one command.
pub(crate) struct OutputWriter {
    /// The writer of standard output.
    pub(crate) stdout: Feed,
    /// The writer of standard error and notes; with events, the same as of standard output.
    pub(crate) stderr: Feed,
    writers: Vec<(Place, Written)>,
    notes: VecDeque<Piece>,
    json: bool,
}

impl OutputWriter {
    /// Opens the writers. Must be called inside a tokio runtime.
    pub(crate) fn open(form: Form, host: &str) -> Self {
        let notes = VecDeque::new();
        if let Form::Json { .. } = form {
            let (feed, written) = sink::open(Place::Stdout, Box::new(Json::new(host.to_owned())));
            let writers = vec![(Place::Stdout, written)];
            return Self { stdout: feed.clone(), stderr: feed, writers, notes, json: true };
        }
        let (stdout, out) = sink::open(Place::Stdout, render::text(form));
        let (stderr, err) = sink::open(Place::Stderr, render::text(form));
        let writers = vec![(Place::Stdout, out), (Place::Stderr, err)];
        Self { stdout, stderr, writers, notes, json: false }
    }

    /// Adds a note to those that wait; [`OutputWriter::tend`] writes it.
    pub(crate) fn note(&mut self, host: &str, note: &str) {
        if self.notes.len() == NOTES {
            self.notes.pop_front();
        }
        self.notes.push_back(Piece::Note(if self.json {
            text::escaped(note)
        } else {
            text::line(Tone::Notice, &format!("{host}: {note}"))
        }));
    }

    /// Ends a line of standard error that something else began, before the next note. Events have lines of
    /// their own.
    pub(crate) fn break_line(&mut self) {
        if !self.json && self.notes.len() < NOTES {
            self.notes.push_back(Piece::Note("\n".to_owned()));
        }
    }

    /// Writes notes until a writer fails. Returns the writer and its error.
    ///
    /// # Cancel safety
    /// No note and no error is lost if the future is dropped.
    pub(crate) async fn tend(&mut self) -> (Place, io::Error) {
        loop {
            let Self { stderr, writers, notes, .. } = self;
            tokio::select! {
                failure = first_failure(writers) => return failure,
                Ok(place) = stderr.reserve(), if !notes.is_empty() => {
                    if let Some(note) = notes.pop_front() {
                        place.send(note);
                    }
                }
            }
        }
    }

    /// Writes the waiting notes and, with events, the end. Then waits until all is written.
    ///
    /// # Errors
    /// The first error, and its writer.
    pub(crate) async fn finish(self, report: &Report) -> Result<(), (Place, io::Error)> {
        let Self { stdout, stderr, writers, notes, json } = self;
        let report = json.then(|| Piece::Report(Box::new(report.clone())));
        for piece in notes.into_iter().chain(report) {
            if stderr.send(piece).await.is_err() {
                // The error of the writer is returned below.
                break;
            }
        }
        drop((stdout, stderr));
        let mut outcome = Ok(());
        for (place, written) in writers {
            outcome = outcome.and(written.await.map_err(|error| (place, error)));
        }
        outcome
    }
}

async fn first_failure(writers: &mut Vec<(Place, Written)>) -> (Place, io::Error) {
    poll_fn(|context| {
        for at in 0..writers.len() {
            let Some((place, written)) = writers.get_mut(at) else {
                break;
            };
            let place = *place;
            if let Poll::Ready(outcome) = Pin::new(written).poll(context) {
                writers.swap_remove(at);
                // Without an error a writer ends only after its feeds are dropped, and they are not.
                return Poll::Ready((place, outcome.err().unwrap_or_else(sink::ended_early)));
            }
        }
        Poll::Pending
    })
    .await
}
