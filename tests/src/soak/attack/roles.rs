//! The roles of attackers: each does one thing for a while and begins anew.

mod denied;
mod local;
mod permitted;
mod strangers;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use self::local::Local;
pub(super) use self::local::SILENT;
use crate::RawPeer;
use crate::raw::{Dial, hello};

/// The number of times that something was done.
pub(super) type Count = AtomicU64;

/// One way to attack.
pub(super) struct Role {
    pub(super) name: &'static str,
    /// The number of threads that do it at once.
    pub(super) threads: usize,
    /// The function that returns whether the role can be played on this machine.
    pub(super) can: fn(&Kit) -> bool,
    /// The function that acts for a while; its error is the server's answer.
    pub(super) act: fn(&Kit, &Count) -> io::Result<()>,
}

const fn role(name: &'static str, threads: usize, act: fn(&Kit, &Count) -> io::Result<()>) -> Role {
    Role { name, threads, can: |_| true, act }
}

/// Returns a role that takes what a local user put in the way.
const fn local_role(
    name: &'static str,
    threads: usize,
    act: fn(&Kit, &Count) -> io::Result<()>,
) -> Role {
    Role { name, threads, can: |kit| kit.local.is_some(), act }
}

/// All roles of attackers.
pub(super) const ROLES: [Role; 22] = [
    role("silence", 2, strangers::silence),
    role("silence from afar", 1, strangers::silence_from_everywhere),
    role("garbage", 1, strangers::garbage),
    role("web requests", 2, strangers::web_requests),
    role("half a handshake", 1, strangers::half_a_handshake),
    role("no certificate", 1, strangers::no_certificate),
    role("dials", 1, denied::dials),
    role("asks", 64, denied::asks),
    role("denied starts", 64, denied::starts),
    role("large starts", 4, denied::large_starts),
    role("unknown keys", 4, denied::unknown_keys),
    role("endless payloads", 64, denied::endless_payloads),
    role("pings", 4, denied::pings),
    role("nonsense", 2, denied::nonsense),
    local_role("hostile paths", 16, denied::hostile_paths),
    role("kept keys", 2, permitted::kept_keys),
    role("waits for a lock", 4, permitted::waits_for_a_lock),
    role("abandoned", 2, permitted::abandoned),
    role("readers of nothing", 4, permitted::readers_of_nothing),
    role("called off", 2, permitted::called_off),
    role("stubborn trees", 1, permitted::stubborn_trees),
    local_role("stuck folders", 4, permitted::stuck_folders),
];

/// The address from which attackers without a certificate come; those with one come from
/// [`CLIENTS`]. Both are in other parts of the network than the neighbours, since within one part
/// chance decides who is a stranger for long.
const STRANGERS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 66, 0, 1));
const CLIENTS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 67, 0, 1));

/// The server's address, the identities and the files that attackers have.
pub(super) struct Kit {
    target: SocketAddr,
    world: PathBuf,
    denied: PathBuf,
    permitted: PathBuf,
    local: Option<Local>,
}

impl Kit {
    pub(super) fn new(
        target: SocketAddr,
        world: &Path,
        denied: &Path,
        permitted: &Path,
        local: &Path,
    ) -> Self {
        let [world, denied, permitted] = [world, denied, permitted].map(Path::to_owned);
        Self { target, world, denied, permitted, local: Local::put_in_the_way(local).ok() }
    }

    /// Returns the parameters of a peer without a certificate, from an address that is not the
    /// neighbours'.
    fn stranger(&self) -> Dial {
        Dial::at(&self.world, self.target).without_identity().source(STRANGERS)
    }

    /// Connects as the identity that may run nothing.
    fn denied(&self) -> io::Result<Talker> {
        self.talker(&self.denied)
    }

    /// Connects as the identity that may run everything.
    fn permitted(&self) -> io::Result<Talker> {
        self.talker(&self.permitted)
    }

    fn talker(&self, identity: &Path) -> io::Result<Talker> {
        let dial = Dial::at(&self.world, self.target).identity(identity.join("client"));
        let dial = dial.source(CLIENTS);
        let mut peer = dial.connect()?;
        peer.send(&hello())?;
        Ok(Talker { peer, ch: 0 })
    }
}

/// A peer that has greeted.
struct Talker {
    peer: RawPeer,
    ch: u64,
}

impl Talker {
    /// Returns the next channel.
    fn channel(&mut self) -> u64 {
        self.ch += 1;
        self.ch
    }

    /// Sends so many frames at once and reads until each has one of these answers.
    fn ask_many(
        &mut self,
        count: usize,
        frame: impl Fn(u64) -> Vec<u8>,
        answers: &[&str],
        done: &Count,
    ) -> io::Result<()> {
        let frames: Vec<_> = (0..count).map(|_| frame(self.channel())).collect();
        self.peer.send(&frames.concat())?;
        for _ in 0..count {
            self.read_until(answers)?;
            done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Reads frames until one of these types.
    fn read_until(&mut self, kinds: &[&str]) -> io::Result<serde_json::Value> {
        loop {
            match self.peer.read_frame()? {
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
                Some((header, _)) if header["type"] == "error" => {
                    return Err(io::Error::other(header.to_string()));
                }
                Some((header, _)) => {
                    if kinds.iter().any(|kind| header["type"] == *kind) {
                        return Ok(header);
                    }
                }
            }
        }
    }
}
