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
    /// The permits for the caller, one for each byte.
    room: Arc<Semaphore>,
    /// The offset in bytes up to which permits were given.
    granted: u64,
    phase: Phase,
}

/// The clients that may have sent standard input under this key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Senders {
    /// This client alone.
    Own,
    /// This client and others write, so that the server may have more than was sent here.
    Several,
}

/// The progress of standard input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// More data is expected from the caller, or the end.
    Open,
    /// The end was sent on this connection.
    EndSent,
    /// No data is sent any more: nobody reads it.
    Closed,
}

impl Input {
    pub(super) fn new(room: Arc<Semaphore>) -> Self {
        // The first of the algorithms that the start lists is the one for stdin.
        let [algorithm, ..] = Algorithm::ALL;
        let outgoing = SendStream::new(Stream::Stdin, algorithm);
        Self { outgoing, room, granted: CREDIT, phase: Phase::Open }
    }

    /// Adds bytes; the caller had permits for them.
    pub(super) fn append(&mut self, bytes: Bytes) {
        if self.phase != Phase::Closed {
            self.outgoing.append(bytes, None);
        }
    }

    /// Ends it behind what was appended.
    pub(super) fn finish(&mut self) {
        self.outgoing.finish();
    }

    /// Returns the next frame to send: data, at last the end.
    pub(super) fn next(&mut self, ch: u32) -> Option<Frame> {
        if self.phase == Phase::Closed {
            return None;
        }
        if let Some(data) = self.outgoing.next(ch) {
            return Some(Frame::Data(data));
        }
        let digest = self.outgoing.finished()?;
        if self.phase == Phase::EndSent || !self.outgoing.is_drained() {
            return None;
        }
        self.phase = Phase::EndSent;
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

    /// Goes on where the server's copy ends.
    pub(super) fn resume(
        &mut self,
        received: u64,
        ended: bool,
        senders: Senders,
    ) -> Result<(), ProtocolError> {
        match (self.outgoing.resume(received), senders) {
            (Ok(_), _) => {}
            (Err(_), Senders::Several) => self.outgoing.skip_to(received),
            (Err(fault), Senders::Own) => return Err(fault),
        }
        self.reopen();
        self.grant();
        if ended {
            self.close();
        }
        Ok(())
    }

    /// Goes back to the beginning. Returns false when that is no longer here.
    pub(super) fn rewind(&mut self) -> bool {
        self.reopen();
        self.outgoing.resume(0) == Ok(0)
    }

    /// Marks the end as not sent, on another connection.
    fn reopen(&mut self) {
        if self.phase == Phase::EndSent {
            self.phase = Phase::Open;
        }
    }

    /// Ends it because nobody reads it any more: further writes fail.
    pub(super) fn close(&mut self) {
        self.phase = Phase::Closed;
        self.room.close();
    }
}
