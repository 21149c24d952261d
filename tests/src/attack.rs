//! A server under attack: one honest peer beside peers that break the protocol or flood the server.

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::proc::{self, Snapshot};
use crate::raw::{Echo, Start};
use crate::{RawPeer, World, eventually};

/// A server with an honest peer, whose memory is watched.
pub struct AttackHarness {
    /// The server's world.
    pub world: World,
    /// The honest peer, which must be served whatever others do.
    pub honest: Echo,
    before: Snapshot,
    resident_kib: u64,
}

/// A peer that has a command running, which must end with it.
pub struct Attacker {
    /// The peer, to send what it likes.
    pub peer: RawPeer,
    /// An argument of its command, and of no other attacker's.
    pub mark: String,
}

impl AttackHarness {
    /// Starts a server with these lines in its `server.toml`. The grace is an hour, so that whatever ends
    /// soon was killed for what its peer did.
    ///
    /// # Panics
    ///
    /// When the server does not start or does not serve the honest peer.
    #[must_use]
    pub fn new(config: &[&str]) -> Self {
        let builder = World::builder().config("grace = \"1h\"");
        let world = config.iter().fold(builder, |builder, line| builder.config(line)).start();
        let before = world.settled_snapshot();
        let mut honest = Echo::start(&world);
        honest.beat();
        assert!(proc::forget_peak(world.pid()), "the kernel does not let us forget a peak");
        let resident_kib = world.resident_kib();
        Self { world, honest, before, resident_kib }
    }

    /// Connects a peer that starts a command and is ready for its attack.
    ///
    /// # Panics
    ///
    /// When the command does not start.
    #[must_use]
    pub fn attacker(&self) -> Attacker {
        static NUMBERS: AtomicU32 = AtomicU32::new(0);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let mark = format!("600.{}{number:05}", std::process::id());
        let mut peer = RawPeer::greeted(&self.world);
        // With an input, so that input can be abused.
        let start = Start::exec(1, &["sleep", &mark]).stdin();
        peer.send(&start.frame()).expect("a server that listens");
        peer.expect_frame("started");
        // In the middle of its exec it shows no arguments yet.
        eventually("its command is seen", || proc::marked(&mark).len() == 1);
        Attacker { peer, mark }
    }

    /// Sends `attack` from a peer with a command. The peer must be told `reason` and lose its command.
    ///
    /// # Panics
    ///
    /// When it is not.
    #[track_caller]
    pub fn expect_rejected(&mut self, attack: &[u8], reason: &str) {
        let mut attacker = self.attacker();
        attacker.peer.send(attack).expect("a server that listens");
        self.honest.beat();
        expect_told(&mut attacker.peer, reason);
        attacker.expect_killed();
    }

    /// Sends `attack` as the first bytes of a peer, which must be told `reason`.
    ///
    /// # Panics
    ///
    /// When it is not.
    #[track_caller]
    pub fn expect_rejected_at_once(&mut self, attack: &[u8], reason: &str) {
        let mut peer = RawPeer::connect(&self.world);
        peer.send(attack).expect("a server that listens");
        expect_told(&mut peer, reason);
        self.honest.beat();
    }

    /// Sends `frames(n)` for n from 0 below `count`, many at a time, until all are sent or the server has
    /// closed the connection. Returns whether all were sent.
    ///
    /// # Panics
    ///
    /// When the server neither reads nor closes, or does not serve the honest peer.
    pub fn flood(
        &mut self,
        peer: &mut RawPeer,
        count: u64,
        frames: impl Fn(u64) -> Vec<u8>,
    ) -> bool {
        // Few enough that the honest peer has its turn in between.
        let at_once = (1 << 16) / frames(0).len() as u64 + 1;
        for first in (0..count).step_by(at_once as usize) {
            let bytes: Vec<_> = (first..count.min(first + at_once)).map(&frames).collect();
            self.honest.beat();
            match peer.send(&bytes.concat()) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("it hangs"),
                Err(_) => return false,
            }
        }
        true
    }

    /// Serves the honest peer to its end. The server must not have grown by more than `bound_kib`, and
    /// must hold what it held before.
    ///
    /// # Panics
    ///
    /// When it does not.
    #[track_caller]
    pub fn finish(self, name: &str, bound_kib: u64) {
        let mut honest = self.honest;
        honest.beat();
        let peak = proc::peak_kib(self.world.pid()).expect("a server that runs");
        let growth = peak.saturating_sub(self.resident_kib);
        let _ = writeln!(io::stderr(), "{name}: peak growth {growth} KiB");
        assert!(growth <= bound_kib, "grew by {growth} KiB, more than {bound_kib}");
        let mut peer = honest.end();
        peer.close().expect("a connection that is open");
        peer.expect_closed();
        self.world.assert_settles_to(&self.before);
    }
}

impl Attacker {
    /// Waits until none of its commands runs.
    ///
    /// # Panics
    ///
    /// When one still does after the deadline.
    #[track_caller]
    pub fn expect_killed(self) {
        eventually("its commands are killed", || {
            !proc::marked(&self.mark).iter().any(proc::Process::runs)
        });
    }
}

#[track_caller]
fn expect_told(peer: &mut RawPeer, reason: &str) {
    let message = peer.expect_protocol_error();
    assert!(message.contains(reason), "{message:?} does not say {reason:?}");
}
