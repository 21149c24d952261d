//! Output line by line, each with the label of its host. Lines of hosts never mix: one is shown when it
//! is whole.

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::sync::Arc;

use rcmd_client::Chunk;
use rcmd_client::hosts::HostTarget;
use rcmd_protocol::frame::Stream;

use super::context::Context;
use super::copy::{End, copy};
use super::kept::{Full, Kept};
use super::renders::Renders;
use super::safe::put_safe;
use crate::output::Form;
use crate::output::json::unfinished;
use crate::output::piece::Piece;
use crate::output::sink::Place;

mod label;

use label::Labels;

/// Bytes of room that are kept for the next line.
const ROOM: usize = 64 * 1024;

/// The lengths that a line may have before it is shown in pieces, each with the label.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineLimits {
    /// Bytes at a terminal, where somebody waits for it.
    pub(super) terminal: u64,
    /// Bytes elsewhere, where it has to be whole.
    pub(super) other: u64,
}

impl Default for LineLimits {
    fn default() -> Self {
        Self { terminal: 1 << 20, other: 1 << 30 }
    }
}

/// The streams of all targets, as lines.
pub(super) struct Lines {
    renders: Renders,
    writer: Writer,
}

/// The writer of lines.
struct Writer {
    labels: Labels,
    limits: LineLimits,
    /// Lines that have begun.
    begun: HashMap<(usize, Stream), Kept>,
    /// True if a person was told that lines can't be kept.
    told: bool,
    /// The buffer for a label, and for the escaped text behind the label.
    line: Vec<u8>,
}

impl Lines {
    /// Returns one in which nothing has been written yet; `terminal` is the width of standard output, in
    /// columns.
    pub(super) fn new(
        targets: Arc<[HostTarget]>,
        terminal: usize,
        form: Form,
        limits: LineLimits,
    ) -> Self {
        let labels = Labels::new(targets, terminal);
        let writer =
            Writer { labels, limits, begun: HashMap::new(), told: false, line: Vec::new() };
        Self { renders: Renders::new(form), writer }
    }

    /// Pads the labels that follow for a terminal of so many columns.
    pub(super) fn fit(&mut self, terminal: usize) {
        self.writer.labels.fit(terminal);
    }

    /// Shows the lines that a piece of output makes whole.
    pub(super) fn output(
        &mut self,
        context: &mut Context,
        index: usize,
        stream: Stream,
        chunk: Chunk,
    ) {
        let piece = Piece::Data(stream, chunk);
        let bytes = self.renders.rendered(index, &piece);
        self.writer.put(context, (index, stream), bytes);
    }

    /// Shows what a target wrote behind its last newline.
    pub(super) fn ended(&mut self, context: &mut Context, index: usize) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let rest = self.renders.end(index, stream);
            self.writer.put(context, (index, stream), &rest);
            if let Some(kept) = self.writer.begun.remove(&(index, stream)) {
                self.writer.show(context, (index, stream), kept, b"");
            }
        }
    }
}

/// Returns where the lines of a stream go.
fn place(stream: Stream) -> Place {
    match stream {
        Stream::Stderr => Place::Stderr,
        Stream::Stdout | Stream::Stdin => Place::Stdout,
    }
}

impl Writer {
    fn put(&mut self, context: &mut Context, of: (usize, Stream), bytes: &[u8]) {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(end) => {
                    let rest = self.begin(context, of, end, true);
                    let kept = self.begun.remove(&of).unwrap_or_default();
                    self.show(context, of, kept, rest);
                }
                None => {
                    self.begin(context, of, line, false);
                }
            }
        }
    }

    /// Adds to a line that has begun, and shows it in pieces where it becomes too long. Returns what need
    /// not be kept because the line is whole.
    fn begin<'a>(
        &mut self,
        context: &mut Context,
        of: (usize, Stream),
        bytes: &'a [u8],
        whole: bool,
    ) -> &'a [u8] {
        let most = match context.screens.look(place(of.1)).terminal {
            true => self.limits.terminal,
            false => self.limits.other,
        };
        let mut rest = bytes;
        loop {
            let begun = self.begun.get(&of).map_or(0, Kept::len);
            let room = usize::try_from(most.saturating_sub(begun)).unwrap_or(usize::MAX);
            if rest.is_empty() || whole && rest.len() <= room {
                return rest;
            }
            if room == 0 {
                self.cut(context, of);
                continue;
            }
            let (now, later) = rest.split_at(room.min(rest.len()));
            let kept = self.begun.entry(of).or_default();
            rest = match kept.push(&mut context.store, now) {
                Ok(()) => later,
                Err(Full { taken, error }) => {
                    self.tell(context, &error);
                    self.cut(context, of);
                    rest.get(taken..).unwrap_or_default()
                }
            };
        }
    }

    /// Shows what has come of a line as a piece of it. Half a character at its end waits for the next.
    fn cut(&mut self, context: &mut Context, of: (usize, Stream)) {
        let Some(mut kept) = self.begun.remove(&of) else { return };
        if !context.must_escape(place(of.1)) {
            self.show(context, of, kept, b"");
            return;
        }
        let text = self.read(context, &mut kept);
        let (now, later) = text.split_at(text.len() - unfinished(&text));
        self.show(context, of, Kept::default(), now);
        let mut kept = Kept::default();
        // At most three bytes, which are taken also where there is no room for more.
        let _ = kept.push(&mut context.store, later);
        if kept.len() > 0 {
            self.begun.insert(of, kept);
        }
    }

    /// Shows a line: what was kept of it, and the rest.
    fn show(&mut self, context: &mut Context, of: (usize, Stream), mut kept: Kept, rest: &[u8]) {
        let place = place(of.1);
        let must_escape = context.must_escape(place);
        let kept_text = if must_escape { self.read(context, &mut kept) } else { Vec::new() };
        let look = context.screens.look(place);
        let behind = Labels::behind(place, look);
        self.line.clear();
        self.labels.put(of.0, place, look, &mut self.line);
        if must_escape {
            if kept_text.is_empty() {
                put_safe(rest, &mut self.line);
            } else {
                put_safe(&[&kept_text, rest].concat(), &mut self.line);
            }
            context.screens.put(place, &self.line);
            self.line.shrink_to(ROOM);
        } else {
            context.screens.put(place, &self.line);
            let Context { store, screens, .. } = context;
            if let Err(error) = copy(&kept, store, false, End::AsItIs, place, screens) {
                self.tell(context, &error);
            }
            kept.clear(&mut context.store);
            context.screens.put(place, rest);
        }
        context.screens.put(place, behind.as_bytes());
    }

    /// Returns what was kept, which is no more than a terminal's share of a line, and gives it back.
    fn read(&mut self, context: &mut Context, kept: &mut Kept) -> Vec<u8> {
        let mut text = Vec::new();
        if let Err(error) = kept.reader(&context.store).read_to_end(&mut text) {
            self.tell(context, &error);
        }
        kept.clear(&mut context.store);
        text
    }

    fn tell(&mut self, context: &mut Context, error: &io::Error) {
        if !std::mem::replace(&mut self.told, true) {
            context.note(None, &format!("long lines can't be kept and come in pieces: {error}"));
        }
    }
}
