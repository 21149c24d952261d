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
mod attributes;
mod content;
mod known;
mod span;
mod taking;
mod walk;

use std::{
    collections::{HashMap, VecDeque},
    io::{Read, Write},
    sync::Arc,
};

use answers::Answers;
use content::Wanted;
use known::Known;
use walk::{Met, Step, Walk};

use crate::{
    beneath::{Folders, Purpose},
    content::{digest::digest_of_all, packing::Packer},
    facts::{AccountNames, Attributes, Time},
    failure::{Failure, FailureKind, TransferError},
    fields::Body,
    limits,
    options::TransferOptions,
    report::{FileAction, FileEvent, FileKind, Observer, Summary, Tally},
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
            accounts: self.accounts,
            held: 0,
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
    /// This end has said that its content does not come.
    is_abandoned: bool,
    /// The bytes of its attributes.
    weight: usize,
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
    accounts: Arc<AccountNames>,
    /// The bytes of the attributes of entries that are not settled.
    held: usize,
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
            } else if !is_walked && self.has_room() {
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

    /// Returns whether one entry more may be announced.
    fn has_room(&self) -> bool {
        self.pending.len() < limits::WINDOW
            && self.held + limits::ATTRIBUTES <= limits::ATTRIBUTES_HELD
    }

    /// Announces the next entry. Returns false when there is none.
    fn announce_next(&mut self) -> Result<bool, TransferError> {
        let step = self.walk.next(self.next, &mut self.folders, &self.options, &mut self.tally);
        let mut weight = 0;
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
                // Without its attributes a folder has failed, and what is in it goes along.
                weight = match self.attributes_of(&met, FileKind::Folder) {
                    Ok(told) => self.announce_attributes(told)?,
                    Err(failure) => {
                        self.miss(&met, failure)?;
                        0
                    }
                };
                let (mode, time) = attributes(&met);
                self.announce(&ToReceiver::Folder { mode, time, name: &met.name })?;
                (met, FileKind::Folder)
            }
            Step::Link(met, target) => {
                if let Ok(told) = self.attributes_of(&met, FileKind::Link) {
                    weight = self.announce_attributes(told)?;
                }
                let (_, time) = attributes(&met);
                self.announce(&ToReceiver::Link { time, target: &target, name: &met.name })?;
                (met, FileKind::Link)
            }
            Step::HardLink(met, to, is_last) => {
                self.announce(&ToReceiver::HardLink { to, is_last, name: &met.name })?;
                (met, FileKind::HardLink)
            }
            Step::File(met) => {
                let told = self.attributes_of(&met, FileKind::File);
                let known = told.and_then(|told| Ok((told, self.digest_of(&met)?)));
                let (told, digest) = match known {
                    Ok(known) => known,
                    Err(failure) => {
                        if let Some(facts) = &met.facts {
                            self.walk.forget(facts);
                        }
                        self.miss(&met, failure)?;
                        return Ok(true);
                    }
                };
                weight = self.announce_attributes(told)?;
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
        let (is_wanted, is_abandoned) = (false, false);
        let pending =
            Pending { met, kind, is_wanted, sent: None, is_abandoned, weight, known: None };
        self.pending.insert(self.next, pending);
        self.held += weight;
        self.next += 1;
        Ok(true)
    }

    /// Sends a message that is part of the digest of all entries.
    fn announce(&mut self, message: &ToReceiver<'_>) -> Result<(), TransferError> {
        message.encode(&mut self.body);
        self.entries.update(self.body.as_bytes());
        self.writer.send(&self.body)
    }

    /// Sends what is told of the entry that comes next, and returns the bytes that count.
    fn announce_attributes(&mut self, told: Option<Attributes>) -> Result<usize, TransferError> {
        let Some(told) = told else {
            return Ok(0);
        };
        let weight = told.weight();
        self.announce(&ToReceiver::Attributes(told))?;
        Ok(weight)
    }

    fn say(&mut self, message: &ToReceiver<'_>) -> Result<(), TransferError> {
        message.encode(&mut self.body);
        self.writer.send(&self.body)
    }

    /// Reports an entry that cannot be sent.
    fn miss(&mut self, met: &Met, failure: Failure) -> Result<(), TransferError> {
        let has_failed = FileAction::of_failure(&failure) == FileAction::Failed;
        self.tally.met(0);
        self.tally.record(&FileEvent::missed(&met.path(), &failure));
        self.announce(&ToReceiver::Miss { failure, name: &met.name })?;
        self.stopped |= has_failed && self.options.fail_fast;
        Ok(())
    }

    /// Ends the transfer with the account of both ends.
    fn finish(&mut self) -> Result<Summary, TransferError> {
        let digest = digest_of_all(&self.entries, &self.contents);
        let (entries, stopped) = (self.next, self.stopped);
        self.say(&ToReceiver::Finish { entries, digest, stopped })?;
        self.writer.flush()?;
        self.answers.only_take();
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
                    let crossed = self.tally.progress.crossed;
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

    /// Sends the other end word that nothing more comes, unless it is the one that ended the transfer.
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

fn attributes(met: &Met) -> (u32, Time) {
    met.facts.map(|facts| (facts.mode, facts.time)).unwrap_or_default()
}
