//! A socket that counts what passes through it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::ops::Sub;

/// Bytes that a peer has sent and received, those of TLS among them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wire {
    /// The bytes that went to the other side.
    pub sent: u64,
    /// The bytes that came from the other side.
    pub received: u64,
}

impl Sub for Wire {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { sent: self.sent - before.sent, received: self.received - before.received }
    }
}

/// A socket, and the bytes that have passed through it.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) stream: TcpStream,
    pub(super) wire: Wire,
}

impl Counted {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, wire: Wire::default() }
    }
}

/// Returns what a call on a socket gives, made again whenever it was interrupted: with a time limit it is
/// also when the process was stopped and goes on, without any handler (signal(7)).
fn whole(mut act: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match act() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = whole(|| self.stream.read(buffer))?;
        self.wire.received += count as u64;
        Ok(count)
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = whole(|| self.stream.write(bytes))?;
        self.wire.sent += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
