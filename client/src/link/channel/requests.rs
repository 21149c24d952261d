//! The signals and the cancellation that a caller asks for, kept as long as the server may not have
//! carried them out.

use std::collections::VecDeque;

use rcmd_protocol::{frame::Frame, signal::Signal};

/// Signals that are kept to be sent again after a loss.
const SIGNALS: usize = 64;

/// Signals and a cancellation.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// Signals that the server may not have carried out, each with its number.
    signals: VecDeque<(u64, Signal)>,
    /// The number of the last signal.
    last: u64,
    cancelled: bool,
}

impl Requests {
    /// Adds a signal and returns the number under which it is sent.
    pub(super) fn signal(&mut self, signal: Signal) -> u64 {
        self.last += 1;
        if self.signals.len() >= SIGNALS {
            self.signals.pop_front();
        }
        self.signals.push_back((self.last, signal));
        self.last
    }

    /// Asks for the end of the command.
    pub(super) fn cancel(&mut self) {
        self.cancelled = true;
    }

    /// Returns whether the caller wants a command to end that has not begun.
    pub(super) fn are_some(&self) -> bool {
        self.cancelled || !self.signals.is_empty()
    }

    /// Puts these signals behind those of another client, of which there were so many.
    pub(super) fn follow(&mut self, others: u64) {
        self.last += others;
        self.signals.iter_mut().for_each(|(number, _)| *number += others);
    }

    /// Drops the signals that the server has carried out.
    pub(super) fn carried_out(&mut self, upto: u64) {
        self.signals.retain(|&(number, _)| number > upto);
    }

    /// Returns the signals as the frames that ask for them.
    pub(super) fn signals(&self, ch: u32) -> impl Iterator<Item = Frame> + use<'_> {
        self.signals.iter().map(move |&(number, signal)| Frame::Signal { ch, number, signal })
    }

    /// Returns the frame that asks for the cancellation, if it was asked for.
    pub(super) fn cancellation(&self, ch: u32) -> Option<Frame> {
        self.cancelled.then_some(Frame::Cancel { ch })
    }
}
