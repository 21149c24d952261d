//! Words to all targets of a run.

use rcmd_protocol::signal::Signal;

use super::rules::Stop;

/// The last word to all targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Control {
    stopped: Option<Stop>,
    /// The number of signals before this one, and the signal.
    signal: Option<(u64, Signal)>,
    killed: bool,
    suspended: bool,
}

impl Control {
    /// Begins no further target. The first reason counts, but the deadline ends what runs whatever
    /// came before it.
    pub(super) fn stop(&mut self, why: Stop) {
        match self.stopped {
            None => self.stopped = Some(why),
            Some(_) if why == Stop::Deadline => self.stopped = Some(why),
            Some(_) => {}
        }
    }

    /// Sends a signal to what runs.
    pub(super) fn signal(&mut self, signal: Signal) {
        let number = self.signal.map_or(0, |(number, _)| number + 1);
        self.signal = Some((number, signal));
    }

    /// Ends what runs at once.
    pub(super) fn kill(&mut self) {
        self.stop(Stop::Caller);
        self.killed = true;
    }

    /// Notes that this process is about to be stopped, or that it goes on.
    pub(super) fn suspend(&mut self, suspended: bool) {
        self.suspended = suspended;
    }

    /// Returns whether this process is about to be stopped.
    pub(super) fn is_suspended(&self) -> bool {
        self.suspended
    }

    /// Returns why no further target begins.
    pub(super) fn stopped(&self) -> Option<Stop> {
        self.stopped
    }

    /// Returns whether the time of the run is over.
    pub(super) fn is_late(&self) -> bool {
        self.stopped == Some(Stop::Deadline)
    }

    /// Returns whether what runs is to be ended at once.
    pub(super) fn is_killed(&self) -> bool {
        self.killed
    }

    /// Returns the signal that came after `before`.
    pub(super) fn signal_after(&self, before: &Self) -> Option<Signal> {
        self.signal.filter(|_| self.signal != before.signal).map(|(_, signal)| signal)
    }
}
