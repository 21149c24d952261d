//! What is recorded of a transfer, beside the start and the end of its job.

use std::os::unix::ffi::OsStrExt as _;

use super::{
    record::{Event, SaidRecord, TransferRecord},
    text::Text,
};
use crate::{policy::access::FileFacts, transfer::message::Totals};

/// The maximum number of paths that are recorded.
const PATHS: usize = 16;

/// A transfer, to be recorded when it has ended.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TransferNote {
    record: TransferRecord,
}

impl TransferNote {
    /// Makes the part of a record that is known at the start: who transfers, and what was judged.
    pub fn of<'a>(peer: &str, verb: &str, files: impl Iterator<Item = &'a FileFacts>) -> Self {
        let mut record = TransferRecord {
            peer: peer.to_owned(),
            verb: verb.to_owned(),
            ..TransferRecord::default()
        };
        for file in files {
            match record.paths.len() < PATHS {
                true => record.paths.push(Text::of(file.path.as_os_str().as_bytes())),
                false => record.more_paths += 1,
            }
        }
        Self { record }
    }

    /// Adds what is known at the end: the number of folders that were denied, and the account that
    /// the process of the transfer gave.
    pub(crate) fn ended(mut self, denied: u64, said: Option<Totals>) -> Self {
        self.record.denied = denied;
        self.record.said = said.map(|said| SaidRecord {
            files: said.files,
            bytes: said.bytes,
            made: said.made,
            adjusted: said.adjusted,
            unchanged: said.unchanged,
            skipped: said.skipped,
            vanished: said.vanished,
            deleted: said.deleted,
            failed: said.failed,
            digest: said.digest.map(|digest| digest.as_str().to_owned()),
        });
        self
    }

    /// Returns the event for a job.
    pub(super) fn event(self, job: &str) -> Event {
        Event::Transfer(Box::new(TransferRecord { job: job.to_owned(), ..self.record }))
    }
}
