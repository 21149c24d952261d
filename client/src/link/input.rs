//! Standard input on its way to the server.

use std::sync::Arc;

use bytes::Bytes;
use rcmd_protocol::{
    digest::Algorithm,
    error::ProtocolError,
    frame::{End, Frame, Stream},
    limits::CREDIT,
    stream::SendStream,
};
use tokio::sync::Semaphore;

/// Standard input: what the server has not confirmed is kept, to be sent again after a loss.
#[derive(Debug)]
pub(super) struct Input {
    outgoing: SendStream,
    /// Permits for the caller, one a byte.
    room: Arc<Semaphore>,
    /// Offset up to which permits were given.
    granted: u64,
    end_sent: bool,
    /// Whether nobody reads it any more.
    closed: bool,
}

impl Input {
    pub(super) fn new(room: Arc<Semaphore>) -> Self {
        // The first of the algorithms that the start lists is the one for stdin.
        let [algorithm, ..] = Algorithm::ALL;
        let outgoing = SendStream::new(Stream::Stdin, algorithm);
        Self { outgoing, room, granted: CREDIT, end_sent: false, closed: false }
    }

    /// Adds bytes; the caller had permits for them.
    pub(super) fn append(&mut self, bytes: Bytes) {
        if !self.closed {
            self.outgoing.append(bytes, None);
        }
    }

    /// Ends it behind what was appended.
    pub(super) fn finish(&mut self) {
        self.outgoing.finish();
    }

    /// Returns the next frame to send: data, at last the end.
    pub(super) fn next(&mut self, ch: u32) -> Option<Frame> {
        if self.closed {
            return None;
        }
        if let Some(data) = self.outgoing.next(ch) {
            return Some(Frame::Data(data));
        }
        let digest = self.outgoing.finished()?;
        if self.end_sent || !self.outgoing.is_drained() {
            return None;
        }
        self.end_sent = true;
        let total = self.outgoing.total();
        Some(Frame::End(End { ch, stream: Stream::Stdin, total, digest, open: false }))
    }

    /// Takes a window of the server.
    pub(super) fn window(&mut self, got: u64, upto: u64) -> Result<(), ProtocolError> {
        self.outgoing.window(got, upto)?;
        self.grant();
        Ok(())
    }

    fn grant(&mut self) {
        let limit = self.outgoing.total() + self.outgoing.room();
        let more = limit.saturating_sub(self.granted);
        self.granted = self.granted.max(limit);
        self.room.add_permits(usize::try_from(more).unwrap_or_default());
    }

    /// Goes on where the server's copy ends. With `shared`, another client may have sent under the
    /// same key, so that the server may have more than was sent here.
    pub(super) fn resume(
        &mut self,
        received: u64,
        ended: bool,
        shared: bool,
    ) -> Result<(), ProtocolError> {
        match self.outgoing.resume(received) {
            Ok(_) => {}
            Err(_) if shared => self.outgoing.skip_to(received),
            Err(fault) => return Err(fault),
        }
        self.end_sent = false;
        self.grant();
        if ended {
            self.close();
        }
        Ok(())
    }

    /// Goes back to the beginning. Returns false when that is no longer here.
    pub(super) fn rewind(&mut self) -> bool {
        self.end_sent = false;
        self.outgoing.resume(0) == Ok(0)
    }

    /// Ends it because nobody reads it any more: further writes fail.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.room.close();
    }
}
