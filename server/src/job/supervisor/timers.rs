//! The deadlines at which the server acts on a process by itself.

use std::time::{Duration, Instant};

use crate::config::limits::{OUTPUT_OPEN, STOP_TO_TERM};

/// The deadlines of a process, each armed once until it is due.
#[derive(Debug, Default)]
pub(super) struct Timers {
    timeout: Option<Instant>,
    reader_gone: Option<Instant>,
    kill: Option<Instant>,
    pipe_held: Option<Instant>,
}

/// A deadline that has passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// The command's timeout.
    Timeout,
    /// Standard output was stopped, and the process has not ended.
    ReaderGone,
    /// SIGTERM did not end the process.
    Kill,
    /// The process has ended, and something still holds its pipes.
    PipeHeld,
}

impl Timers {
    /// Arms the command's timeout; 0 means none.
    pub(super) fn started(&mut self, timeout_ms: u64, now: Instant) {
        if timeout_ms > 0 {
            self.timeout = now.checked_add(Duration::from_millis(timeout_ms));
        }
    }

    /// Notes that the client reads stdout no longer, and arms the deadline for its process.
    pub(super) fn reader_gone(&mut self) {
        self.reader_gone.get_or_insert_with(|| Instant::now() + STOP_TO_TERM);
    }

    /// Notes that SIGTERM was sent, and arms SIGKILL.
    pub(super) fn kill_in(&mut self, grace: Duration) {
        let at = Instant::now() + grace;
        self.kill = Some(self.kill.map_or(at, |before| before.min(at)));
    }

    /// Notes that SIGKILL was sent, and disarms the milder deadlines.
    pub(super) fn killing(&mut self) {
        self.timeout = None;
        self.reader_gone = None;
        self.kill = None;
    }

    /// Notes that the process has ended while a pipe is still open, and arms the deadline for that.
    pub(super) fn pipe_held(&mut self) {
        self.pipe_held.get_or_insert_with(|| Instant::now() + OUTPUT_OPEN);
    }

    /// Returns the next deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        [self.timeout, self.reader_gone, self.kill, self.pipe_held].into_iter().flatten().min()
    }

    /// Disarms and returns the deadlines that are due.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<Due> {
        let timers = [
            (&mut self.timeout, Due::Timeout),
            (&mut self.reader_gone, Due::ReaderGone),
            (&mut self.kill, Due::Kill),
            (&mut self.pipe_held, Due::PipeHeld),
        ];
        timers
            .into_iter()
            .filter_map(|(timer, due)| timer.take_if(|at| *at <= now).map(|_| due))
            .collect()
    }
}
