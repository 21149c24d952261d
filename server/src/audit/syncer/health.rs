//! What others learn of the log at any time, without waiting for its lock.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use super::{
    super::{place::Room, writer::Writer},
    SharedLog,
};

/// The facts about the log that the syncer and the writing threads keep up to date.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// True while no more than the reserve of the disk is left.
    is_scarce: AtomicBool,
    /// True while the log can't be written.
    is_failing: AtomicBool,
    /// How often that began.
    failures: AtomicU64,
    /// The number of the last record that was written.
    written: AtomicU64,
}

/// The state of the log, as operators see it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct AuditHealth {
    /// True while the log can't be written, so that nothing is started.
    pub failing: bool,
    /// True while no more than the reserve of the disk is left.
    pub scarce: bool,
    /// How often the log could no longer be written, since the server started.
    pub failures: u64,
    /// The number of records that wait to be written.
    pub waiting: usize,
    /// The number of records that were written and may not be on disk yet.
    pub unsynced: u64,
}

impl Health {
    pub(super) fn is_scarce(&self) -> bool {
        self.is_scarce.load(Ordering::Relaxed)
    }

    /// Notes how the writer stands.
    pub(super) fn note(&self, writer: &Writer) {
        self.written.store(writer.head().seq, Ordering::Relaxed);
        let is_failing = writer.is_failing();
        if !self.is_failing.swap(is_failing, Ordering::Relaxed) && is_failing {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl SharedLog {
    /// Returns the state of the log. Never waits for the disk.
    pub(in crate::audit) fn health(&self) -> AuditHealth {
        let Health { is_scarce, is_failing, failures, written } = &self.health;
        let synced = self.synced.borrow().upto;
        AuditHealth {
            failing: is_failing.load(Ordering::Relaxed),
            scarce: is_scarce.load(Ordering::Relaxed),
            failures: failures.load(Ordering::Relaxed),
            waiting: self.orders.len(),
            unsynced: written.load(Ordering::Relaxed).saturating_sub(synced),
        }
    }

    /// Shows how the writer stands, to this program and to others.
    pub(super) fn show(&self, writer: &mut Writer) {
        self.health.note(writer);
        writer.show_standing();
    }

    /// Determines how much room is left, and logs when the reserve is reached and when there is
    /// room again.
    pub(super) fn measure(&self) {
        let Ok(room) = Room::of(&self.settings.folder) else { return };
        if self.health.is_scarce.swap(room.is_scarce(), Ordering::Relaxed) == room.is_scarce() {
            return;
        }
        let free = room.free;
        match room.is_scarce() {
            true => error!(free, "audit: its disk is nearly full; who asks for much is refused"),
            false => warn!(free, "audit: its disk has room again"),
        }
    }
}
