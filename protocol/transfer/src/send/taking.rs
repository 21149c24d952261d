//! What the receiver's answers do: they ask for contents, tell of what is there, and settle entries.

use std::io::Write;

use super::{
    Sender,
    answers::Answer,
    content::{Part, Wanted},
    known::Known,
};
use crate::{
    content::chunks::Chunk,
    failure::{EventOrigin, TransferError},
    limits,
    report::{FileAction, FileEvent, FileKind},
    wire::ToSender,
};

impl<W: Write> Sender<'_, W> {
    /// Carries out what an answer asks for.
    pub(super) fn take(&mut self, answer: Answer) -> Result<(), TransferError> {
        match answer {
            ToSender::Need { index } => self.want(Wanted { index, part: None }),
            ToSender::Resume { index, length, step, digests } => {
                self.want(Wanted { index, part: Some(Part { length, step, digests }) })
            }
            ToSender::Known { index, average, offset, chunks } => {
                self.learn(index, average, offset, &chunks)
            }
            ToSender::Outcome { index, action, notes, failure } => {
                let Some(pending) = self.pending.remove(&index) else {
                    return Err(TransferError::Protocol("it settles what was not announced"));
                };
                self.held = self.held.saturating_sub(pending.weight);
                self.answers.release(pending.known.map_or(0, |known| known.digests));
                let sent = pending.sent.filter(|_| is_sent(action));
                let announced =
                    pending.met.facts.filter(|_| self.options.dry_run && is_sent(action));
                let announced = announced.filter(|_| pending.kind == FileKind::File);
                let size = announced.map_or(0, |facts| facts.size);
                self.tally.record(&FileEvent {
                    path: &pending.met.path(),
                    kind: pending.kind,
                    origin: match pending.is_abandoned {
                        true => EventOrigin::Source,
                        false => EventOrigin::Announced,
                    },
                    action,
                    bytes: sent.map_or(size, |(size, _)| size),
                    digest: sent.map(|(_, digest)| digest),
                    notes,
                    failure: failure.as_ref(),
                });
                self.stopped |= action == FileAction::Failed && self.options.fail_fast;
                Ok(())
            }
            ToSender::Event { path, kind, action, failure } => {
                let event = FileEvent::of_destination(&path, kind, action, failure.as_ref());
                self.tally.record(&event);
                self.stopped |= action == FileAction::Failed && self.options.fail_fast;
                Ok(())
            }
            ToSender::Stop => {
                self.stopped = true;
                Ok(())
            }
            ToSender::Abort(failure) => Err(TransferError::Peer(failure)),
            ToSender::Done { .. } => Err(TransferError::Protocol("it is done before the sender")),
        }
    }

    /// Takes what the receiver has of a file that it will want.
    fn learn(
        &mut self,
        index: u64,
        average: u32,
        offset: u64,
        chunks: &[Chunk],
    ) -> Result<(), TransferError> {
        match self.pending.get_mut(&index) {
            Some(pending)
                if self.options.delta && pending.kind == FileKind::File && !pending.is_wanted =>
            {
                pending
                    .known
                    .get_or_insert_with(|| Known::new(average))
                    .add(average, offset, chunks)
            }
            _ => Err(TransferError::Protocol("it tells of what it has of what is no file")),
        }
    }

    /// Queues a file's content.
    fn want(&mut self, wanted: Wanted) -> Result<(), TransferError> {
        let parts = || self.wanted.iter().filter(|wanted| wanted.part.is_some()).count();
        if wanted.part.is_some() && parts() >= limits::PARTS {
            return Err(TransferError::Protocol("it offers more parts than it may"));
        }
        match self.pending.get_mut(&wanted.index) {
            Some(pending) if pending.kind == FileKind::File && !pending.is_wanted => {
                pending.is_wanted = true;
                self.wanted.push_back(wanted);
                Ok(())
            }
            _ => Err(TransferError::Protocol("it wants what is no file or was asked for before")),
        }
    }
}

/// Returns whether content that was sent is at the destination after this.
fn is_sent(action: FileAction) -> bool {
    matches!(action, FileAction::Created | FileAction::Replaced)
}
