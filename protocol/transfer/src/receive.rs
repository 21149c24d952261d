//! The receiving end. It looks at what is there for each entry that is announced, and asks for the contents that it
//! lacks. A file gets its name when all of it is there and has the digest that the sender says; a folder gets its
//! permission bits and times when nothing in it is under way; what is to be deleted goes last.

mod content;
mod delete;
mod doomed;
mod dry;
mod files;
mod finish;
mod folders;
mod known;
mod links;
mod made;
mod metadata;
mod owner;
mod partial;
mod pending;
mod place;
mod sticky;
mod sync;
mod target;
mod writing;

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    io::{self, Read, Write},
    rc::Rc,
    sync::Arc,
};

use content::Current;
use delete::Deletions;
use links::Linked;
use metadata::Metadata;
use partial::Parts;
use pending::{Outcome, Pending};
use place::{NameSet, Place, State};
use target::Maker;

use crate::{
    beneath::{Folder, Folders, Purpose, opened_anew},
    content::packing::Unpacker,
    destination::{Destination, DestinationKind},
    facts::{FileId, Time},
    failure::{Failure, FailureKind, TransferError},
    fields::Body,
    limits,
    options::TransferOptions,
    report::{FileAction, FileEvent, FileKind, Observer, Summary, Tally},
    transfer::{Cancel, Transfer, TransferLimits, hear_hello, refuse, say_hello},
    wire::{MessageReader, MessageWriter, Role, ToReceiver, ToSender},
};

impl Transfer {
    /// Receives what the other end of a stream sends, and returns when both ends agree on how it ended.
    ///
    /// # Errors
    /// The stream is lost, an end gives up, or they do not agree. Every file that has its name by then is whole; of
    /// one that was under way a later transfer finds what came of it.
    pub fn receive<R, W>(
        self,
        reader: R,
        writer: W,
        destination: Destination,
        observer: &mut dyn Observer,
    ) -> Result<Summary, TransferError>
    where
        R: Read,
        W: Write,
    {
        let way = self.way();
        let mut reader = MessageReader::new(reader);
        let mut writer = MessageWriter::new(writer);
        say_hello(&mut writer, Role::Receiver, self.options.as_ref())?;
        let heard = hear_hello(&mut reader, Role::Receiver, self.options.as_ref());
        let heard = heard.inspect_err(|error| refuse(&mut writer, Role::Receiver, error))?;
        let options = self.options.or(heard).unwrap_or_default();
        let is_delta = options.delta && !options.in_place;
        let mut receiver = Receiver {
            writer,
            body: Body::default(),
            folders: Folders::new(way, Purpose::Passing),
            maker: Maker::new(),
            places: vec![Rc::new(top_place(&destination, &options))],
            destination: destination.kind,
            is_named: false,
            options,
            limits: self.limits,
            cancel: self.cancel,
            umask: self.umask,
            metadata: Metadata::default(),
            takes_links: self.takes_links,
            offers_in_place: self.offers_in_place,
            unmade: None,
            account: rustix::process::geteuid().as_raw(),
            tally: Tally::new(observer),
            pending: HashMap::new(),
            linked: HashMap::new(),
            waiting: 0,
            offers: 0,
            parts: Parts::default(),
            unfinished: HashMap::new(),
            remembered: 0,
            current: None,
            next: 0,
            files: 0,
            dry_bytes: 0,
            entries: blake3::Hasher::new(),
            contents: blake3::Hasher::new(),
            deletions: Deletions::default(),
            stopped: false,
            tells_chunks: self.tells_chunks && is_delta,
            chunks_at_once: self.chunks_at_once,
            known: 0,
            deferred: VecDeque::new(),
            unpacker: Unpacker::default(),
        };
        let ended = match Metadata::new(self.accounts, &receiver.options.metadata) {
            _ if self.refuses_deletion && receiver.options.delete => {
                let text = "nothing is deleted in a root or a home; name a folder in it";
                Err(Failure::new(FailureKind::UnsafePath, text).into())
            }
            Ok(metadata) => {
                receiver.metadata = metadata;
                receiver.run(&mut reader)
            }
            Err(failure) => Err(failure.into()),
        };
        let ended = ended.map_err(|error| receiver.cancel.why(error));
        if let Err(error) = &ended {
            receiver.give_up(error);
            if receiver.next == 0 && matches!(error, TransferError::Local(_)) {
                hear_out(&mut reader);
            }
        }
        ended
    }
}

