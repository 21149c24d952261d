//! How a transfer is set up: who chooses its options, what it may use, and how it is ended from outside.

use std::{
    io::{self, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    beneath::Way,
    facts::AccountNames,
    failure::{Failure, FailureKind, TransferError},
    fields::Body,
    limits,
    options::{TransferOptions, UNKNOWN},
    wire::{Hello, MessageReader, MessageWriter, Role, ToReceiver, ToSender},
};

/// What the receiving end lets the other end make it write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferLimits {
    /// The size of one file, in bytes.
    pub file_bytes: u64,
    /// The sizes of all files whose content is sent, in bytes.
    pub bytes: u64,
    /// The number of entries.
    pub entries: u64,
}

impl Default for TransferLimits {
    /// Returns no limits but those of the disk.
    fn default() -> Self {
        Self { file_bytes: u64::MAX, bytes: u64::MAX, entries: u64::MAX }
    }
}

/// Ends a transfer from another thread. The transfer sees it between two messages; while it waits for the other end
/// it does not, so that whoever cancels also closes the stream.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Ends the transfer. Of the file that is being received the next transfer finds what came of it.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Returns the error of a transfer, which is that it was cancelled if it was: whoever cancels also closes the stream.
    pub(crate) fn why(&self, error: TransferError) -> TransferError {
        match error {
            TransferError::Lost(_) if self.0.load(Ordering::Relaxed) => TransferError::Cancelled,
            error => error,
        }
    }

    /// Returns whether the transfer is to end.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns an error once the transfer is to end.
    pub(crate) fn check(&self) -> Result<(), TransferError> {
        if self.0.load(Ordering::Relaxed) { Err(TransferError::Cancelled) } else { Ok(()) }
    }
}

/// A transfer that has not begun. [`send`](Self::send) and [`receive`](Self::receive) carry it out, on this thread.
#[derive(Clone, Debug)]
pub struct Transfer {
    pub(crate) options: Option<TransferOptions>,
    pub(crate) limits: TransferLimits,
    pub(crate) cancel: Cancel,
    pub(crate) umask: u32,
    pub(crate) way: Option<Way>,
    pub(crate) takes_links: bool,
    pub(crate) offers_in_place: bool,
    pub(crate) accounts: Arc<AccountNames>,
    pub(crate) refuses_deletion: bool,
    pub(crate) tells_chunks: bool,
    pub(crate) chunks_at_once: u64,
}

impl Transfer {
    /// Returns a transfer whose options this end chooses. The other end must take them.
    #[must_use]
    pub fn with_options(options: TransferOptions) -> Self {
        Self { options: Some(options), ..Self::with_peers_options() }
    }

    /// Returns a transfer whose options the other end chooses.
    #[must_use]
    pub fn with_peers_options() -> Self {
        Self {
            options: None,
            limits: TransferLimits::default(),
            cancel: Cancel::default(),
            umask: 0o022,
            way: None,
            takes_links: true,
            offers_in_place: false,
            accounts: Arc::default(),
            refuses_deletion: false,
            tells_chunks: false,
            chunks_at_once: limits::CHUNKS_TOGETHER,
        }
    }

