//! The sending end of a stream: a log of the bytes that the receiver has not confirmed.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::{
    digest::{Algorithm, StreamDigest, StreamHasher},
    error::ProtocolError,
    frame::{Data, Stream},
    limits::{CHUNK, CREDIT},
};

/// The number of pieces from which small ones are joined. Each piece costs its own bookkeeping and may keep
/// alive a read buffer of many times its size.
const PIECES: usize = 256;
/// The number of pieces from which those of different times are joined as well, up to [`GRAIN`].
const TIMED_PIECES: usize = 8192;
/// Bytes that share the time of the first when a command writes tiny pieces faster than they are taken: the
/// bookkeeping for a full credit then needs less memory than its bytes.
const GRAIN: usize = 512;

/// The sending end of a stream.
///
/// ```text
///  0 ........ got ............ next ........... total ...... limit
///   forgotten  |   retained     |    to be sent   |   may come
/// ```
#[derive(Debug)]
pub struct SendStream {
    stream: Stream,
    pieces: VecDeque<Piece>,
    /// The index of the piece that holds `next`, or one past the last.
    cursor: usize,
    /// The number of pieces at which small ones are joined. It doubles when that helped little, so that appending
    /// stays cheap.
    join_at: usize,
    retained: u64,
    got: u64,
    next: u64,
    sent: u64,
    total: u64,
    upto: u64,
    /// The bytes that the sender may be ahead of what the receiver has confirmed.
    credit: u64,
    hasher: StreamHasher,
    end: Option<StreamDigest>,
}

#[derive(Clone, Debug)]
struct Piece {
    offset: u64,
    time: Option<u64>,
    bytes: Bytes,
}

impl Piece {
    fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

impl SendStream {
    /// Returns the sending end of a stream of which nothing was sent.
    pub fn new(stream: Stream, algorithm: Algorithm) -> Self {
        Self::with_credit(stream, algorithm, CREDIT)
    }

    /// Returns the sending end of a stream of which nothing was sent, and which may be `credit` bytes ahead of its
    /// receiver; at most [`CREDIT`].
    pub fn with_credit(stream: Stream, algorithm: Algorithm, credit: u64) -> Self {
        let credit = credit.min(CREDIT);
        Self {
            stream,
            pieces: VecDeque::new(),
            cursor: 0,
            join_at: PIECES,
            retained: 0,
            got: 0,
            next: 0,
            sent: 0,
            total: 0,
            upto: credit,
            credit,
            hasher: StreamHasher::new(algorithm),
            end: None,
        }
    }

    /// Appends bytes to the stream. `time` is the time at which they were read, in milliseconds since 1970.
    /// After [`SendStream::finish`] the call does nothing.
    pub fn append(&mut self, bytes: Bytes, time: Option<u64>) {
        if bytes.is_empty() || self.end.is_some() {
            return;
        }
        self.hasher.update(&bytes);
        let offset = self.total;
        self.total += bytes.len() as u64;
        // The receiver has the bytes below `got` from an earlier sender under the same key.
        if offset < self.got {
            self.next = self.next.max(self.got.min(self.total));
        }
        if self.total <= self.got {
            return;
        }
        if self.pieces.len() >= self.join_at {
            self.join();
        }
        self.retained += bytes.len() as u64;
        self.pieces.push_back(Piece { offset, time, bytes });
    }

    /// Returns the number of bytes that may be appended now within the credit. A caller that reads no more than
    /// this from its source keeps bytes from piling up here.
    pub fn room(&self) -> u64 {
        self.limit().saturating_sub(self.total)
    }

    // However much a receiver grants, the bytes retained here stay within the credit.
    fn limit(&self) -> u64 {
        self.upto.min(self.got.saturating_add(self.credit)).max(self.got)
    }

    /// Returns the next piece to send, if credit allows one.
    pub fn next(&mut self, ch: u32) -> Option<Data> {
        let limit = self.limit();
        let piece = self.pieces.get(self.cursor)?;
        let allowed = limit.checked_sub(self.next).filter(|&allowed| allowed > 0)?;
        let start = usize::try_from(self.next - piece.offset).ok()?;
        let allowed = usize::try_from(allowed).unwrap_or(CHUNK);
        let end = piece.bytes.len().min(start + CHUNK.min(allowed));
        let payload = piece.bytes.slice(start..end);
        let data = Data { ch, stream: self.stream, offset: self.next, time: piece.time, payload };
        self.next += (end - start) as u64;
        self.sent = self.sent.max(self.next);
        if end == piece.bytes.len() {
            self.cursor += 1;
        }
        Some(data)
    }

