//! A peer that speaks TLS and otherwise whatever a test wants: half frames, floods, silence.

use std::io::{self, Read, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::ops::DerefMut;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ConnectionCommon, RootCertStore, SideData};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::wait::DEADLINE;
use crate::world::World;

mod compressed;
mod echo;
mod server;
mod start;
mod wire;

pub use compressed::CompressedPings;
pub use echo::Echo;
pub use server::RawServer;
pub use start::{Ran, Start, sha256};
use wire::Counted;
pub use wire::Wire;

/// The parameters of a connection to a server by hand.
#[derive(Debug, Clone)]
#[must_use]
pub struct Dial {
    address: SocketAddr,
    ca: PathBuf,
    identity: Option<PathBuf>,
    alpn: Vec<Vec<u8>>,
    source: Option<IpAddr>,
}

impl Dial {
    /// Returns the parameters that the world's own client would use.
    pub fn to(world: &World) -> Self {
        Self::at(world.client_dir(), world.address())
    }

    /// Returns the parameters for a server at this address, with a folder's `ca.pem` and `client/`.
    pub fn at(dir: &Path, address: SocketAddr) -> Self {
        Self {
            address,
            ca: dir.join("ca.pem"),
            identity: Some(dir.join("client")),
            alpn: vec![b"rcmd/1".to_vec()],
            source: None,
        }
    }

    /// Sets another address, such as a proxy's.
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Takes `cert.pem` and `key.pem` from this folder.
    pub fn identity(mut self, folder: impl AsRef<Path>) -> Self {
        self.identity = Some(folder.as_ref().to_owned());
        self
    }

    /// Leaves out the certificate.
    pub fn without_identity(mut self) -> Self {
        self.identity = None;
        self
    }

    /// Offers these ALPN names.
    pub fn alpn(mut self, names: &[&[u8]]) -> Self {
        self.alpn = names.iter().map(|name| name.to_vec()).collect();
        self
    }

    /// Connects from this address of the machine.
    pub fn source(mut self, source: IpAddr) -> Self {
        self.source = Some(source);
        self
    }

    /// Returns the TLS configuration that these parameters come to.
    ///
    /// # Panics
    ///
    /// When a file can't be read or does not hold what it should.
    #[must_use]
    pub fn config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        for cert in CertificateDer::pem_file_iter(&self.ca).expect("ca.pem") {
            roots.add(cert.expect("ca.pem")).expect("ca.pem");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(folder) => {
                let chain = CertificateDer::pem_file_iter(folder.join("cert.pem"))
                    .and_then(Iterator::collect)
                    .expect("cert.pem");
                let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).expect("key.pem");
                builder.with_client_auth_cert(chain, key).expect("a key that fits")
            }
        };
        config.alpn_protocols = self.alpn.clone();
        config
    }

    /// Connects, and says nothing yet.
    ///
    /// # Errors
    ///
    /// When there is no connection.
    pub fn tcp(&self) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, None)?;
        if let Some(source) = self.source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        socket.connect(&self.address.into())?;
        Ok(socket.into())
    }

    /// Connects and completes the client's part of the handshake. In TLS 1.3 the server judges the
    /// client's certificate after that: a refusal comes with the first read.
    ///
    /// # Errors
    ///
    /// When there is no connection, or the handshake fails on this side.
    pub fn connect(&self) -> io::Result<RawPeer> {
        self.connect_as("localhost")
    }

    /// Returns the first message of a handshake with a peer of this name.
    ///
    /// # Errors
    ///
    /// When the name is none.
    pub fn first_message(&self, name: &str) -> io::Result<Vec<u8>> {
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let tls = ClientConnection::new(Arc::new(self.config()), name);
        let mut first = Vec::new();
        tls.map_err(io::Error::other)?.write_tls(&mut first)?;
        Ok(first)
    }

    /// Connects as [`Dial::connect`] does, to a peer that must prove this name.
    ///
    /// # Errors
    ///
    /// The errors of [`Dial::connect`].
    pub fn connect_as(&self, name: &str) -> io::Result<RawPeer> {
        let tcp = self.tcp()?;
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let tls = ClientConnection::new(Arc::new(self.config()), name).map_err(io::Error::other)?;
        RawPeer::shake(tls, tcp)
    }
}

/// A connected peer. Reads and writes fail after [`DEADLINE`]. Dropping it closes the socket without
/// `close_notify`.
#[derive(Debug)]
pub struct RawPeer<C = ClientConnection> {
    conn: C,
    sock: Counted,
}

impl RawPeer {
    /// Connects with the world's own client identity.
    ///
    /// # Panics
    ///
    /// When it can't connect.
    #[must_use]
    pub fn connect(world: &World) -> Self {
        Dial::to(world).connect().expect("a connection")
    }

    /// Connects as [`RawPeer::connect`] does, and exchanges both hellos.
    ///
    /// # Panics
    ///
    /// When that fails.
    #[must_use]
    pub fn greeted(world: &World) -> Self {
        let mut peer = Self::connect(world);
        peer.send(&hello()).expect("hello is taken");
        peer.expect_frame("hello");
        peer
    }
}

