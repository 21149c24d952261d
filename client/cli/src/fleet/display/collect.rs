//! Outputs that are kept until their targets have ended, or all have.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;

use rcmd_client::Chunk;
use rcmd_protocol::frame::Stream;

use super::context::Context;
use super::kept::{Full, Kept};
use super::renders::Renders;
use super::store::Store;
use crate::output::Form;
use crate::output::piece::Piece;

/// The most that is kept of one stream, in bytes.
const MOST: u64 = 1 << 30;

/// The content of a stream, as far as it is compared: a missing last newline makes no difference.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Said([u8; 32]);

/// One stream.
#[derive(Default)]
pub(super) struct Stored {
    pub(super) kept: Kept,
    /// True if not all of the stream is kept.
    pub(super) cut: bool,
    /// The state of the digest: none before the first byte, and none once the digest was taken. Most groups have a
    /// few bytes, and a state has 2 KiB.
    hasher: Option<Box<blake3::Hasher>>,
    last: Option<u8>,
}

/// The standard output and standard error of a target.
#[derive(Default)]
pub(super) struct Outputs {
    pub(super) stdout: Stored,
    pub(super) stderr: Stored,
}

impl Stored {
    fn push(&mut self, store: &mut Store, bytes: &[u8]) -> io::Result<()> {
        if self.cut || bytes.is_empty() {
            return Ok(());
        }
        let room = usize::try_from(MOST - self.kept.len()).unwrap_or(usize::MAX);
        let mut now = bytes.get(..room).unwrap_or(bytes);
        self.cut = now.len() < bytes.len();
        let pushed = self.kept.push(store, now).map_err(|Full { taken, error }| {
            now = now.get(..taken).unwrap_or_default();
            self.cut = true;
            error
        });
        self.hasher.get_or_insert_default().update(now);
        self.last = now.last().copied().or(self.last);
        pushed
    }

    /// Returns what it said, once; nothing may be added afterwards.
    fn said(&mut self) -> Said {
        let mut hasher = self.hasher.take().unwrap_or_default();
        if self.last.is_some_and(|last| last != b'\n') {
            hasher.update(b"\n");
        }
        Said(*hasher.finalize().as_bytes())
    }
}

impl Outputs {
    /// Returns whether both are whole.
    pub(super) fn are_whole(&self) -> bool {
        !self.stdout.cut && !self.stderr.cut
    }

    /// Returns what both said.
    pub(super) fn said(&mut self) -> (Said, Said) {
        (self.stdout.said(), self.stderr.said())
    }

    /// Returns both streams' blocks to the store.
    pub(super) fn clear(&mut self, store: &mut Store) {
        self.stdout.kept.clear(store);
        self.stderr.kept.clear(store);
    }

    fn of(&mut self, stream: Stream) -> &mut Stored {
        match stream {
            Stream::Stderr => &mut self.stderr,
            Stream::Stdout | Stream::Stdin => &mut self.stdout,
        }
    }
}

/// The outputs of targets that have not ended.
pub(super) struct Collector {
    renders: Renders,
    open: HashMap<usize, Outputs>,
}

impl Collector {
    /// Returns an empty one. Output is kept in this form.
    pub(super) fn new(form: Form) -> Self {
        Self { renders: Renders::new(form), open: HashMap::new() }
    }

    /// Keeps a piece of output.
    pub(super) fn output(
        &mut self,
        context: &mut Context,
        index: usize,
        stream: Stream,
        chunk: Chunk,
    ) {
        let piece = Piece::Data(stream, chunk);
        let bytes = self.renders.rendered(index, &piece);
        let stored = self.open.entry(index).or_default().of(stream);
        let was_whole = !stored.cut;
        let pushed = stored.push(&mut context.store, bytes);
        if stored.cut && was_whole {
            tell(context, index, pushed.err());
        }
    }

    /// Returns the outputs of a target that ended; they are no longer kept here.
    pub(super) fn take(&mut self, context: &mut Context, index: usize) -> Outputs {
        let mut outputs = match self.open.entry(index) {
            Entry::Occupied(entry) => entry.remove(),
            Entry::Vacant(_) => Outputs::default(),
        };
        for stream in [Stream::Stdout, Stream::Stderr] {
            let rest = self.renders.end(index, stream);
            let stored = outputs.of(stream);
            let was_whole = !stored.cut;
            let mut pushed = stored.push(&mut context.store, &rest);
            if pushed.is_ok() {
                pushed = stored.kept.seal(&mut context.store);
                stored.cut |= pushed.is_err();
            }
            if stored.cut && was_whole {
                tell(context, index, pushed.err());
            }
        }
        outputs
    }

    /// Returns the targets that have not ended.
    pub(super) fn left(&self) -> Vec<usize> {
        let mut left: Vec<_> = self.open.keys().copied().collect();
        left.sort_unstable();
        left
    }
}

/// Notes for a person that not all of a target's output is kept.
fn tell(context: &mut Context, index: usize, error: Option<io::Error>) {
    let why = match error {
        Some(error) => error.to_string(),
        None => format!("one stream is longer than {} MiB", MOST >> 20),
    };
    let note = format!("not all of the output is kept ({why}); use --outdir to keep all of it");
    context.note(Some(index), &note);
}
