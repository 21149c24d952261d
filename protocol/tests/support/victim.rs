//! One side of a connection, as the peer that attacks it sees it.

use std::time::{Duration, Instant};

use bytes::{BufMut as _, BytesMut};
use rcmd_protocol::{
    connection::{PeerState, Role},
    error::ProtocolError,
    frame::{Frame, Hello, ServerHello},
    ids::Instance,
};

pub(crate) const KEEPALIVE: Duration = Duration::from_secs(15);
pub(crate) const HELLO: &str = r#"{"type":"hello","agent":"a","capabilities":[]}"#;
pub(crate) const ID: &str = "00000000000000000000000000000000";

pub(crate) fn framed(header: &str, payload: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::new();
    bytes.put_u32(u32::try_from(header.len()).unwrap());
    bytes.put_slice(header.as_bytes());
    bytes.put_slice(payload);
    bytes
}

pub(crate) fn start(ch: u32) -> BytesMut {
    let digest = "0".repeat(64);
    let header = format!(
        r#"{{"type":"start","ch":{ch},"key":"{ID}","generation":1,"digest":"{digest}","mode":"exec","argc":1,"len":2}}"#
    );
    framed(&header, b"x\0")
}

pub(crate) fn server_hello() -> BytesMut {
    let server = ServerHello {
        instance: Instance::from_hex(ID).unwrap(),
        grace_ms: 1,
        retain_ms: 1,
        keepalive_ms: 15_000,
    };
    let mut bytes = BytesMut::new();
    Frame::Hello(Hello { server: Some(server), ..Hello::default() }).encode(&mut bytes).unwrap();
    bytes
}

/// A connection that takes one piece after another.
pub(crate) struct Victim {
    pub(crate) connection: PeerState,
    pub(crate) buffer: BytesMut,
    pub(crate) now: Instant,
}

impl Victim {
    pub(crate) fn new(role: Role) -> Self {
        let now = Instant::now();
        Self { connection: PeerState::new(role, KEEPALIVE, now), buffer: BytesMut::new(), now }
    }

    /// Returns a server that has read a hello.
    pub(crate) fn server() -> Self {
        let mut victim = Self::new(Role::Server);
        victim.take(&framed(HELLO, b"")).unwrap();
        victim
    }

    /// Returns a client that has read a hello and opened channel 1.
    pub(crate) fn client() -> Self {
        let mut victim = Self::new(Role::Client);
        victim.take(&server_hello()).unwrap();
        victim.connection.open_channel().unwrap();
        victim
    }

    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, ProtocolError> {
        self.buffer.extend_from_slice(bytes);
        let mut frames = Vec::new();
        while let Some(frame) = self.connection.decode(&mut self.buffer, self.now)? {
            frames.push(frame);
        }
        Ok(frames)
    }

    pub(crate) fn header(&mut self, header: &str) -> Result<Vec<Frame>, ProtocolError> {
        self.take(&framed(header, b""))
    }
}
