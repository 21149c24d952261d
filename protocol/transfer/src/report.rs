//! What a transfer tells its caller: an event for each file, counts, and a summary.

use std::os::fd::BorrowedFd;

use crate::failure::{EventOrigin, Failure, FailureKind};

/// What kind of thing an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A file with content.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// One more name of a file that has another name in this transfer.
    HardLink,
    /// A device, a pipe or a socket, or what could not be looked at.
    Other,
}

/// What was done with a file, or in a dry run would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileAction {
    /// It is new at the destination.
    Created,
    /// Its content, or what it links to, took the place of another.
    Replaced,
    /// Its content was there; its permission bits, times, owner or attributes were set.
    Adjusted,
    /// It was there as it is.
    Unchanged,
    /// It was newer at the destination, and left.
    Skipped,
    /// It was deleted, since the source lacks it.
    Deleted,
    /// It went away before it was read. That is no failure.
    Vanished,
    /// It failed; what was at the destination is there still.
    Failed,
}

impl FileAction {
    /// Every action, in the order of their numbers on the wire, of which the first is 1.
    pub(crate) const ALL: [Self; 8] = [
        Self::Created,
        Self::Replaced,
        Self::Adjusted,
        Self::Unchanged,
        Self::Skipped,
        Self::Deleted,
        Self::Vanished,
        Self::Failed,
    ];
}

/// What differed at the destination, and what is worth a note.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FileNotes(u16);

impl FileNotes {
    /// The size differed.
    pub const SIZE: Self = Self(1);
    /// The time differed.
    pub const TIME: Self = Self(2);
    /// The permission bits differed.
    pub const MODE: Self = Self(4);
    /// The digest, or the target of a link, differed.
    pub const CONTENT: Self = Self(8);
    /// It grew while it was read; what was there when it was opened was delivered.
    pub const GREW: Self = Self(16);
    /// The setuid or setgid bit of the source, or of the file that was replaced, was not set.
    pub const SET_ID_DROPPED: Self = Self(32);
    /// A part of it was there from an earlier try.
    pub const RESUMED: Self = Self(64);
    /// The owner or the group differed.
    pub const OWNER: Self = Self(256);
    /// An attribute of users differed.
    pub const XATTRS: Self = Self(512);
    /// An access list differed.
    pub const ACL: Self = Self(1024);

    /// The bits of all notes.
    const KNOWN: u16 = 127 | Self::OWNER.0 | Self::XATTRS.0 | Self::ACL.0;

    /// Returns both.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns these, with another one if a condition holds.
    #[must_use]
    pub(crate) fn with_if(self, condition: bool, other: Self) -> Self {
        if condition { self.with(other) } else { self }
    }

    /// Returns whether all of another's are among these.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) fn bits(self) -> u16 {
        self.0
    }

    /// Returns the notes of these bits, or nothing if one of them is no note.
    pub(crate) fn from_bits(bits: u16) -> Option<Self> {
        (bits & !Self::KNOWN == 0).then_some(Self(bits))
    }
}

/// What became of one file.
#[derive(Clone, Copy, Debug)]
pub struct FileEvent<'a> {
    /// Its path, which begins with the name that the transfer gives the source. The bytes may be those of the other
    /// end, and are not fit for a terminal as they are.
    pub path: &'a [u8],
    /// What it is.
    pub kind: FileKind,
    /// Where it came to its end.
    pub origin: EventOrigin,
    /// What was done.
    pub action: FileAction,
    /// The size of a file whose content was sent, in bytes, else 0.
    pub bytes: u64,
    /// The BLAKE3 digest of a file whose content was sent.
    pub digest: Option<[u8; 32]>,
    /// What differed, and notes.
    pub notes: FileNotes,
    /// Why it failed.
    pub failure: Option<&'a Failure>,
}

impl FileAction {
    /// Returns what became of an entry for this failure.
    pub(crate) fn of_failure(failure: &Failure) -> Self {
        if failure.kind == FailureKind::Vanished { Self::Vanished } else { Self::Failed }
    }
}

impl<'a> FileEvent<'a> {
    /// Returns the event of an entry that the source could not send.
    pub(crate) fn missed(path: &'a [u8], failure: &'a Failure) -> Self {
        let (kind, action) = (FileKind::Other, FileAction::of_failure(failure));
        Self::bare(path, kind, EventOrigin::Source, action, Some(failure))
    }

    /// Returns the event of an entry that the destination alone has.
    pub(crate) fn of_destination(
        path: &'a [u8],
        kind: FileKind,
        action: FileAction,
        failure: Option<&'a Failure>,
    ) -> Self {
        Self::bare(path, kind, EventOrigin::Destination, action, failure)
    }

