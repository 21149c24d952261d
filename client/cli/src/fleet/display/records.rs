//! `--format`: a record of each target, as it ends.

use rcmd_client::{Chunk, Report};
use rcmd_protocol::frame::Stream;

use super::collect::{Collector, Stored};
use super::context::Context;
use super::copy::{End, copy};
use super::safe::put_safe;
use crate::output::Form;
use crate::output::sink::Place;
use crate::text::escaped;

mod format;

pub(crate) use format::Format;
use format::{Field, Part};

/// The writer of records.
pub(super) struct Records {
    format: Format,
    collector: Collector,
    /// True if the format names standard output; otherwise it is not kept. `stderr` is likewise.
    stdout: bool,
    stderr: bool,
}

impl Records {
    /// Returns one that has made none yet.
    pub(super) fn new(format: Format, form: Form) -> Self {
        let wants = |field| format.parts().contains(&Part::Field(field));
        let (stdout, stderr) = (wants(Field::Stdout), wants(Field::Stderr));
        Self { format, collector: Collector::new(form), stdout, stderr }
    }

    /// Keeps a piece of output that a record has.
    pub(super) fn output(
        &mut self,
        context: &mut Context,
        index: usize,
        stream: Stream,
        chunk: Chunk,
    ) {
        let wanted = if stream == Stream::Stderr { self.stderr } else { self.stdout };
        if wanted {
            self.collector.output(context, index, stream, chunk);
        }
    }

    /// Writes the record of a target that ended.
    pub(super) fn ended(&mut self, context: &mut Context, index: usize, report: &Report) {
        let mut outputs = self.collector.take(context, index);
        for part in self.format.parts() {
            match part {
                Part::Text(text) => context.screens.put(Place::Stdout, text.as_bytes()),
                Part::Field(Field::Stdout) => put(context, &outputs.stdout),
                Part::Field(Field::Stderr) => put(context, &outputs.stderr),
                Part::Field(field) => {
                    let Some(target) = context.targets.get(index) else { continue };
                    let text = field.text(target, report);
                    put_text(context, field, &text);
                }
            }
        }
        context.screens.put(Place::Stdout, b"\n");
        outputs.clear(&mut context.store);
    }

    /// Forgets the output of a target so far.
    pub(super) fn forget(&mut self, context: &mut Context, index: usize) {
        self.collector.take(context, index).clear(&mut context.store);
    }

    /// Leaves those that have not ended: there is nothing to say of them.
    pub(super) fn finish(&mut self, context: &mut Context) {
        for index in self.collector.left() {
            self.forget(context, index);
        }
    }
}

fn put(context: &mut Context, stored: &Stored) {
    let safe = context.must_escape(Place::Stdout);
    let Context { store, screens, .. } = context;
    if let Err(error) = copy(&stored.kept, store, safe, End::NoNewlines, Place::Stdout, screens) {
        context.note(None, &format!("output that was kept can't be read back: {error}"));
    }
}

fn put_text(context: &mut Context, field: &Field, text: &str) {
    if *field == Field::Error {
        // Part of it was said by the host, and a record is one for all its lines.
        context.screens.put(Place::Stdout, escaped(text).as_bytes());
    } else if context.must_escape(Place::Stdout) {
        let mut shown = Vec::new();
        put_safe(text.as_bytes(), &mut shown);
        context.screens.put(Place::Stdout, &shown);
    } else {
        context.screens.put(Place::Stdout, text.as_bytes());
    }
}
