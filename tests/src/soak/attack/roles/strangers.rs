//! Strangers: connections that show no certificate.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::SockRef;

use super::{Count, Kit};
use crate::Random;

/// The number of connections that one thread of a role has open at once.
const OPEN: usize = 400;

/// A connection that leaves no port in use behind when it goes.
struct Fleeting(TcpStream);

impl Drop for Fleeting {
    fn drop(&mut self) {
        let _ = SockRef::from(&self.0).set_linger(Some(Duration::ZERO));
    }
}

fn connect(kit: &Kit, from: Option<IpAddr>) -> io::Result<Fleeting> {
    let dial = kit.stranger();
    let dial = from.into_iter().fold(dial, |dial, from| dial.source(from));
    dial.tcp().map(Fleeting)
}

/// Opens connections that say something, or nothing, and holds them all before it lets them go.
fn hold(kit: &Kit, done: &Count, say: impl Fn(&mut TcpStream) -> io::Result<()>) -> io::Result<()> {
    let mut held = Vec::new();
    for _ in 0..OPEN {
        let mut stream = connect(kit, None)?;
        // It may have been sent away already.
        let _ = say(&mut stream.0);
        done.fetch_add(1, Ordering::Relaxed);
        held.push(stream);
    }
    Ok(())
}

/// Opens connections that say nothing.
pub(super) fn silence(kit: &Kit, done: &Count) -> io::Result<()> {
    hold(kit, done, |_| Ok(()))
}

/// Opens connections that say nothing, each from another network.
pub(super) fn silence_from_everywhere(kit: &Kit, done: &Count) -> io::Result<()> {
    let mut random = Random::new(done.load(Ordering::Relaxed));
    let mut held = Vec::new();
    for _ in 0..OPEN {
        let [a, b, c, _] = (random.next_u64() as u32).to_be_bytes();
        held.push(connect(kit, Some(IpAddr::V4(Ipv4Addr::new(127, a | 128, b, c | 1))))?);
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Sends random bytes where a handshake should be.
pub(super) fn garbage(kit: &Kit, done: &Count) -> io::Result<()> {
    let bytes = Random::new(done.load(Ordering::Relaxed)).take_bytes(300);
    hold(kit, done, |stream| stream.write_all(&bytes))
}

/// Sends a request as it comes to an open port from the web, and reads the answer.
pub(super) fn web_requests(kit: &Kit, done: &Count) -> io::Result<()> {
    let mut stream = connect(kit, None)?;
    stream.0.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.0.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let _ = stream.0.read(&mut [0; 1024]);
    done.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Sends a whole first message, and nothing after it: the server has done its part of the
/// handshake.
pub(super) fn half_a_handshake(kit: &Kit, done: &Count) -> io::Result<()> {
    let first = kit.stranger().first_message("localhost")?;
    hold(kit, done, |stream| stream.write_all(&first))
}

/// Completes this side of a handshake without a certificate.
pub(super) fn no_certificate(kit: &Kit, done: &Count) -> io::Result<()> {
    let mut peer = kit.stranger().connect()?;
    let _ = peer.read(&mut [0; 1024]);
    done.fetch_add(1, Ordering::Relaxed);
    Ok(())
}