/// Reads what a sender says before it hears that nothing is taken, and ends: a stream that is closed before all of it was
/// read may lose what was said last. That is no more than it may announce unanswered, with what is no entry.
fn hear_out<R: Read>(reader: &mut MessageReader<R>) {
    for _ in 0..4 * limits::WINDOW {
        if !matches!(reader.next(), Ok(Some(_))) {
            return;
        }
    }
}

/// Returns the place that everything goes beneath.
fn top_place(destination: &Destination, options: &TransferOptions) -> Place {
    let (facts, kind) = (destination.facts, &destination.kind);
    let is_compared = options.delete && *kind == DestinationKind::Itself;
    let given = || Arc::clone(&destination.folder);
    let folder = match is_compared {
        // What cannot be opened to be read fails when it is.
        true => opened_anew(&destination.folder).map_or_else(|_| given(), Arc::new),
        false => given(),
    };
    let folder = Folder::root(folder, facts.id, b"");
    Place {
        above: None,
        name: Vec::new(),
        state: State::There(folder),
        is_top: true,
        is_made: false,
        keeps: true,
        mode: facts.mode,
        time: facts.time,
        found_mode: facts.mode,
        is_own: facts.owner.0 == rustix::process::geteuid().as_raw(),
        owner: (None, None),
        restore: Cell::new(None),
        busy: Cell::new(1),
        names: RefCell::new(is_compared.then(NameSet::default)),
    }
}

struct Receiver<'o, W> {
    writer: MessageWriter<W>,
    body: Body,
    folders: Folders,
    maker: Maker,
    /// The folders that entries come for, from the destination downwards.
    places: Vec<Rc<Place>>,
    destination: DestinationKind,
    /// The one source that goes under a name has come.
    is_named: bool,
    options: TransferOptions,
    limits: TransferLimits,
    cancel: Cancel,
    umask: u32,
    metadata: Metadata,
    /// Sources themselves may be links.
    takes_links: bool,
    /// The sender may learn what a file has that is written over in place.
    offers_in_place: bool,
    /// Why the folder that everything goes into could not be made.
    unmade: Option<Failure>,
    account: u32,
    tally: Tally<'o>,
    pending: HashMap<u64, Pending>,
    /// Files with further names, by number.
    linked: HashMap<u64, Linked>,
    /// How many links wait for a file.
    waiting: usize,
    /// How many parts of files are open.
    offers: usize,
    /// What earlier transfers left where files come now.
    parts: Parts,
    /// The folders that this transfer has made, or taken up, and not finished, and whether it is noted in them where they are.
    unfinished: HashMap<FileId, bool>,
    /// How many names are remembered for deletion.
    remembered: usize,
    current: Option<Current>,
    next: u64,
    /// Entries that are no folders.
    files: u64,
    /// What a dry run would have written so far, in bytes.
    dry_bytes: u64,
    entries: blake3::Hasher,
    contents: blake3::Hasher,
    deletions: Deletions,
    stopped: bool,
    /// The sender may learn which chunks a file has that is replaced.
    tells_chunks: bool,
    chunks_at_once: u64,
    /// How many chunks it was told of, of files whose content has not come.
    known: u64,
    /// The files of which it is told when there is room: their numbers and sizes.
    deferred: VecDeque<(u64, u64)>,
    unpacker: Unpacker,
}

