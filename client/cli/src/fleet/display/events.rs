//! `--json`: the events of many hosts.

use std::collections::HashMap;

use crate::output::json::Json;
use crate::output::piece::Piece;
use crate::output::sink::Place;
use rcmd_client::Report;
use rcmd_protocol::frame::Stream;

use super::context::Context;

/// The writer of events.
#[derive(Default)]
pub(super) struct Events {
    open: HashMap<usize, Json>,
    /// The buffer for the events of one piece.
    out: Vec<u8>,
}

impl Events {
    /// Writes the events of a piece that a target's command brought.
    pub(super) fn put(&mut self, context: &mut Context, index: usize, piece: &Piece) {
        let json = self.open.entry(index);
        let json = json.or_insert_with(|| Json::of_set(context.name(index).to_owned(), index));
        self.out.clear();
        json.put(piece, &mut self.out);
        context.screens.put(Place::Stdout, &self.out);
    }

    /// Writes the end of a target, behind what its streams still have.
    pub(super) fn ended(&mut self, context: &mut Context, index: usize, report: Box<Report>) {
        self.end_streams(context, index);
        self.put(context, index, &Piece::Report(report));
        self.open.remove(&index);
    }

    /// Writes what the streams of a target still have, whose command is run again.
    pub(super) fn break_off(&mut self, context: &mut Context, index: usize) {
        self.end_streams(context, index);
        self.open.remove(&index);
    }

    fn end_streams(&mut self, context: &mut Context, index: usize) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.put(context, index, &Piece::End(stream));
        }
    }

    /// Writes a message about a target, or about the run.
    pub(super) fn note(&mut self, context: &mut Context, index: Option<usize>, text: String) {
        let piece = Piece::Note(text);
        match index {
            Some(index) if self.open.contains_key(&index) => self.put(context, index, &piece),
            _ => {
                let name = index.map(|index| context.name(index).to_owned());
                self.out.clear();
                Json::of_run(name, index).put(&piece, &mut self.out);
                context.screens.put(Place::Stdout, &self.out);
            }
        }
    }
}
