//! The sending end. It walks over the sources and announces what it meets, ahead of the answers by a bounded number of
//! entries; contents go out between, in the order in which they are wanted.
//!
//! ```text
//! walk -> entry -> pending --Outcome--> settled
//!                     |  ^
//!                   Need |
//!                     v  |
//!                   content
//! ```

mod answers;
mod content;
mod known;
mod span;
mod walk;

use std::{
    collections::{HashMap, VecDeque},
    io::{Read, Write},
};

use answers::{Answer, Answers};
use content::{Part, Wanted};
use known::Known;
use walk::{Met, Step, Walk};

use crate::{
    beneath::{Folders, Purpose},
    chunks::Chunk,
    digest::digest_of_all,
    facts::Time,
    failure::{Failure, FailureKind, TransferError},
    fields::Body,
    limits,
    options::TransferOptions,
    packing::Packer,
    report::{FileAction, FileEvent, FileKind, FileNotes, Observer, Summary, Tally},
    source::TransferSource,
    transfer::{Cancel, Transfer, hear_hello, refuse, say_hello},
    wire::{MessageReader, MessageWriter, Role, ToReceiver, ToSender},
};

impl Transfer {
    /// Sends the sources to the other end of a stream, and returns when both ends agree on how it ended.
    ///
    /// A thread reads the answers. It ends with the stream, which after an error may be later than this returns.
    ///
    /// # Errors
    /// The stream is lost, an end gives up, or they do not agree. Whatever is at the destination by then is whole.
    pub fn send<R, W>(
        self,
        reader: R,
        writer: W,
        sources: Vec<TransferSource>,
        observer: &mut dyn Observer,
    ) -> Result<Summary, TransferError>
    where
        R: Read + Send + 'static,
        W: Write,
    {
        let way = self.way();
        let mut reader = MessageReader::new(reader);
        let mut writer = MessageWriter::new(writer);
        say_hello(&mut writer, Role::Sender, self.options.as_ref())?;
        let (options, answers) = match self.options {
            // With the options here nothing needs to be heard before the first entries go out.
            Some(options) => (options.clone(), Answers::read(reader, Some(options))?),
            None => {
                let heard = hear_hello(&mut reader, Role::Sender, None);
                let heard = heard.inspect_err(|error| refuse(&mut writer, Role::Sender, error))?;
                let options = heard.unwrap_or_default();
                (options, Answers::read(reader, None)?)
            }
        };
        let packer = if options.compress { Some(Packer::new()?) } else { None };
        let mut sender = Sender {
            packer,
            room: Vec::new(),
            writer,
            body: Body::default(),
            answers,
            folders: Folders::new(way, Purpose::Listing),
            walk: Walk::new(sources),
            options,
            cancel: self.cancel,
            tally: Tally::new(observer),
            pending: HashMap::new(),
            wanted: VecDeque::new(),
            next: 0,
            entries: blake3::Hasher::new(),
            contents: blake3::Hasher::new(),
            stopped: false,
        };
        let ended = sender.run().map_err(|error| sender.cancel.why(error));
        if let Err(error) = &ended {
            sender.give_up(error);
        }
        ended
    }
}

/// An entry that was announced and is not settled.
struct Pending {
    met: Met,
    kind: FileKind,
    /// Its content is wanted, and stands in the queue or is being sent.
    is_wanted: bool,
    /// The size and digest of its content, once that was sent.
    sent: Option<(u64, [u8; 32])>,
    /// What the receiver has told of the file that it replaces.
    known: Option<Known>,
}

struct Sender<'o, W> {
    /// What packs content, if that is wanted, and room for content that was read.
    packer: Option<Packer>,
    room: Vec<u8>,
    writer: MessageWriter<W>,
    body: Body,
    answers: Answers,
    folders: Folders,
    walk: Walk,
    options: TransferOptions,
    cancel: Cancel,
    tally: Tally<'o>,
    pending: HashMap<u64, Pending>,
    wanted: VecDeque<Wanted>,
    /// The number of the next entry.
    next: u64,
    /// The digest of what was announced, and that of the contents.
    entries: blake3::Hasher,
    contents: blake3::Hasher,
    /// No more entries are sent.
    stopped: bool,
}

