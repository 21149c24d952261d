//! The types that pass between the two halves of a job. Nothing else does, and none of them refers
//! to a connection.

use std::time::Duration;

use bytes::Bytes;
use rcmd_protocol::signal::Signal;

use crate::process::{ProcessExit, Survivor};

/// A stream that a command writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// An order to the supervisor of a process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Control {
    /// Send this signal to the process group.
    Signal(Signal),
    /// Kill the tree.
    Kill(Reason),
    /// End the tree gently, and kill it if that takes too long.
    Terminate(Reason),
    /// Close a stream that nobody reads any longer.
    ReaderGone(OutputStream),
    /// Write these bytes to standard input.
    InputData(Bytes),
    /// Close standard input once all of it is written.
    InputEnd,
}

/// The amounts of output that may be read now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Room {
    /// The bytes of standard output.
    pub(super) stdout: usize,
    /// The bytes of standard error.
    pub(super) stderr: usize,
    /// True if the memory that output was read into may be kept for reuse.
    pub(super) keeps_blocks: bool,
}

/// The consequence of a message for a job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Action {
    /// An order to the supervisor.
    Process(Control),
    /// The client has the exit.
    Done,
}

/// A report of the supervisor of a process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// The process has started, at this time in milliseconds since 1970.
    Started(u64),
    /// The process wrote output.
    Output {
        /// The stream that it wrote to.
        stream: OutputStream,
        /// The bytes that it wrote.
        bytes: Bytes,
        /// The time of the read, in milliseconds since 1970, if the client wants it.
        time: Option<u64>,
    },
    /// A stream has ended: no more output comes from it.
    OutputEnded {
        /// The stream.
        stream: OutputStream,
        /// True if a process still held it open.
        is_open: bool,
    },
    /// This number of bytes was written to standard input.
    InputTaken(u64),
    /// The process has closed its standard input.
    InputClosed,
    /// The rest of standard input was dropped, and no more of it is taken.
    InputDropped,
    /// The process is gone, with all processes that had to end with it. No event follows.
    Exited(Exited),
}

/// The end of a process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Exited {
    /// The status of the process.
    pub(super) status: ProcessExit,
    /// The reason for which the server ended it, if the server did.
    pub(super) reason: Option<Reason>,
    /// The time that it ran for.
    pub(super) ran_for: Duration,
    /// The processes of its tree that could not be killed.
    pub(super) left: Vec<Survivor>,
    /// True if its whole tree had to end, and not only the process.
    pub(super) was_to_end: bool,
}

/// The reason for which the server ends a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reason {
    /// The command's timeout has expired.
    Timeout,
    /// The client ended the command, or reads its output no longer.
    Client,
    /// The client is gone and the grace has expired.
    Lost,
    /// The client sent an input whose digest differs.
    Corrupt,
    /// The server stops.
    Stopping,
    /// The policy no longer permits the command.
    Denied,
    /// An operator of the host ends the command.
    Operator,
}

impl Control {
    /// Returns whether this calls off a command that has not started. A signal whose default action
    /// ends no process (signal(7)) waits for the start instead, as input does.
    pub(super) fn calls_off(&self) -> bool {
        match self {
            Self::Signal(signal) => {
                // The numbers are CHLD, CONT, STOP, TSTP, TTIN, TTOU, URG and WINCH.
                !matches!(signal.number(), 17..=23 | 28)
            }
            Self::Kill(_) | Self::Terminate(_) => true,
            Self::ReaderGone(_) | Self::InputData(_) | Self::InputEnd => false,
        }
    }
}

impl Action {
    /// Returns whether this calls off a command that has not started.
    pub(super) fn calls_off(&self) -> bool {
        match self {
            Self::Process(control) => control.calls_off(),
            Self::Done => true,
        }
    }

    /// Returns the order that this means for a running process. A client that needs nothing more
    /// before the end has given the command up.
    pub(super) fn into_control(self) -> Control {
        match self {
            Self::Process(control) => control,
            Self::Done => Control::Kill(Reason::Client),
        }
    }
}
