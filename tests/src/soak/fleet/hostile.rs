//! Ten targets that mean harm, each in its own way.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::many::put_host;
use crate::raw::{RawServer, frame};
use crate::wait::keep_pace;
use crate::world::World;

/// A target that means harm.
pub(super) struct Hostile {
    pub(super) name: &'static str,
    /// The ends that this target may have: outcomes and the kinds of their errors.
    ends: &'static [(&'static str, &'static str)],
    /// Another authority's world, as long as it is needed.
    _world: Option<World>,
}

impl Hostile {
    /// Starts all of them, and adds them to a `hosts.toml`.
    pub(super) fn all(world: &World, hosts: &mut String) -> Vec<Self> {
        let mut all = Vec::new();
        let mut add = |name, address, ends, other| {
            put_host(hosts, name, address);
            all.push(Self { name, ends, _world: other });
        };
        add("silent", tcp(silent), &[("not_started", "tls")], None);
        add("garbage", tcp(garbage), &[("not_started", "tls")], None);
        add("drip", tcp(drip), &[("not_started", "tls")], None);
        add("endless", world.address(), &[("timed_out", "")], None);
        add("dying", raw(world, dying), &[("unknown", "lost")], None);
        let stranger = World::builder().terse().start();
        let address = stranger.address();
        add("stranger", address, &[("not_started", "tls")], Some(stranger));
        add("refusing", closed(), &[("not_started", "unreachable")], None);
        add("busy", raw(world, busy), &[("not_started", "busy")], None);
        add("closing", raw(world, closing), &[("unknown", "lost")], None);
        add("another", world.address(), &[("not_started", "tls")], None);
        // The last one is honest and has another name than the one that is wanted.
        let name = hosts.rfind("certificate = \"localhost\"").expect("the last host");
        hosts.replace_range(name.., "certificate = \"another.example\"\n");
        all
    }

    /// Returns whether a target of this role may end so.
    pub(super) fn allows(&self, outcome: &str, kind: &str) -> bool {
        self.ends.contains(&(outcome, kind))
    }
}

/// Returns an address of this machine where nobody listens.
fn closed() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

/// Serves each connection by this, in a thread of its own, as long as the process lives.
fn tcp(serve: fn(TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("our own socket");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    address
}

fn silent(mut stream: TcpStream) {
    // Until the client leaves.
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

fn garbage(mut stream: TcpStream) {
    let _ = stream.write_all(&[0x5a; 4096]);
}

fn drip(mut stream: TcpStream) {
    // The beginning of a TLS record that would be 16 KiB long (RFC 8446, section 5.1).
    let record = [&[22, 3, 3, 64, 0][..], &[0; 1000]].concat();
    for byte in record {
        let last = std::time::Instant::now();
        if stream.write_all(&[byte]).is_err() {
            return;
        }
        keep_pace(last, Duration::from_millis(200));
    }
}

/// Serves each connection with the identity of the world's server.
fn raw(world: &World, serve: fn(&RawServer)) -> SocketAddr {
    let server = RawServer::of(world);
    let address = server.address();
    thread::spawn(move || serve(&server));
    address
}

/// Returns the hello of a server.
fn greeting() -> Vec<u8> {
    let hello = json!({
        "type": "hello", "agent": "hostile", "capabilities": ["exec"], "instance": "ab".repeat(16),
        "grace_ms": 2_000, "retain_ms": 600_000, "keepalive_ms": 15_000,
    });
    frame(&hello, &[])
}

/// Begins a command, sends some output, and is gone.
fn dying(server: &RawServer) {
    let Ok(mut peer) = server.accept() else { return };
    peer.expect_frame("hello");
    peer.expect_frame("start");
    let started = json!({
        "type": "started", "ch": 1, "job": "0123456789abcdef", "digest": "sha256", "started_at": 1,
    });
    let data = json!({"type": "data", "ch": 1, "stream": "stdout", "offset": 0});
    let said = [greeting(), frame(&started, &[]), frame(&data, b"half a li")].concat();
    let _ = peer.send(&said);
}

/// Answers each start by saying that the server is busy.
fn busy(server: &RawServer) {
    while let Ok(mut peer) = server.accept() {
        let _ = peer.send(&greeting());
        while let Ok(Some((header, _))) = peer.read_frame() {
            if header["type"] == "start" {
                let exit = json!({
                    "type": "exit", "ch": header["ch"], "outcome": "not_started", "kind": "busy",
                    "message": "for ever", "retry_after_ms": 500, "ended_at": 1,
                    "stdout_bytes": 0, "stderr_bytes": 0,
                });
                let _ = peer.send(&frame(&exit, &[]));
            }
        }
    }
}

/// Sends a hello and closes, on each connection.
fn closing(server: &RawServer) {
    while let Ok(mut peer) = server.accept() {
        let _ = peer.send(&greeting());
        let _ = peer.close();
    }
}
