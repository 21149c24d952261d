//! The standard input of a job as its client sends it: order, credit and end.

use bytes::Bytes;
use rcmd_protocol::{
    digest::{Algorithm, StreamDigest},
    error::ProtocolError,
    frame::{Stream, Window},
    stream::{EndError, RecvStream},
};

const NOT_WANTED: &str = "the start asked for no stdin";

/// The standard input of a job.
#[derive(Debug)]
pub(super) struct InputLog {
    incoming: RecvStream,
    is_wanted: bool,
    /// True if nobody reads the input any longer, so that data is dropped.
    is_closed: bool,
}

impl InputLog {
    pub(super) fn new(is_wanted: bool, algorithm: Algorithm) -> Self {
        let incoming = RecvStream::new(Stream::Stdin, algorithm);
        Self { incoming, is_wanted, is_closed: false }
    }

    /// Takes data from the client. Returns the bytes that are new, if anybody reads them.
    pub(super) fn data(
        &mut self,
        offset: u64,
        bytes: Bytes,
    ) -> Result<Option<Bytes>, ProtocolError> {
        if !self.is_wanted {
            return Err(ProtocolError::Unexpected { frame: "data", why: NOT_WANTED });
        }
        let bytes = self.incoming.data(offset, bytes)?;
        if self.is_closed {
            self.taken(bytes.len() as u64);
            return Ok(None);
        }
        Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }

    /// Takes the end of the stream.
    pub(super) fn end(&mut self, total: u64, digest: StreamDigest) -> Result<(), EndError> {
        if !self.is_wanted {
            return Err(ProtocolError::Unexpected { frame: "end", why: NOT_WANTED }.into());
        }
        self.incoming.end(total, digest)
    }

    /// Notes that the command has read `count` more bytes.
    pub(super) fn taken(&mut self, count: u64) {
        self.incoming.consume(count);
    }

    /// Notes that nobody reads the input any longer.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
        // All bytes that arrived count as read, so that the client can send the rest up to the end.
        self.incoming.consume(self.incoming.received());
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    pub(super) fn window_due(&mut self, ch: u32) -> Option<Window> {
        self.incoming.window_due(ch).filter(|_| self.is_wanted)
    }

    pub(super) fn window(&mut self, ch: u32) -> Option<Window> {
        self.is_wanted.then(|| self.incoming.window(ch))
    }

    pub(super) fn received(&self) -> u64 {
        self.incoming.received()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.incoming.ended().is_some()
    }
}
