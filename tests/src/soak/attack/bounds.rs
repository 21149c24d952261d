//! The limits on what an attack may cost the server in memory, on disk and in its log.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::{World, proc};

const MIB: u64 = 1 << 20;

/// Memory that the server may take more than it had: its budget for all clients together is 256 MiB, the rest is
/// for connections, jobs and threads.
const MEMORY: u64 = 400 * MIB;
/// The bytes that may be written to the server's folder, at once and for each minute.
const DISK: (u64, u64) = (64 * MIB, 32 * MIB);
/// The bytes that may be logged, at once and for each minute.
const LOG: (u64, u64) = (MIB, MIB / 2);

/// The measured number of bytes of something, and the most that there may be.
#[derive(Debug)]
pub(super) struct Bound {
    of: &'static str,
    is: u64,
    at_most: u64,
}

impl Bound {
    /// Returns whether there was no more than there may be.
    pub(super) fn is_kept(&self) -> bool {
        self.is <= self.at_most
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { of, is, at_most } = self;
        let mib = |bytes: u64| bytes as f64 / MIB as f64;
        write!(f, "{of:<20} {:>9.1} MiB, at most {:.1}", mib(*is), mib(*at_most))
    }
}

/// The server's memory, disk and log as they were when the watch began.
pub(super) struct Watch {
    resident_kib: u64,
    disk: u64,
    log: u64,
}

impl Watch {
    pub(super) fn begin(world: &World) -> Self {
        assert!(proc::forget_peak(world.pid()), "the kernel does not let us forget a peak");
        Self { resident_kib: world.resident_kib(), disk: disk(world), log: world.log_bytes() }
    }

    /// Returns what has grown since, of what lasted so long.
    pub(super) fn end(self, world: &World, lasted: Duration) -> Vec<Bound> {
        let peak = proc::peak_kib(world.pid()).expect("a server that runs");
        let over = |(at_once, a_minute): (u64, u64)| {
            at_once + (a_minute as f64 * lasted.as_secs_f64() / 60.0) as u64
        };
        let memory = peak.saturating_sub(self.resident_kib) * 1024;
        let disk = disk(world).saturating_sub(self.disk);
        let log = world.log_bytes() - self.log;
        vec![
            Bound { of: "memory at its peak", is: memory, at_most: MEMORY },
            Bound { of: "disk", is: disk, at_most: over(DISK) },
            Bound { of: "log", is: log, at_most: over(LOG) },
        ]
    }
}

/// Returns the bytes of all files in the server's folder.
fn disk(world: &World) -> u64 {
    fn of(folder: &Path) -> u64 {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let sizes = entries.map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => of(&entry.path()),
            Ok(data) => data.len(),
            Err(_) => 0,
        });
        sizes.sum()
    }
    of(&world.dir().join("server"))
}
