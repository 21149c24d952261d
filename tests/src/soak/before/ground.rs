//! A server and an authority with their defaults, and peers of each kind for them.

use std::any::Any;
use std::fs;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rcmd_certs::Layout;
use rcmd_certs::tls::LISTENER_NAME;
use serde_json::Value;

use crate::authority::Serving;
use crate::membership::enrolled_client;
use crate::pki::{Authority, Leaf};
use crate::raw::{CompressedPings, Dial, Wire, hello};
use crate::wait::poll_for;
use crate::{RawPeer, World, proc};

/// Descriptors of the server: as many as its defaults foresee.
const DESCRIPTORS: u64 = 16_384;
/// The time after which an answer counts as none.
const SILENCE: Duration = Duration::from_millis(200);
/// The longest time that a program may take to come to rest.
const REST: Duration = Duration::from_secs(20);
/// Looks in a row that must see the same, ever later after one another: half a second in all.
const LOOKS: u32 = 10;

/// The program of which the figures are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Server,
    Authority,
}

/// The bytes that a program has written, and the memory that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    /// Bytes of the audit and of keys, or of the journal.
    pub(super) disk: u64,
    /// The bytes of the program's log.
    pub(super) log: u64,
    /// The memory in KiB.
    pub(super) memory: u64,
}

/// The programs, and whom their peers are.
pub(super) struct Ground {
    pub(super) world: World,
    denied: PathBuf,
    permitted: PathBuf,
    authority: Serving,
    member: Layout,
    pub(super) pings: CompressedPings,
    /// Numbers that are used once.
    next: AtomicU64,
}

impl Ground {
    pub(super) fn lay() -> Self {
        let world = World::builder().limit("nofile", DESCRIPTORS).terse().start();
        let issuer = Authority::of(world.dir());
        let identity = |name: &str, groups: &[&str]| {
            let user = format!("rcmd://user/{name}");
            let uris: Vec<_> = std::iter::once(&*user).chain(groups.iter().copied()).collect();
            let folder = world.scratch(name);
            issuer.issue(&Leaf::client_uris(&uris)).write(&folder);
            folder
        };
        let denied = identity("mallory", &[]);
        let permitted = identity("eve", &["rcmd://group/admin"]);
        let authority = Serving::start();
        let member = enrolled_client(&authority, "alice");
        let (pings, next) = (CompressedPings::new(), AtomicU64::new(1));
        Self { world, denied, permitted, authority, member, pings, next }
    }

    /// Returns a number that nobody had before.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn address(&self, side: Side) -> SocketAddr {
        match side {
            Side::Server => self.world.address(),
            Side::Authority => self.authority.address(),
        }
    }

    fn dial(&self, side: Side) -> Dial {
        match side {
            Side::Server => Dial::to(&self.world),
            Side::Authority => Dial::at(self.authority.layout().dir(), self.authority.address())
                .alpn(&[b"rcmd-authority/1"]),
        }
    }

    /// Opens a connection of a peer that has said nothing yet, from an address of its own network.
    pub(super) fn unknown(&self, side: Side) -> io::Result<TcpStream> {
        let source = IpAddr::V4(Ipv4Addr::new(127, 66, 0, 1));
        let dial = Dial::at(self.world.dir(), self.address(side)).source(source);
        let stream = dial.tcp()?;
        stream.set_read_timeout(Some(SILENCE))?;
        Ok(stream)
    }

    /// Returns the first message of a handshake without a certificate.
    pub(super) fn first_message(&self, side: Side) -> io::Result<Vec<u8>> {
        self.dial(side).without_identity().first_message(name(side))
    }

    /// Completes this side of a handshake without a certificate, and returns the peer.
    pub(super) fn stranger(&self, side: Side) -> io::Result<RawPeer> {
        self.dial(side).without_identity().connect_as(name(side))
    }

    /// Returns the parameters of a peer that may run nothing.
    pub(super) fn denied(&self) -> Dial {
        self.dial(Side::Server).identity(&self.denied)
    }

    /// Returns the parameters of a peer that may run everything.
    pub(super) fn permitted(&self) -> Dial {
        self.dial(Side::Server).identity(&self.permitted)
    }

    /// Opens a member's connection to the authority.
    pub(super) fn member(&self) -> io::Result<RawPeer> {
        let identity = self.member.dir().join("client");
        self.dial(Side::Authority).identity(identity).connect_as(name(Side::Authority))
    }

    /// Waits until the program writes nothing more and its memory stays as it is.
    pub(super) fn rest(&self, side: Side) -> Kept {
        let (mut last, mut same) = (self.look(side), 0);
        let rested = poll_for(REST, || {
            let now = self.look(side);
            same = if (now.disk, now.log) == (last.disk, last.log) { same + 1 } else { 0 };
            last = now;
            (same >= LOOKS).then_some(now)
        });
        rested.unwrap_or(last)
    }

    fn look(&self, side: Side) -> Kept {
        let (pid, disk, log) = match side {
            Side::Server => (
                self.world.pid(),
                bytes_in(&self.world.dir().join("server")),
                self.world.log_bytes(),
            ),
            Side::Authority => {
                let journal = fs::metadata(self.authority.layout().journal());
                let disk = journal.map_or(0, |data| data.len());
                (self.authority.pid(), disk, self.authority.log_bytes())
            }
        };
        let memory = proc::anonymous_kib(pid).expect("a program that runs");
        Kept { disk, log, memory }
    }
}

fn name(side: Side) -> &'static str {
    match side {
        Side::Server => "localhost",
        Side::Authority => LISTENER_NAME,
    }
}

/// Returns the number of bytes in the files in a folder and below it.
fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(data) if data.is_dir() => bytes_in(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// A value that keeps something at a program until it is dropped.
pub(super) type Held = Box<dyn Any>;

/// Exchanges hellos.
pub(super) fn greet(dial: &Dial) -> io::Result<RawPeer> {
    let mut peer = dial.connect()?;
    peer.send(&hello())?;
    read_one(&mut peer, &["hello"])?;
    Ok(peer)
}

/// Reads frames until one of these types.
pub(super) fn read_one(peer: &mut RawPeer, kinds: &[&str]) -> io::Result<Value> {
    loop {
        match peer.read_frame()? {
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some((header, _)) if kinds.iter().any(|kind| header["type"] == *kind) => {
                return Ok(header);
            }
            Some((header, _)) if header["type"] == "error" => {
                return Err(io::Error::other(header.to_string()));
            }
            Some(_) => {}
        }
    }
}

/// Reads whatever still comes, until the end or until nothing comes for a while.
pub(super) fn drain(mut from: impl io::Read) -> u64 {
    let (mut buffer, mut came) = (vec![0; 64 * 1024], 0);
    loop {
        match from.read(&mut buffer) {
            Ok(0) | Err(_) => return came,
            Ok(count) => came += count as u64,
        }
    }
}

/// Reads what still comes to a peer, and returns all that has passed through its socket.
pub(super) fn drained(mut peer: RawPeer) -> io::Result<Wire> {
    peer.socket().set_read_timeout(Some(SILENCE))?;
    drain(peer.by_ref());
    Ok(peer.wire())
}