impl<W: Write> Sender<'_, W> {
    fn run(&mut self) -> Result<Summary, TransferError> {
        let mut is_walked = false;
        loop {
            self.cancel.check()?;
            while let Some(answer) = self.answers.try_next()? {
                self.take(answer)?;
            }
            if self.stopped {
                break;
            }
            if let Some(wanted) = self.wanted.pop_front() {
                self.send_content(&wanted)?;
            } else if !is_walked && self.pending.len() < limits::WINDOW {
                is_walked = !self.announce_next()?;
            } else if self.pending.is_empty() {
                break;
            } else {
                self.writer.flush()?;
                let answer = self.answers.next()?;
                self.take(answer)?;
            }
        }
        self.finish()
    }

    /// Announces the next entry. Returns false when there is none.
    fn announce_next(&mut self) -> Result<bool, TransferError> {
        let step = self.walk.next(self.next, &mut self.folders, &self.options, &mut self.tally);
        let (met, kind) = match step {
            Step::End => return Ok(false),
            Step::Leave => {
                self.announce(&ToReceiver::Leave)?;
                return Ok(true);
            }
            Step::Miss(met, failure) => {
                self.miss(&met, failure)?;
                return Ok(true);
            }
            Step::Folder(met) => {
                let (mode, time) = attributes(&met);
                self.announce(&ToReceiver::Folder { mode, time, name: &met.name })?;
                (met, FileKind::Folder)
            }
            Step::Link(met, target) => {
                let (_, time) = attributes(&met);
                self.announce(&ToReceiver::Link { time, target: &target, name: &met.name })?;
                (met, FileKind::Link)
            }
            Step::HardLink(met, to, is_last) => {
                self.announce(&ToReceiver::HardLink { to, is_last, name: &met.name })?;
                (met, FileKind::HardLink)
            }
            Step::File(met) => {
                let digest = match self.digest_of(&met) {
                    Ok(digest) => digest,
                    Err(failure) => {
                        if let Some(facts) = &met.facts {
                            self.walk.forget(facts);
                        }
                        self.miss(&met, failure)?;
                        return Ok(true);
                    }
                };
                let (mode, time) = attributes(&met);
                let size = met.facts.map_or(0, |facts| facts.size);
                self.announce(&ToReceiver::File {
                    mode,
                    time,
                    size,
                    has_more_names: met.has_more_names,
                    digest,
                    name: &met.name,
                })?;
                (met, FileKind::File)
            }
        };
        let size = met.facts.filter(|_| kind == FileKind::File).map_or(0, |facts| facts.size);
        self.tally.met(size);
        self.pending
            .insert(self.next, Pending { met, kind, is_wanted: false, sent: None, known: None });
        self.next += 1;
        Ok(true)
    }

    /// Sends a message that is part of the digest of all entries.
    fn announce(&mut self, message: &ToReceiver<'_>) -> Result<(), TransferError> {
        message.encode(&mut self.body);
        self.entries.update(self.body.as_bytes());
        self.writer.send(&self.body)
    }

    fn say(&mut self, message: &ToReceiver<'_>) -> Result<(), TransferError> {
        message.encode(&mut self.body);
        self.writer.send(&self.body)
    }

    /// Tells of an entry that cannot be sent.
    fn miss(&mut self, met: &Met, failure: Failure) -> Result<(), TransferError> {
        let has_vanished = failure.kind == FailureKind::Vanished;
        let action = if has_vanished { FileAction::Vanished } else { FileAction::Failed };
        self.tally.met(0);
        self.tally.record(&FileEvent {
            path: &met.path(),
            kind: FileKind::Other,
            action,
            bytes: 0,
            digest: None,
            notes: FileNotes::default(),
            failure: Some(&failure),
        });
        self.announce(&ToReceiver::Miss { failure, name: &met.name })?;
        self.stopped |= !has_vanished && self.options.fail_fast;
        Ok(())
    }

    /// Does what an answer asks for.
    fn take(&mut self, answer: Answer) -> Result<(), TransferError> {
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
                self.answers.release(pending.known.map_or(0, |known| known.digests));
                let sent = pending.sent.filter(|_| is_sent(action));
                let announced =
                    pending.met.facts.filter(|_| self.options.dry_run && is_sent(action));
                let announced = announced.filter(|_| pending.kind == FileKind::File);
                let size = announced.map_or(0, |facts| facts.size);
                self.tally.record(&FileEvent {
                    path: &pending.met.path(),
                    kind: pending.kind,
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
                self.tally.record(&FileEvent {
                    path: &path,
                    kind,
                    action,
                    bytes: 0,
                    digest: None,
                    notes: FileNotes::default(),
                    failure: failure.as_ref(),
                });
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
        match self.pending.get_mut(&wanted.index) {
            Some(pending) if pending.kind == FileKind::File && !pending.is_wanted => {
                pending.is_wanted = true;
                self.wanted.push_back(wanted);
                Ok(())
            }
            _ => Err(TransferError::Protocol("it wants what is no file or was asked for before")),
        }
    }

    /// Ends the transfer with the account of both ends.
    fn finish(&mut self) -> Result<Summary, TransferError> {
        let digest = digest_of_all(&self.entries, &self.contents);
        let (entries, stopped) = (self.next, self.stopped);
        self.say(&ToReceiver::Finish { entries, digest, stopped })?;
        self.writer.flush()?;
        loop {
            self.cancel.check()?;
            match self.answers.next()? {
                ToSender::Done { counts, digest: other, withheld } => {
                    if other != digest {
                        return Err(TransferError::Differs("the digest"));
                    }
                    if counts != self.tally.counts {
                        return Err(TransferError::Differs("the numbers of files"));
                    }
                    let crossed = self.tally.crossed;
                    return Ok(Summary {
                        counts,
                        crossed,
                        digest,
                        stopped: self.stopped,
                        withheld,
                    });
                }
                // What was asked for before the receiver knew of the end does not come any more.
                ToSender::Need { .. } | ToSender::Resume { .. } | ToSender::Known { .. }
                    if self.stopped => {}
                answer => self.take(answer)?,
            }
        }
    }

    /// Tells the other end that nothing more comes, unless it is the one that ended the transfer.
    fn give_up(&mut self, error: &TransferError) {
        let failure = match error {
            TransferError::Lost(_) | TransferError::Peer(_) => return,
            TransferError::Local(failure) => failure.clone(),
            other => Failure::new(FailureKind::Io, other.to_string()),
        };
        // The error is what counts; that the stream is gone as well adds nothing.
        let _ = self.say(&ToReceiver::Abort(failure)).and_then(|()| self.writer.flush());
    }
}

/// Returns whether content that was sent is at the destination after this.
fn is_sent(action: FileAction) -> bool {
    matches!(action, FileAction::Created | FileAction::Replaced)
}

fn attributes(met: &Met) -> (u32, Time) {
    met.facts.map(|facts| (facts.mode, facts.time)).unwrap_or_default()
}
