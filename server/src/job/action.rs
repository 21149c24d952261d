//! What the two halves of a job say to each other. Nothing else passes between them, and nothing of it
//! speaks of a connection.

use std::time::Duration;

use bytes::Bytes;
use rcmd_protocol::signal::Signal;

use crate::process::{ProcessExit, Survivor};

/// A stream that a command writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum OutputStream {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

/// What the supervisor of a process is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Control {
    /// Send the process group this signal.
    Signal(Signal),
    /// Kill the tree.
    Kill(Reason),
    /// End the tree gently, and kill it when that takes too long.
    Terminate(Reason),
    /// Close a stream that nobody reads any more.
    ReaderGone(OutputStream),
    /// Write this to its standard input.
    InputData(Bytes),
    /// Close its standard input once all of it is written.
    InputEnd,
}

/// How much output may be read now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Room {
    /// Bytes of standard output.
    pub(super) stdout: usize,
    /// Bytes of standard error.
    pub(super) stderr: usize,
    /// Whether memory that was read into may be kept, to be used again.
    pub(super) keeps_blocks: bool,
}

/// What a message means for a job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Action {
    /// Something to be done with its process.
    Process(Control),
    /// The client has the end.
    Done,
}

/// What the supervisor of a process reports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// The process has started, at this time in milliseconds since 1970.
    Started(u64),
    /// It wrote something.
    Output {
        /// Where.
        stream: OutputStream,
        /// What.
        bytes: Bytes,
        /// When it was read, in milliseconds since 1970, if that is wanted.
        time: Option<u64>,
    },
    /// A stream has ended: no more output of it comes.
    OutputEnded {
        /// Which.
        stream: OutputStream,
        /// Whether something still held it open.
        is_open: bool,
    },
    /// So many bytes of its standard input were written.
    InputTaken(u64),
    /// It has closed its standard input.
    InputClosed,
    /// Nothing reads its standard input any more.
    InputDropped,
    /// It is gone, with all that was to end with it. Nothing comes after this.
    Exited(Exited),
}

/// How a process ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Exited {
    /// Its status.
    pub(super) status: ProcessExit,
    /// Why the server ended it, if the server did.
    pub(super) reason: Option<Reason>,
    /// How long it ran.
    pub(super) ran_for: Duration,
    /// Processes of its tree that could not be killed.
    pub(super) left: Vec<Survivor>,
    /// True if all of its tree was to end, and not only its process.
    pub(super) was_to_end: bool,
}

/// Why the server ends a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reason {
    /// Its time was up.
    Timeout,
    /// Its client asked for it, or reads no more.
    Client,
    /// Its client is gone and the grace is over.
    Lost,
    /// Its client sent an input whose digest differs.
    Corrupt,
    /// The server stops.
    Stopping,
    /// The policy no longer permits it.
    Denied,
}

impl Control {
    /// Returns whether a command that has not started is not to start because of this. What ends no
    /// process by default (signal(7)) waits for it instead, as input does.
    pub(super) fn calls_off(&self) -> bool {
        match self {
            Self::Signal(signal) => {
                // CHLD, CONT, STOP, TSTP, TTIN, TTOU, URG, WINCH.
                !matches!(signal.number(), 17..=23 | 28)
            }
            Self::Kill(_) | Self::Terminate(_) => true,
            Self::ReaderGone(_) | Self::InputData(_) | Self::InputEnd => false,
        }
    }
}

impl Action {
    /// Returns whether a command that has not started is not to start because of this.
    pub(super) fn calls_off(&self) -> bool {
        match self {
            Self::Process(control) => control.calls_off(),
            Self::Done => true,
        }
    }

    /// Returns what this means for a process that runs. A client that is done before the end has given
    /// the command up.
    pub(super) fn into_control(self) -> Control {
        match self {
            Self::Process(control) => control,
            Self::Done => Control::Kill(Reason::Client),
        }
    }
}