    /// Limits what the other end can make this one write.
    #[must_use]
    pub fn limits(mut self, limits: TransferLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the bits that new files and folders do not get, unless modes are preserved. It is 022 otherwise;
    /// [`current_umask`] reads that of this process.
    #[must_use]
    pub fn umask(mut self, umask: u32) -> Self {
        self.umask = umask & 0o777;
        self
    }

    /// Lets another thread end the transfer.
    #[must_use]
    pub fn cancelled_by(mut self, cancel: &Cancel) -> Self {
        self.cancel = cancel.clone();
        self
    }

    /// Makes the receiving end refuse a source that comes as a link, symbolic or hard, with `unsafe_path`. Below a
    /// source links are taken. To be called where each source was asked for as what it leads to: else the other end
    /// could plant a link where a file was asked for, and whoever writes that file next would write through it.
    #[must_use]
    pub fn refusing_links(mut self) -> Self {
        self.takes_links = false;
        self
    }

    /// Lets the receiving end tell the other one digests of a file that it writes over in place, so that only what
    /// differs is sent. The other end learns by them whether it has the same content, in ranges of 1 MiB and more: to
    /// be called only where it may read the destination too, or where [`may_read`](crate::Observer::may_read) says so
    /// of each file.
    #[must_use]
    pub fn offering_in_place(mut self) -> Self {
        self.offers_in_place = true;
        self
    }

    /// Sets the names by which this end knows users and groups. Without it only their numbers count.
    #[must_use]
    pub fn account_names(mut self, names: AccountNames) -> Self {
        self.accounts = Arc::new(names);
        self
    }

    /// Makes the receiving end give up a transfer that is to delete, before anything comes (`unsafe_path`). To be called
    /// where the destination is a place that nobody means to empty: a root, or a home.
    #[must_use]
    pub fn refusing_deletion(mut self) -> Self {
        self.refuses_deletion = true;
        self
    }

    /// Lets the receiving end tell the other one digests of the parts of files that are to be replaced, where the option
    /// `delta` asks for it. The other end learns by them which of these parts it has too, and can guess short ones: to be
    /// called only where it may read the destination.
    #[must_use]
    pub fn telling_chunks(mut self) -> Self {
        self.tells_chunks = true;
        self
    }

    /// Limits how many chunks the sender holds of files whose content has not come, where the receiving end tells of
    /// them; 262,144 without this call, which is also the most. Of one file up to 131,072 are told of all the same.
    #[must_use]
    pub fn chunks_at_once(mut self, most: u64) -> Self {
        self.chunks_at_once = most.min(limits::CHUNKS_TOGETHER);
        self
    }

    /// Makes the transfer do without `openat2(2)`, as it does by itself where the kernel has none.
    #[must_use]
    pub fn resolving_by_hand(mut self) -> Self {
        self.way = Some(Way::ByHand);
        self
    }

    pub(crate) fn way(&self) -> Way {
        self.way.unwrap_or_else(Way::of_this_host)
    }
}

/// Returns the umask of this process, or 022 where `/proc` does not tell. A confined process cannot read it any more.
#[must_use]
pub fn current_umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    umask.and_then(|digits| u32::from_str_radix(digits.trim(), 8).ok()).unwrap_or(0o022)
}

/// Sends the hello.
pub(crate) fn say_hello<W: Write>(
    writer: &mut MessageWriter<W>,
    role: Role,
    options: Option<&TransferOptions>,
) -> Result<(), TransferError> {
    let mut body = Body::default();
    Hello { role, options: options.cloned() }.encode(&mut body);
    writer.send(&body)?;
    writer.flush()
}

/// Hears the other end's hello, and returns the options that it chooses, if it is the one that does.
pub(crate) fn hear_hello<R: Read>(
    reader: &mut MessageReader<R>,
    role: Role,
    own: Option<&TransferOptions>,
) -> Result<Option<TransferOptions>, TransferError> {
    let Some((kind, fields)) = reader.next()? else {
        return Err(TransferError::Lost(io::ErrorKind::UnexpectedEof.into()));
    };
    let other = Hello::decode(kind, fields).map_err(|malformed| match malformed {
        UNKNOWN => {
            let text = "its release does not know an option of this transfer: update it, or leave \
                        out what is new";
            Failure::new(FailureKind::Io, text).into()
        }
        malformed => TransferError::from(malformed),
    })?;
    if other.role == role {
        return Err(TransferError::Protocol("both ends send, or both receive"));
    }
    match (own.is_some(), other.options.is_some()) {
        (true, true) => Err(TransferError::Protocol("both ends choose the options")),
        (false, false) => Err(TransferError::Protocol("neither end chooses the options")),
        _ => Ok(other.options),
    }
}

/// Sends the other end the reason why a transfer does not begin, if that is for this end to say.
pub(crate) fn refuse<W: Write>(writer: &mut MessageWriter<W>, role: Role, error: &TransferError) {
    if let TransferError::Local(failure) = error {
        let (mut body, failure) = (Body::default(), failure.clone());
        match role {
            Role::Sender => ToReceiver::Abort(failure).encode(&mut body),
            Role::Receiver => ToSender::Abort(failure).encode(&mut body),
        }
        // The error is what counts; that the stream is gone as well adds nothing.
        let _ = writer.send(&body).and_then(|()| writer.flush());
    }
}