    /// Applies a window of the receiver.
    ///
    /// # Errors
    /// [`ProtocolError::BeyondCredit`] when it confirms bytes that were never sent.
    pub fn window(&mut self, got: u64, upto: u64) -> Result<(), ProtocolError> {
        if got > self.sent.max(self.got) {
            return Err(ProtocolError::BeyondCredit {
                stream: self.stream,
                offset: got,
                limit: self.sent,
            });
        }
        self.upto = self.upto.max(upto);
        self.forget(got);
        Ok(())
    }

    fn forget(&mut self, got: u64) {
        self.got = self.got.max(got);
        while let Some(piece) = self.pieces.front().filter(|piece| piece.end() <= self.got) {
            self.retained -= piece.bytes.len() as u64;
            self.pieces.pop_front();
            self.cursor = self.cursor.saturating_sub(1);
        }
        // A receiver may confirm bytes that were about to be sent to it again.
        if self.next < got {
            self.seek(got.min(self.total));
        }
    }

    /// Moves back, or on, to the offset up to which a receiver has the stream, as after a resumption. Returns
    /// the offset at which data goes on, which is higher if bytes from there are no longer retained.
    ///
    /// # Errors
    /// [`ProtocolError::BeyondCredit`] when the receiver claims bytes that were never sent to anyone.
    pub fn resume(&mut self, received: u64) -> Result<u64, ProtocolError> {
        if received > self.sent.max(self.got) {
            let limit = self.sent;
            return Err(ProtocolError::BeyondCredit {
                stream: self.stream,
                offset: received,
                limit,
            });
        }
        self.forget(received);
        self.seek(received.max(self.first()));
        Ok(self.next)
    }

    /// Skips the first `got` bytes of the stream, which the receiver has from an earlier sender under the same
    /// key. They are hashed as they are appended, and not sent.
    pub fn skip_to(&mut self, got: u64) {
        self.forget(got);
        self.sent = self.sent.max(got);
        self.upto = self.upto.max(got.saturating_add(self.credit));
        self.seek(got.min(self.total));
    }

    /// Returns the offset of the first byte that can still be sent.
    pub fn first(&self) -> u64 {
        self.pieces.front().map_or(self.total, |piece| piece.offset)
    }

    fn seek(&mut self, offset: u64) {
        self.next = offset;
        self.cursor = self.pieces.partition_point(|piece| piece.end() <= offset);
    }

    // Joins neighbours of the same time up to CHUNK and, when there are too many pieces, any up to GRAIN.
    fn join(&mut self) {
        let mut joined: VecDeque<Piece> = VecDeque::new();
        let mut run = BytesMut::new();
        let mut head: Option<(u64, Option<u64>)> = None;
        let grain = if self.pieces.len() >= TIMED_PIECES { GRAIN } else { 0 };
        for piece in std::mem::take(&mut self.pieces) {
            let length = run.len() + piece.bytes.len();
            match head {
                Some((_, time)) if length <= CHUNK && time == piece.time => {}
                Some(_) if length <= grain => {}
                _ => {
                    if let Some((offset, time)) = head {
                        joined.push_back(Piece { offset, time, bytes: run.split().freeze() });
                    }
                    head = Some((piece.offset, piece.time));
                }
            }
            run.extend_from_slice(&piece.bytes);
        }
        if let Some((offset, time)) = head {
            joined.push_back(Piece { offset, time, bytes: run.freeze() });
        }
        self.pieces = joined;
        self.join_at = (2 * self.pieces.len()).clamp(PIECES, TIMED_PIECES);
        self.seek(self.next);
    }

    /// Drops all retained bytes, as nobody wants them. Total and digest stay those of all that was appended.
    pub fn abandon(&mut self) {
        self.pieces.clear();
        self.retained = 0;
        self.got = self.total;
        self.sent = self.total;
        self.seek(self.total);
    }

    /// Ends the stream and returns its digest. Later calls return the same digest.
    pub fn finish(&mut self) -> StreamDigest {
        *self.end.get_or_insert_with(|| self.hasher.finish())
    }

    /// Returns the digest, once the stream is finished.
    pub fn finished(&self) -> Option<StreamDigest> {
        self.end
    }

    /// Returns whether all appended bytes have been sent.
    pub fn is_drained(&self) -> bool {
        self.next >= self.total
    }

    /// Returns the number of bytes appended.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Returns the number of bytes retained here.
    pub fn retained(&self) -> u64 {
        self.retained
    }
}

#[cfg(test)]
mod tests;