    fn bare(
        path: &'a [u8],
        kind: FileKind,
        origin: EventOrigin,
        action: FileAction,
        failure: Option<&'a Failure>,
    ) -> Self {
        let notes = FileNotes::default();
        Self { path, kind, origin, action, bytes: 0, digest: None, notes, failure }
    }
}

/// How many of each there were. Both ends have the same numbers at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Files whose content was sent.
    pub sent: u64,
    /// The sizes of these files together, in bytes.
    pub bytes: u64,
    /// Folders that were made, and links, symbolic and hard, that were made or replaced.
    pub made: u64,
    /// Entries whose content was there, and of which something else was set.
    pub adjusted: u64,
    /// Entries that were there as they are.
    pub unchanged: u64,
    /// Files that were newer at the destination.
    pub skipped: u64,
    /// Files that went away before they were read.
    pub vanished: u64,
    /// Entries that were deleted at the destination.
    pub deleted: u64,
    /// Entries that failed.
    pub failed: u64,
}

impl Counts {
    /// Returns the numbers in the order of the wire.
    pub(crate) fn numbers(&mut self) -> [&mut u64; 9] {
        [
            &mut self.sent,
            &mut self.bytes,
            &mut self.made,
            &mut self.adjusted,
            &mut self.unchanged,
            &mut self.skipped,
            &mut self.vanished,
            &mut self.deleted,
            &mut self.failed,
        ]
    }

    /// Counts what became of one entry.
    pub fn record(&mut self, event: &FileEvent<'_>) {
        let number = match event.action {
            FileAction::Created | FileAction::Replaced if event.kind == FileKind::File => {
                self.bytes = self.bytes.saturating_add(event.bytes);
                &mut self.sent
            }
            FileAction::Created | FileAction::Replaced => &mut self.made,
            FileAction::Adjusted => &mut self.adjusted,
            FileAction::Unchanged => &mut self.unchanged,
            FileAction::Skipped => &mut self.skipped,
            FileAction::Deleted => &mut self.deleted,
            FileAction::Vanished => &mut self.vanished,
            FileAction::Failed => &mut self.failed,
        };
        *number = number.saturating_add(1);
    }
}

/// How far a transfer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Entries that were met in the source so far.
    pub entries: u64,
    /// The sizes of the files among them, in bytes.
    pub announced: u64,
    /// Entries of which is known what became of them.
    pub settled: u64,
    /// Bytes of content as they crossed the stream, packed ones as such; holes and what was there already not counted.
    pub crossed: u64,
    /// Bytes of content that are over with: those that came, packed or not, holes, and what was there of files that are
    /// gone on with or copied from.
    pub passed: u64,
}

/// Why nothing was deleted although that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Withheld {
    /// An entry failed, or the transfer was stopped.
    Incomplete,
    /// The source has no file, and how many may be deleted was not said. An event of the destination says so too.
    EmptySource,
    /// More would be deleted than may be. An event of the destination says so too.
    TooMany,
}

impl Withheld {
    /// Every reason, in the order of their numbers on the wire, of which the first is 1.
    pub(crate) const ALL: [Self; 3] = [Self::Incomplete, Self::EmptySource, Self::TooMany];
}

/// How a transfer ended whose both ends agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// How many of each there were.
    pub counts: Counts,
    /// Bytes of content as they crossed the stream, packed ones as such; holes and what was there already not counted.
    pub crossed: u64,
    /// A digest of what was announced of every entry, in order, and of each content that was sent. The same tree sent
    /// to an empty place has the same digest again, unless one of its folders has more than about 130,000 entries.
    pub digest: [u8; 32],
    /// A failure ended it before all was sent, as was asked for.
    pub stopped: bool,
    /// Nothing was deleted, and why.
    pub withheld: Option<Withheld>,
}

impl Summary {
    /// Returns whether everything is at the destination as it is at the source.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.counts.failed == 0 && !self.stopped
    }
}

/// Learns what happens in a transfer. All of it happens on the thread that transfers, which waits for it.
pub trait Observer {
    /// Receives the outcome of one file.
    fn file(&mut self, event: &FileEvent<'_>) {
        let _ = event;
    }

    /// Receives the progress of the transfer. It is called for each message with content, and often else.
    fn progress(&mut self, progress: &Progress) {
        let _ = progress;
    }

    /// Returns whether the receiving end takes what the other end sends under this name, which is the name of a source
    /// and not of anything below it. It is asked whatever name the destination gives the source. What is not taken
    /// fails with `unsafe_path`, and so does all that is below it.
    fn may_take(&mut self, name: &[u8]) -> bool {
        let _ = name;
        true
    }

