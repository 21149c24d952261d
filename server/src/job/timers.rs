//! When a job has to act by itself.

use std::time::{Duration, Instant};

use crate::config::limits::{OUTPUT_OPEN, STOP_TO_TERM};

/// The deadlines of a job, each armed once until it is due.
#[derive(Debug, Default)]
pub(super) struct Timers {
    timeout: Option<Instant>,
    reader_gone: Option<Instant>,
    kill: Option<Instant>,
    grace: Option<Instant>,
    pipe_held: Option<Instant>,
}

/// A deadline that has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// The command's time is up.
    Timeout,
    /// Its stdout was stopped, and it has not ended.
    ReaderGone,
    /// SIGTERM did not end it.
    Kill,
    /// Its client has not come back.
    Grace,
    /// It has ended, and something still holds its pipes.
    PipeHeld,
}

impl Timers {
    /// The process has started.
    pub(super) fn started(&mut self, timeout_ms: u64, now: Instant) {
        if timeout_ms > 0 {
            self.timeout = now.checked_add(Duration::from_millis(timeout_ms));
        }
    }

    /// The client reads stdout no more.
    pub(super) fn reader_gone(&mut self) {
        self.reader_gone.get_or_insert_with(|| Instant::now() + STOP_TO_TERM);
    }

    /// SIGTERM was sent; SIGKILL follows.
    pub(super) fn kill_in(&mut self, grace: Duration) {
        let at = Instant::now() + grace;
        self.kill = Some(self.kill.map_or(at, |before| before.min(at)));
    }

    /// SIGKILL was sent; nothing milder is left to do.
    pub(super) fn killing(&mut self) {
        self.timeout = None;
        self.reader_gone = None;
        self.kill = None;
    }

    /// The client is gone.
    pub(super) fn lost(&mut self, grace: Duration) {
        self.grace.get_or_insert_with(|| Instant::now() + grace);
    }

    /// The client is back.
    pub(super) fn attached(&mut self) {
        self.grace = None;
    }

    /// Nothing runs any more: what was to be done to it need not be, and its end is kept as long as
    /// its client is there.
    pub(super) fn ended(&mut self) {
        *self = Self::default();
    }

    /// What has ended is kept this long for a client that is gone.
    pub(super) fn retain(&mut self, retain: Duration) {
        *self = Self { grace: Some(Instant::now() + retain), ..Self::default() };
    }

    /// The process has ended and a pipe is still open.
    pub(super) fn pipe_held(&mut self) {
        self.pipe_held.get_or_insert_with(|| Instant::now() + OUTPUT_OPEN);
    }

    /// The next deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        [self.timeout, self.reader_gone, self.kill, self.grace, self.pipe_held]
            .into_iter()
            .flatten()
            .min()
    }

    /// Takes out what is due.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<Due> {
        let timers = [
            (&mut self.timeout, Due::Timeout),
            (&mut self.reader_gone, Due::ReaderGone),
            (&mut self.kill, Due::Kill),
            (&mut self.grace, Due::Grace),
            (&mut self.pipe_held, Due::PipeHeld),
        ];
        timers
            .into_iter()
            .filter_map(|(timer, due)| timer.take_if(|at| *at <= now).map(|_| due))
            .collect()
    }
}
