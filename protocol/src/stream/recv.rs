//! The receiving end of a stream: order, credit, total and digest.

use bytes::{Buf as _, Bytes};

use crate::{
    digest::{Algorithm, StreamDigest, StreamHasher},
    error::{Corrupt, ProtocolError},
    frame::{Stream, Window},
    limits::CREDIT,
};

/// A receiver announces new credit once this part of the whole credit is new: one in four.
const STEPS: u64 = 4;

/// The receiving end of a stream.
///
/// No bytes are held here: those that [`RecvStream::data`] returns belong to the caller, who reports with
/// [`RecvStream::consume`] when the consumer has taken them.
#[derive(Debug)]
pub struct RecvStream {
    stream: Stream,
    first: u64,
    received: u64,
    consumed: u64,
    announced: (u64, u64),
    /// The bytes that the sender may be ahead of the consumer.
    credit: u64,
    /// The offset past which the sender is at fault: the highest that it may know of, which is [`CREDIT`] at
    /// first if it knows of no smaller credit.
    limit: u64,
    hasher: StreamHasher,
    end: Option<(u64, StreamDigest)>,
}

impl RecvStream {
    /// Returns the receiving end of a stream of which nothing has come.
    pub fn new(stream: Stream, algorithm: Algorithm) -> Self {
        Self {
            stream,
            first: 0,
            received: 0,
            consumed: 0,
            announced: (0, CREDIT),
            credit: CREDIT,
            limit: CREDIT,
            hasher: StreamHasher::new(algorithm),
            end: None,
        }
    }

    /// Returns the receiving end of a stream whose sender no longer has the bytes below `first`.
    ///
    /// Its digest can't be checked if `first` is above 0: [`RecvStream::is_truncated`] is then true.
    pub fn starting_at(stream: Stream, algorithm: Algorithm, first: u64) -> Self {
        Self {
            first,
            received: first,
            consumed: first,
            announced: (first, first.saturating_add(CREDIT)),
            limit: first.saturating_add(CREDIT),
            ..Self::new(stream, algorithm)
        }
    }

    /// Returns this end with another credit: the bytes that the sender may be ahead of the consumer, at most
    /// [`CREDIT`], which is also the default. A sender that does not know of it, because its version is older
    /// than this field, may be ahead by [`CREDIT`] once.
    #[must_use]
    pub fn with_credit(mut self, credit: u64) -> Self {
        self.credit = credit.clamp(STEPS, CREDIT);
        self.announced.1 = self.first.saturating_add(self.credit);
        self
    }

    /// Takes a piece and returns the bytes in it that are new: none if all of them came before.
    ///
    /// # Errors
    /// [`ProtocolError::Gap`] when bytes are missing before it, [`ProtocolError::BeyondCredit`] when it goes
    /// past the credit, [`ProtocolError::AfterEnd`] when the stream had ended.
    pub fn data(&mut self, offset: u64, mut bytes: Bytes) -> Result<Bytes, ProtocolError> {
        let stream = self.stream;
        let end = offset.saturating_add(bytes.len() as u64);
        if offset > self.received {
            return Err(ProtocolError::Gap { stream, expected: self.received, offset });
        }
        if end > self.limit {
            return Err(ProtocolError::BeyondCredit { stream, offset: end, limit: self.limit });
        }
        let known = (self.received - offset).min(bytes.len() as u64);
        bytes.advance(usize::try_from(known).unwrap_or(bytes.len()));
        if bytes.is_empty() {
            return Ok(bytes);
        }
        if self.end.is_some() {
            return Err(ProtocolError::AfterEnd { stream });
        }
        self.hasher.update(&bytes);
        self.received = end;
        Ok(bytes)
    }

    /// Notes that the consumer has taken `count` more bytes.
    pub fn consume(&mut self, count: u64) {
        self.consumed = self.consumed.saturating_add(count).min(self.received);
    }

    /// Returns a window for the sender, if enough has changed since the last one.
    pub fn window_due(&mut self, ch: u32) -> Option<Window> {
        let (got, upto) = self.announced;
        let step = self.credit / STEPS;
        let due = self.received - got >= step || self.consumed + self.credit - upto >= step;
        (due && self.end.is_none()).then(|| self.window(ch))
    }

    /// Returns a window with the present offsets, such as is sent after a resumption.
    pub fn window(&mut self, ch: u32) -> Window {
        let upto = self.consumed + self.credit;
        self.announced = (self.received, upto);
        self.limit = self.limit.max(upto);
        Window { ch, stream: self.stream, got: self.received, upto }
    }

    /// Takes the end of the stream.
    ///
    /// # Errors
    /// [`EndError::Protocol`] when bytes are missing or a second end differs from the first,
    /// [`EndError::Corrupt`] when the digest is not that of the bytes received.
    pub fn end(&mut self, total: u64, digest: StreamDigest) -> Result<(), EndError> {
        let stream = self.stream;
        if let Some(before) = self.end {
            let same = before == (total, digest);
            return if same { Ok(()) } else { Err(ProtocolError::AfterEnd { stream }.into()) };
        }
        if total != self.received {
            return Err(
                ProtocolError::Gap { stream, expected: self.received, offset: total }.into()
            );
        }
        let computed = self.hasher.finish();
        if !self.is_truncated() && computed != digest {
            let what = format!("the bytes have {computed}, the sender says {digest}");
            return Err(Corrupt { stream, what }.into());
        }
        self.end = Some((total, digest));
        Ok(())
    }