impl<C, S> RawPeer<C>
where
    C: DerefMut<Target = ConnectionCommon<S>>,
    S: SideData,
{
    /// Completes this side's part of the handshake.
    fn shake(mut conn: C, stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        let mut sock = Counted::new(stream);
        while conn.is_handshaking() {
            conn.complete_io(&mut sock)?;
        }
        Ok(Self { conn, sock })
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    ///
    /// When the connection is closed or takes nothing for [`DEADLINE`].
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut stream = rustls::Stream::new(&mut self.conn, &mut self.sock);
        stream.write_all(bytes)?;
        stream.flush()
    }

    /// Reads the next frame, or `None` after `close_notify`.
    ///
    /// # Errors
    ///
    /// When the connection breaks, an alert came, or nothing came for [`DEADLINE`].
    pub fn read_frame(&mut self) -> io::Result<Option<(Value, Vec<u8>)>> {
        let mut length = [0; 4];
        match self.read(&mut length)? {
            0 => return Ok(None),
            count => self.read_exact(&mut length[count..])?,
        }
        let mut header = vec![0; u32::from_be_bytes(length) as usize];
        self.read_exact(&mut header)?;
        let header: Value = serde_json::from_slice(&header)?;
        let mut payload = vec![0; header["len"].as_u64().unwrap_or(0) as usize];
        self.read_exact(&mut payload)?;
        Ok(Some((header, payload)))
    }

    /// Reads frames until one of this type, and returns it.
    ///
    /// # Panics
    ///
    /// When the connection ends before; then with what came.
    #[track_caller]
    pub fn expect_frame(&mut self, kind: &str) -> (Value, Vec<u8>) {
        let mut seen = Vec::new();
        loop {
            match self.read_frame() {
                Ok(Some(frame)) if frame.0["type"] == kind => return frame,
                Ok(Some((header, _))) => seen.push(header.to_string()),
                ended => panic!("no {kind} frame but {ended:?} after {seen:#?}"),
            }
        }
    }

    /// Reads frames until one of this channel and one of these types, and returns its header.
    ///
    /// # Panics
    ///
    /// When the connection ends before; then with what came.
    #[track_caller]
    pub fn expect_of(&mut self, ch: u64, kinds: &[&str]) -> Value {
        let mut seen = Vec::new();
        loop {
            match self.read_frame() {
                Ok(Some((header, _)))
                    if header["ch"] == ch && kinds.iter().any(|kind| header["type"] == *kind) =>
                {
                    return header;
                }
                Ok(Some((header, _))) => seen.push(header.to_string()),
                ended => panic!("none of {kinds:?} but {ended:?} after {seen:#?}"),
            }
        }
    }

    /// Asserts that the server names the fault in one error frame and closes; returns the message.
    ///
    /// # Panics
    ///
    /// When it does not.
    #[track_caller]
    pub fn expect_protocol_error(&mut self) -> String {
        let (header, _) = self.expect_frame("error");
        assert_eq!(header["kind"], "protocol", "{header}");
        if let Ok(Some(more)) = self.read_frame() {
            panic!("after {header} came {more:?}");
        }
        header["message"].as_str().unwrap_or_default().to_owned()
    }

    /// Reads away what still comes until the connection has ended, in whatever way.
    ///
    /// # Panics
    ///
    /// When it is still open after [`DEADLINE`] of silence.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match self.read(&mut buffer) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    panic!("the connection is still open")
                }
                Err(_) => return,
            }
        }
    }

    /// Sends `close_notify` and FIN; reading goes on.
    ///
    /// # Errors
    ///
    /// When the connection is gone already.
    pub fn close(&mut self) -> io::Result<()> {
        self.conn.send_close_notify();
        rustls::Stream::new(&mut self.conn, &mut self.sock).flush()?;
        self.sock.stream.shutdown(Shutdown::Write)
    }

    /// Returns the socket, for its timeouts and its options.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        &self.sock.stream
    }

    /// Returns the numbers of bytes sent and received since the socket was connected.
    #[must_use]
    pub fn wire(&self) -> Wire {
        self.sock.wire
    }
}

// `Stream` writes before it reads: what could not be sent to a server that has closed would hide
// what that said before.
impl<C, S> Read for RawPeer<C>
where
    C: DerefMut<Target = ConnectionCommon<S>>,
    S: SideData,
{
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Self { conn, sock } = self;
        loop {
            match conn.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
            conn.read_tls(sock)?;
            conn.process_new_packets().map_err(io::Error::other)?;
        }
    }
}

/// Returns a frame of this header and payload. A missing `len` is set when there is a payload.
///
/// # Panics
///
/// When the header is no object.
#[must_use]
pub fn frame(header: &Value, payload: &[u8]) -> Vec<u8> {
    let mut header = header.clone();
    let object = header.as_object_mut().expect("an object");
    if !payload.is_empty() {
        object.entry("len").or_insert_with(|| payload.len().into());
    }
    text_frame(&header.to_string(), payload)
}

/// Returns a frame of this text as header, whatever it is, and this payload.
#[must_use]
pub fn text_frame(header: &str, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(header.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), header.as_bytes(), payload].concat()
}

/// Returns the client's hello.
#[must_use]
pub fn hello() -> Vec<u8> {
    frame(&json!({"type": "hello", "agent": "raw peer", "capabilities": ["exec"]}), &[])
}

/// Returns a `start` on channel `ch` of `exec` with these arguments, no environment and no standard
/// input; `key` is its start key. [`Start`] makes others.
#[must_use]
pub fn start_exec(ch: u64, key: u128, words: &[&str]) -> Vec<u8> {
    Start::exec(ch, words).key(key).frame()
}