impl<W: Write> Receiver<'_, W> {
    fn run<R: Read>(&mut self, reader: &mut MessageReader<R>) -> Result<Summary, TransferError> {
        loop {
            self.cancel.check()?;
            self.want_deferred()?;
            if !reader.is_ready() {
                self.writer.flush()?;
            }
            let Some((kind, fields)) = reader.next()? else {
                return Err(TransferError::Lost(io::ErrorKind::UnexpectedEof.into()));
            };
            if (2..8).contains(&kind) || kind == 9 {
                self.entries.update(&[kind]);
                self.entries.update(fields);
            }
            self.metadata.check(kind)?;
            match ToReceiver::decode(kind, fields)? {
                ToReceiver::Attributes(said) => {
                    self.metadata.announce(said, &self.options.metadata)?;
                }
                ToReceiver::Folder { mode, time, name } => self.on_folder(mode, time, name)?,
                ToReceiver::Leave => self.on_leave()?,
                ToReceiver::File { mode, time, size, has_more_names, digest, name } => {
                    let mode = self.changed_mode(mode, false);
                    let announced = files::Announced { mode, time, size, digest };
                    self.on_file(&announced, has_more_names, name)?;
                }
                ToReceiver::Link { time, target, name } => self.on_link(time, target, name)?,
                ToReceiver::HardLink { to, is_last, name } => {
                    self.on_hard_link(to, is_last, name)?
                }
                ToReceiver::Miss { failure, name } => self.on_miss(failure, name)?,
                ToReceiver::Begin { index, offset, size, stored, mode, time } => {
                    let mode = self.changed_mode(mode, false);
                    self.on_begin(index, &content::Opening { offset, size, stored, mode, time })?;
                }
                ToReceiver::Data(content) => self.on_data(content)?,
                ToReceiver::Hole(length) => self.on_hole(length)?,
                ToReceiver::Packed { length, packed } => self.on_packed(length, packed)?,
                ToReceiver::Copy { offset, length } => self.on_copy(offset, length)?,
                ToReceiver::End { digest, grew } => self.on_end(digest, grew)?,
                ToReceiver::Abandon { index, again, failure } => {
                    self.on_abandon(index, again, failure)?;
                }
                ToReceiver::Finish { entries, digest, stopped } => {
                    return self.finish(entries, digest, stopped);
                }
                ToReceiver::Abort(failure) => return Err(TransferError::Peer(failure)),
            }
        }
    }

    fn say(&mut self, message: &ToSender) -> Result<(), TransferError> {
        message.encode(&mut self.body);
        self.writer.send(&self.body)
    }

    /// Returns the number of an entry that has come.
    fn number(&mut self, bytes: u64) -> Result<u64, TransferError> {
        let index = self.next;
        self.check_entries()?;
        let is_coming = self.current.as_ref().is_some_and(|current| current.writing.is_some());
        if self.pending.len() + self.waiting + usize::from(is_coming) >= limits::WINDOW {
            return Err(TransferError::Protocol("it announces more than the window has room for"));
        }
        self.next += 1;
        self.tally.met(bytes);
        Ok(index)
    }

    /// Checks that one entry more may come.
    fn check_entries(&self) -> Result<(), TransferError> {
        if self.tally.progress.entries < self.limits.entries {
            return Ok(());
        }
        let text = format!("it sends more than {} entries", self.limits.entries);
        Err(Failure::new(FailureKind::TooBig, text).into())
    }

    /// Returns the folder that entries come for.
    fn place(&self) -> Result<Rc<Place>, TransferError> {
        self.places.last().cloned().ok_or(TransferError::Protocol("it left the last folder"))
    }

    /// Reports the outcome of an entry to both callers.
    fn settle(
        &mut self,
        index: u64,
        path: &[u8],
        kind: FileKind,
        outcome: Outcome,
    ) -> Result<(), TransferError> {
        let Outcome { action, origin, notes, bytes, digest, failure } = outcome;
        self.record(&FileEvent {
            path,
            kind,
            origin,
            action,
            bytes,
            digest,
            notes,
            failure: failure.as_ref(),
        })?;
        self.say(&ToSender::Outcome { index, action, notes, failure })
    }

    /// Reports the outcome of an entry without a number to both callers.
    fn tell(
        &mut self,
        path: Vec<u8>,
        kind: FileKind,
        action: FileAction,
        failure: Option<Failure>,
    ) -> Result<(), TransferError> {
        self.record(&FileEvent::of_destination(&path, kind, action, failure.as_ref()))?;
        self.say(&ToSender::Event { path, kind, action, failure })
    }

    fn record(&mut self, event: &FileEvent<'_>) -> Result<(), TransferError> {
        self.tally.record(event);
        if event.action == FileAction::Failed && self.options.fail_fast && !self.stopped {
            self.stopped = true;
            self.say(&ToSender::Stop)?;
        }
        Ok(())
    }

    /// Sends the other end word that nothing more is taken, unless it is the one that ended the transfer.
    fn give_up(&mut self, error: &TransferError) {
        // A part without a whole range is worth nothing to the next try.
        if self.current.as_ref().is_some_and(|current| current.at < limits::RANGE) {
            self.remove_current();
        }
        let failure = match error {
            TransferError::Lost(_) | TransferError::Peer(_) => return,
            TransferError::Local(failure) => failure.clone(),
            other => Failure::new(FailureKind::Io, other.to_string()),
        };
        // The error is what counts; that the stream is gone as well adds nothing.
        let _ = self.say(&ToSender::Abort(failure)).and_then(|()| self.writer.flush());
    }
}

/// Returns whether a time is to be set.
fn wants_time(options: &TransferOptions, found: Time, announced: Time) -> bool {
    options.preserve && !found.equals(announced)
}