    /// Returns the offset after the last byte received.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Returns the total and the digest, once the stream has ended.
    pub fn ended(&self) -> Option<(u64, StreamDigest)> {
        self.end
    }

    /// Returns whether the stream has earlier bytes that this receiver did not get.
    pub fn is_truncated(&self) -> bool {
        self.first > 0
    }
}

/// The ways in which the end of a stream can be wrong.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EndError {
    /// The peer broke the protocol.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The bytes are not those that were sent.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incoming() -> RecvStream {
        RecvStream::new(Stream::Stdout, Algorithm::Blake3)
    }

    fn digest(bytes: &[u8]) -> StreamDigest {
        let mut hasher = StreamHasher::new(Algorithm::Blake3);
        hasher.update(bytes);
        hasher.finish()
    }

    #[test]
    fn a_replay_gives_only_what_is_new() {
        let mut stream = incoming();
        assert_eq!(stream.data(0, Bytes::from_static(b"hello")).unwrap(), "hello");
        assert_eq!(stream.data(0, Bytes::from_static(b"hello")).unwrap(), "");
        assert_eq!(stream.data(3, Bytes::from_static(b"lo, world")).unwrap(), ", world");
        stream.end(12, digest(b"hello, world")).unwrap();
        assert_eq!(stream.data(0, Bytes::from_static(b"hello")).unwrap(), "");
        stream.end(12, digest(b"hello, world")).unwrap();
    }

    #[test]
    fn gaps_and_what_follows_an_end_are_faults() {
        let mut stream = incoming();
        let gap = stream.data(1, Bytes::from_static(b"x"));
        assert_eq!(gap, Err(ProtocolError::Gap { stream: Stream::Stdout, expected: 0, offset: 1 }));
        assert!(matches!(
            stream.end(1, digest(b"")),
            Err(EndError::Protocol(ProtocolError::Gap { .. }))
        ));
        stream.end(0, digest(b"")).unwrap();
        let after = stream.data(0, Bytes::from_static(b"x"));
        assert_eq!(after, Err(ProtocolError::AfterEnd { stream: Stream::Stdout }));
        assert!(stream.end(0, digest(b"x")).is_err());
    }

    #[test]
    fn a_differing_digest_is_corruption() {
        let mut stream = incoming();
        stream.data(0, Bytes::from_static(b"x")).unwrap();
        assert!(matches!(stream.end(1, digest(b"y")), Err(EndError::Corrupt(_))));
    }

    #[test]
    fn credit_rises_only_as_bytes_are_consumed() {
        let mut stream = incoming();
        let megabyte = Bytes::from(vec![0; CREDIT as usize]);
        stream.data(0, megabyte).unwrap();
        let beyond = stream.data(CREDIT, Bytes::from_static(b"x"));
        assert!(matches!(beyond, Err(ProtocolError::BeyondCredit { limit: CREDIT, .. })));
        let window = stream.window_due(1).unwrap();
        assert_eq!((window.got, window.upto), (CREDIT, CREDIT));
        stream.consume(CREDIT / STEPS - 1);
        assert_eq!(stream.window_due(1), None);
        stream.consume(1);
        assert_eq!(stream.window_due(1).unwrap().upto, CREDIT + CREDIT / STEPS);
        stream.data(CREDIT, Bytes::from_static(b"x")).unwrap();
    }

    #[test]
    fn offsets_at_the_end_of_the_number_range_do_not_overflow() {
        let mut stream = incoming();
        assert!(stream.data(u64::MAX, Bytes::from_static(b"xy")).is_err());
        assert!(stream.end(u64::MAX, digest(b"")).is_err());
    }

    #[test]
    fn a_smaller_credit_holds_and_an_older_sender_may_exceed_it_once() {
        let mut stream = RecvStream::new(Stream::Stdout, Algorithm::Sha256).with_credit(4096);
        assert_eq!(stream.window_due(1), None, "nothing is new");
        stream.data(0, Bytes::from(vec![0; CREDIT as usize])).unwrap();
        assert_eq!(stream.window_due(1).unwrap().upto, 4096, "nothing was consumed");
        let beyond = stream.data(CREDIT, Bytes::from_static(b"x"));
        assert!(matches!(beyond, Err(ProtocolError::BeyondCredit { .. })));
        stream.consume(CREDIT);
        assert_eq!(stream.window_due(1).unwrap().upto, CREDIT + 4096);
        stream.data(CREDIT, Bytes::from(vec![0; 4096])).unwrap();
        assert!(stream.data(CREDIT + 4096, Bytes::from_static(b"x")).is_err());
    }
}
