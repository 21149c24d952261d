//! The limits of the machine without rcmd: loopback TCP, and rustls in memory and over loopback.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rcmd_certs::Layout;
use rcmd_certs::tls::{ClientFiles, ServerFiles, client_config, server_config};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};

/// The bytes of a write and of a read, as many as rcmd's own pieces have.
const PIECE: usize = 64 * 1024;

/// Moves `bytes` zeros over loopback TCP from one thread to another.
///
/// # Errors
///
/// When a socket fails.
pub(crate) fn loopback(bytes: u64) -> Result<Duration> {
    let (mut out, mut back) = pair()?;
    timed_transfer(bytes, move |piece| out.write_all(piece), move |into| back.read(into))
}

/// Moves `bytes` zeros as [`loopback`] does, encrypted as rcmd does it, with nothing around it.
///
/// # Errors
///
/// When a socket or the handshake fails.
pub(crate) fn tls_loopback(ends: &Ends, bytes: u64) -> Result<Duration> {
    let (out, back) = pair()?;
    let mut server = StreamOwned::new(ServerConnection::new(Arc::clone(&ends.server))?, out);
    let mut client = StreamOwned::new(ends.client()?, back);
    std::thread::scope(|scope| {
        let greeted = scope.spawn(|| shake(&mut server.conn, &mut server.sock));
        while client.conn.is_handshaking() {
            client.conn.complete_io(&mut client.sock)?;
        }
        joined(greeted.join())
    })?;
    timed_transfer(bytes, move |piece| server.write_all(piece), move |into| client.read(into))
}

fn shake(server: &mut ServerConnection, socket: &mut TcpStream) -> std::io::Result<()> {
    while server.is_handshaking() {
        server.complete_io(socket)?;
    }
    Ok(())
}

fn timed_transfer(
    bytes: u64,
    mut write: impl FnMut(&[u8]) -> std::io::Result<()> + Send + 'static,
    mut read: impl FnMut(&mut [u8]) -> std::io::Result<usize>,
) -> Result<Duration> {
    let began = Instant::now();
    let writer = std::thread::spawn(move || {
        let piece = vec![0; PIECE];
        for _ in 0..bytes.div_ceil(PIECE as u64) {
            write(&piece)?;
        }
        // The ends stay open until the reader has all: it counts instead of waiting for an end.
        Ok(write)
    });
    let (mut into, mut left) = (vec![0; PIECE], bytes.div_ceil(PIECE as u64) * PIECE as u64);
    while left > 0 {
        let count = read(&mut into)?;
        anyhow::ensure!(count > 0, "the stream ended early");
        left -= count as u64;
    }
    joined(writer.join())?;
    Ok(began.elapsed())
}

fn joined<T>(joined: std::thread::Result<std::io::Result<T>>) -> Result<T> {
    Ok(joined.map_err(|_| anyhow::anyhow!("a thread panicked"))??)
}

fn pair() -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let back = TcpStream::connect(listener.local_addr()?)?;
    let (out, _) = listener.accept()?;
    for socket in [&out, &back] {
        socket.set_nodelay(true)?;
    }
    Ok((out, back))
}

/// The configurations of both ends of a connection, from a world's files.
pub(crate) struct Ends {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Ends {
    /// Reads the configurations of both ends from the files of a world.
    ///
    /// # Errors
    ///
    /// When a file is not as it should be.
    pub(crate) fn of(layout: &Layout) -> Result<Self> {
        Ok(Self {
            server: server_config(&ServerFiles::from(layout))?,
            client: client_config(&ClientFiles::from(layout))?,
        })
    }

    fn client(&self) -> Result<ClientConnection> {
        let name = ServerName::try_from("localhost").context("a name")?;
        Ok(ClientConnection::new(Arc::clone(&self.client), name)?)
    }

    /// Returns two ends of a connection that have completed a handshake in memory.
    ///
    /// # Errors
    ///
    /// When the handshake fails.
    pub(crate) fn handshake(&self) -> Result<(ClientConnection, ServerConnection)> {
        let mut client = self.client()?;
        let mut server = ServerConnection::new(Arc::clone(&self.server))?;
        let mut wire = Vec::new();
        while client.is_handshaking() || server.is_handshaking() {
            client.write_tls(&mut wire)?;
            feed(&wire, |mut rest| server.read_tls(&mut rest))?;
            server.process_new_packets()?;
            wire.clear();
            server.write_tls(&mut wire)?;
            feed(&wire, |mut rest| client.read_tls(&mut rest))?;
            client.process_new_packets()?;
            wire.clear();
        }
        Ok((client, server))
    }

    /// Encrypts and decrypts `bytes` zeros, on one thread.
    ///
    /// # Errors
    ///
    /// When rustls fails.
    pub(crate) fn in_memory(&self, bytes: u64) -> Result<Duration> {
        let (mut client, mut server) = self.handshake()?;
        let (piece, mut into, mut wire) = (vec![0; PIECE], vec![0; PIECE], Vec::new());
        server.set_buffer_limit(None);
        let began = Instant::now();
        for _ in 0..bytes.div_ceil(PIECE as u64) {
            server.writer().write_all(&piece)?;
            while server.wants_write() {
                server.write_tls(&mut wire)?;
            }
            let mut rest = wire.as_slice();
            while !rest.is_empty() {
                client.read_tls(&mut rest)?;
                client.process_new_packets()?;
                while client.reader().read(&mut into).is_ok_and(|count| count > 0) {}
            }
            wire.clear();
        }
        Ok(began.elapsed())
    }
}

/// Calls `read` until it has taken all of `wire`.
fn feed(wire: &[u8], mut read: impl FnMut(&[u8]) -> std::io::Result<usize>) -> Result<()> {
    let mut rest = wire;
    while !rest.is_empty() {
        let count = read(rest)?;
        rest = rest.get(count..).unwrap_or_default();
    }
    Ok(())
}
