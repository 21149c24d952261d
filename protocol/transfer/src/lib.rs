//! Moves files between the two ends of a stream of bytes, whole or not at all, and beneath one folder.
//!
//! One end has the files and [sends](Transfer::send) them, the other [receives](Transfer::receive) them. Either may
//! choose the options. The streams are anything that reads and writes: pipes of a process, a socket, the streams of a
//! command. Everything blocks, on the thread that calls; the sender has one thread more, which reads answers.
//!
//! ```no_run
//! use rcmd_transfer::{Destination, NoObserver, Transfer, TransferOptions, TransferSource};
//! # fn run(input: std::fs::File, output: std::fs::File) -> Result<(), Box<dyn std::error::Error>> {
//! let folder = std::fs::File::open("/srv/releases")?;
//! let source = TransferSource::entry(std::sync::Arc::new(folder.into()), b"r42")?;
//! let options = TransferOptions { recursive: true, preserve: true, ..Default::default() };
//! let transfer = Transfer::with_options(options);
//! let summary = transfer.send(input, output, vec![source], &mut NoObserver)?;
//! println!("{} files sent, {} failed", summary.counts.sent, summary.counts.failed);
//! # Ok(())
//! # }
//! ```
//!
//! # What holds
//!
//! - A file has its name only when all of it is there and has the digest that the sender computed. A file that is
//!   replaced is the old one or the new one, at every moment. With `in_place` it is not so, which that option says.
//! - Nothing is read or written but beneath the descriptors that the caller gave. Each name from the other end is one
//!   component; each folder is opened from the one above it, and never through a link; a file is opened without
//!   following, without waiting, and looked at before it is read.
//! - What the other end says is held to a limit before memory is taken for it. Neither end holds more than a bounded
//!   number of entries, names and descriptors, whatever the tree (`src/limits.rs`).
//! - Both ends have the same counts and the same digest at the end, or the transfer is an error.
//! - A file that fails is named with the reason, and the others go on, unless `fail_fast` says otherwise.
//! - Partial files have names that only we give. They are never sent, never deleted while they may be taken up, and
//!   gone when a file fails for good.
//!
//! | module | holds |
//! | --- | --- |
//! | `transfer` | how a transfer is set up |
//! | `send`, `receive` | the two ends |
//! | `source`, `destination`, `resolve` | what is sent, and where it goes; from paths to both, and patterns in paths |
//! | `options`, `rules` | what a transfer is to do, and with which files |
//! | `report`, `failure` | events, counts, errors |
//! | `confine` | what a process that only transfers gives up |
//! | `beneath`, `list`, `facts`, `name` | folders beneath a root, names, what the system says of files |
//! | `content` | digests, content in a smaller form, and what of it is there already |
//! | `wire`, `fields`, `limits` | messages, their parts, and every limit |
//!
//! `docs/transfer.md` specifies the wire.
#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    reason = "a process or a thread that does nothing but transfer"
)]

mod beneath;
mod confine;
mod content;
mod destination;
mod facts;
mod failure;
mod fields;
mod limits;
mod list;
mod name;
mod options;
mod receive;
mod report;
mod resolve;
mod rules;
mod send;
mod source;
mod transfer;
mod wire;

pub use confine::{Confinement, Reach, confine};
pub use destination::{Destination, DestinationKind};
pub use facts::AccountNames;
pub use failure::{EventOrigin, Failure, FailureKind, TransferError};
pub use options::{
    MetadataOptions, ModeChange, ModeError, OwnerChange, OwnerError, TransferOptions,
};
pub use report::{
    Counts, FileAction, FileEvent, FileKind, FileNotes, NoObserver, Observer, Progress, Summary,
    Withheld,
};
pub use resolve::{Landing, is_pattern, matches, open_typed, settled};
pub use rules::{FileRules, RuleError};
pub use source::{SourceParts, TransferSource};
pub use transfer::{Cancel, Transfer, TransferLimits, current_umask};
