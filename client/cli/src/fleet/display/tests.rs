//! The text on the screens after a run, in the order in which it came there.

use std::collections::{HashMap, HashSet};

use rcmd_client::{ErrorKind, Outcome, Report};
use rcmd_protocol::frame::Stream;

use super::place::Failures;
use super::worker::Worker;
use super::*;
use crate::arguments::fleet::Summary;
use crate::settings::Verbosity;

mod again;
mod diff;
mod fold;
pub(super) mod harness;
mod interrupted;
mod json;
mod lines;
mod live;
mod records;
mod terminal;
mod thread;

use harness::{Captured, Kind, chunk, context};

/// A display without its thread, and what it has shown.
struct Stage {
    seen: Captured,
    worker: Worker,
    account: Account,
    /// The bytes that each stream has written.
    offsets: HashMap<(usize, Stream), u64>,
}

/// Returns settings under which output is shown in this form.
fn settings(form: DisplayForm) -> DisplaySettings {
    DisplaySettings {
        form,
        outdir: None,
        result: None,
        summary: Summary::None,
        progress: false,
        raw: false,
        timestamps: false,
        encoding: None,
        verbosity: Verbosity::Normal,
        left_alone: HashSet::new(),
    }
}

impl Stage {
    fn new(hosts: &str, kind: Kind, settings: DisplaySettings) -> Self {
        let (seen, mut context) = context(hosts, kind);
        context.raw = settings.raw;
        let account = Account::new("5f1e".to_owned(), Arc::clone(&context.targets));
        let (told, _) = Failures::channel();
        let worker = Worker::new(settings, context, &told).unwrap();
        Self { seen, worker, account, offsets: HashMap::new() }
    }

    fn wrote(&mut self, index: usize, stream: Stream, bytes: impl AsRef<[u8]>) {
        let mut chunk = chunk(bytes.as_ref());
        let offset = self.offsets.entry((index, stream)).or_default();
        chunk.offset = *offset;
        *offset += chunk.bytes.len() as u64;
        self.worker.show(Shown::Output { index, stream, chunk });
    }

    fn out(&mut self, index: usize, bytes: impl AsRef<[u8]>) {
        self.wrote(index, Stream::Stdout, bytes);
    }

    fn err(&mut self, index: usize, bytes: impl AsRef<[u8]>) {
        self.wrote(index, Stream::Stderr, bytes);
    }

    fn end(&mut self, index: usize, report: Report) {
        self.account.add(index, &report, false);
        self.worker.show(Shown::Ended { index, report: Box::new(report) });
    }

    fn finish(self) -> Captured {
        self.worker.finish(&self.account);
        self.seen
    }
}
