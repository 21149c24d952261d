//! `--encoding` and `--timestamps` for the streams of many hosts.

use std::collections::HashMap;

use rcmd_protocol::frame::Stream;

use crate::output::Form;
use crate::output::piece::{Piece, Render};
use crate::output::render;

/// The renderers that make bytes of the pieces of each stream.
pub(super) struct Renders {
    form: Form,
    /// True if pieces are printed as they are, so that nothing need be kept of any stream.
    plain: bool,
    open: HashMap<(usize, Stream), Box<dyn Render>>,
}

impl Renders {
    /// Returns one in which no stream has begun.
    pub(super) fn new(form: Form) -> Self {
        let plain = form == Form::Text { encoding: None, timestamps: false };
        Self { form, plain, open: HashMap::new() }
    }

    /// Returns the bytes to be shown for a piece of a target's output.
    pub(super) fn rendered<'a>(&'a mut self, index: usize, piece: &'a Piece) -> &'a [u8] {
        match piece {
            Piece::Data(_, chunk) if self.plain => &chunk.bytes,
            Piece::Data(stream, _) => {
                let form = self.form;
                let render = self.open.entry((index, *stream));
                render.or_insert_with(|| render::text(form)).render(piece)
            }
            _ => &[],
        }
    }

    /// Ends a stream, and returns what was held back of it: half a character, as a rule nothing.
    pub(super) fn end(&mut self, index: usize, stream: Stream) -> Vec<u8> {
        let render = self.open.remove(&(index, stream));
        render.map(|mut render| render.render(&Piece::End(stream)).to_vec()).unwrap_or_default()
    }
}