    /// Returns whether a folder below the one that the transfer begins with may be entered. The descriptor is that of
    /// the folder itself, which is used afterwards, and may be one of `O_PATH`. One that may not be entered fails with
    /// `denied`.
    fn may_enter(&mut self, path: &[u8], folder: BorrowedFd<'_>) -> bool {
        let _ = (path, folder);
        true
    }

    /// Returns whether the receiving end may make a folder of a name in another one, whose descriptor is given, which
    /// may be one of `O_PATH`. The path is that of the new folder. A dry run asks too. One that may not be made fails
    /// with `denied`; for one that was made [`may_enter`](Self::may_enter) is asked as well.
    fn may_make(&mut self, path: &[u8], above: BorrowedFd<'_>, name: &[u8]) -> bool {
        let _ = (path, above, name);
        true
    }

    /// Returns whether a file may be read, whose descriptor is given, with its size in bytes.
    ///
    /// The sending end asks for a file that is a source itself and lies in no folder that is sent, each time that it
    /// has opened the file, which it reads up to that size. One that may not be read fails with `denied`. The receiving
    /// end asks for a file that it writes over in place, before it tells the sender what is in it: if it may not be
    /// read, nothing is told and all of the file comes. It also asks for a file of which the sender has not shown that
    /// it has the content, before it gives it one more name: if it may not be read, that name fails with `denied`.
    fn may_read(&mut self, path: &[u8], file: BorrowedFd<'_>, size: u64) -> bool {
        let _ = (path, file, size);
        true
    }
}

/// Ignores everything and permits every folder.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}

/// What an end keeps of its events: the caller's observer and the counts.
pub(crate) struct Tally<'o> {
    observer: &'o mut dyn Observer,
    pub(crate) counts: Counts,
    pub(crate) progress: Progress,
}

impl<'o> Tally<'o> {
    pub(crate) fn new(observer: &'o mut dyn Observer) -> Self {
        Self { observer, counts: Counts::default(), progress: Progress::default() }
    }

    /// Counts an event and passes it on.
    pub(crate) fn record(&mut self, event: &FileEvent<'_>) {
        self.counts.record(event);
        if event.action != FileAction::Deleted {
            self.progress.settled += 1;
        }
        self.observer.file(event);
        self.observer.progress(&self.progress);
    }

    /// Counts an entry that was met.
    pub(crate) fn met(&mut self, bytes: u64) {
        self.progress.entries += 1;
        self.progress.announced = self.progress.announced.saturating_add(bytes);
    }

    /// Counts content, and the bytes that crossed the stream for it.
    pub(crate) fn crossed(&mut self, content: u64, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or_default();
        self.progress.crossed = self.progress.crossed.saturating_add(bytes);
        self.passed(content);
    }

    /// Counts content that need not cross the stream, or has.
    pub(crate) fn passed(&mut self, bytes: u64) {
        self.progress.passed = self.progress.passed.saturating_add(bytes);
        self.observer.progress(&self.progress);
    }

    /// Asks whether a source of this name is taken.
    ///
    /// # Errors
    /// `unsafe_path`.
    pub(crate) fn may_take(&mut self, name: &[u8]) -> Result<(), Failure> {
        match self.observer.may_take(name) {
            true => Ok(()),
            false => Err(Failure::new(FailureKind::UnsafePath, "it was not asked for")),
        }
    }

    /// Asks whether a folder may be entered.
    ///
    /// # Errors
    /// `denied`.
    pub(crate) fn may_enter(&mut self, path: &[u8], folder: BorrowedFd<'_>) -> Result<(), Failure> {
        match self.observer.may_enter(path, folder) {
            true => Ok(()),
            false => Err(Failure::new(FailureKind::Denied, "this folder may not be entered")),
        }
    }

    /// Asks whether a folder may be made.
    ///
    /// # Errors
    /// `denied`.
    pub(crate) fn may_make(
        &mut self,
        path: &[u8],
        above: BorrowedFd<'_>,
        name: &[u8],
    ) -> Result<(), Failure> {
        match self.observer.may_make(path, above, name) {
            true => Ok(()),
            false => Err(Failure::new(FailureKind::Denied, "this folder may not be made")),
        }
    }

    /// Asks whether a file may be read, now that it is open.
    ///
    /// # Errors
    /// `denied`.
    pub(crate) fn may_read(
        &mut self,
        path: &[u8],
        file: BorrowedFd<'_>,
        size: u64,
    ) -> Result<(), Failure> {
        match self.observer.may_read(path, file, size) {
            true => Ok(()),
            false => {
                Err(Failure::new(FailureKind::Denied, "this file may not be read as it is now"))
            }
        }
    }
}
