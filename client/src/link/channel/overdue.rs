//! A host that does not keep to what it was asked for: its word alone holds nobody for ever.

use std::time::Duration;

use rcmd_protocol::outcome::{ErrorKind, WireError};
use tokio::time::Instant;

use super::{Channel, Next};
use crate::link::connection::Connection;

/// The time from when a host should have started or ended a command to the first look at it, and
/// between two looks; at the second look the host is late. After a time limit, a host sends TERM, 5 s
/// later KILL, and waits 2 s for output that is still held.
const LOOK: Duration = Duration::from_secs(15);
/// The time for the end of a command that was cancelled because its host is late.
const LAST_WORD: Duration = Duration::from_secs(5);
/// The longest that a start may wait at its host, beyond its wait for a lock.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// Bytes between two looks that count as output still on its way: 1 KiB a second.
const LEAST: u64 = 1024 * LOOK.as_secs();
/// Bytes that can be on their way when a command has ended: the credit of two streams, its pipes, and
/// what both kernels hold.
const ON_THE_WAY: u64 = 16 * 1024 * 1024;

/// The state of a channel's watch over a host that may be late with a command.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Overdue {
    /// The command has no limit, so that its host is never late.
    #[default]
    Never,
    /// An answer is expected by this time, which is that of the first look.
    Expected(Instant),
    /// The channel was looked at, and the next look is at this time.
    Watched(Instant, Seen),
    /// The command was cancelled because its host is late, and is given up at this time.
    Cancelled(Instant, Seen),
}

/// Bytes of output that had come at two looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    first: u64,
    last: u64,
}

impl Overdue {
    /// Expects the host to be done within so long.
    fn within(limit: Duration) -> Self {
        let at = Instant::now().checked_add(limit.saturating_add(LOOK));
        at.map_or(Self::Never, Self::Expected)
    }

    /// Returns the time of the next look.
    fn at(self) -> Option<Instant> {
        match self {
            Self::Never => None,
            Self::Expected(at) | Self::Watched(at, _) | Self::Cancelled(at, _) => Some(at),
        }
    }

    /// Puts off the next look.
    fn put_off(&mut self, later: Instant) {
        match self {
            Self::Never => {}
            Self::Expected(at) | Self::Watched(at, _) | Self::Cancelled(at, _) => {
                *at = later.max(*at);
            }
        }
    }
}

impl Channel {
    /// Counts the host's time to start the command from now on.
    pub(super) fn await_start(&mut self) {
        let lock = self.start.body().lock().map_or(0, |lock| lock.wait_ms);
        self.overdue = Overdue::within(LONGEST_WAIT + Duration::from_millis(lock));
    }

    /// Counts the host's time to end the command from now on, if it has a limit.
    pub(super) fn await_end(&mut self) {
        self.overdue = match self.start.body().timeout_ms() {
            0 => Overdue::default(),
            limit => Overdue::within(Duration::from_millis(limit)),
        };
    }

    /// Returns when to call [`Channel::hurry`].
    pub(in crate::link) fn overdue(&self) -> Option<Instant> {
        self.overdue.at()
    }

    /// Sets the host's time anew: this process was stopped, and has not heard what was said meanwhile.
    pub(in crate::link) fn forgive(&mut self) {
        self.overdue.put_off(Instant::now() + LOOK);
    }

    /// Looks at a command that should be over: if its host is late, it is cancelled, and soon after
    /// that given up. `connection` is the one that has it, if any has.
    pub(in crate::link) fn hurry(
        &mut self,
        now: Instant,
        connection: Option<&mut Connection>,
    ) -> Next {
        let again = now + LOOK;
        let received = self.streams.stdout.received() + self.streams.stderr.received();
        let (before, is_cancelled) = match self.overdue {
            Overdue::Never | Overdue::Expected(_) => {
                let seen = Seen { first: received, last: received };
                self.overdue = Overdue::Watched(again, seen);
                return Next::Continue;
            }
            Overdue::Watched(_, seen) => (seen, false),
            Overdue::Cancelled(_, seen) => (seen, true),
        };
        let seen = Seen { last: received, ..before };
        if self.may_come(before, received) {
            self.overdue = match is_cancelled {
                true => Overdue::Cancelled(again, seen),
                false => Overdue::Watched(again, seen),
            };
            return Next::Continue;
        }
        let Some(connection) = connection.filter(|_| !is_cancelled) else {
            let failure = self.lateness();
            return self.end_without(failure);
        };
        self.cancel(Some(connection));
        self.overdue = Overdue::Cancelled(now + LAST_WORD, seen);
        Next::Continue
    }

    /// Returns whether the end may still wait behind output, whose reader has not taken what came, or
    /// the rest of which comes over a slow link.
    fn may_come(&self, before: Seen, received: u64) -> bool {
        let comes = received.saturating_sub(before.last) >= LEAST;
        let unread = self.streams.stdout.is_unread() || self.streams.stderr.is_unread();
        unread || comes && received.saturating_sub(before.first) <= ON_THE_WAY
    }

    fn lateness(&self) -> WireError {
        let host = &self.host;
        let message = match self.job.started_at() {
            None => format!("{host} did not start the command in time"),
            Some(_) => format!("{host} did not end the command when its time was over"),
        };
        WireError::new(ErrorKind::Lost, message)
            .hint("It was told to kill the command, and said nothing; look there for what it did.")
    }
}
