//! One direction of a connection as a zstd stream (RFC 8878) that never ends.
//!
//! Frames, credit and digests do not depend on it: they count the expanded bytes.

use std::{fmt, io};

use bytes::{Buf as _, Bytes, BytesMut};
use zstd::stream::raw::{
    CParameter, DParameter, Decoder, Encoder, InBuffer, Operation as _, OutBuffer,
};

use crate::{error::ProtocolError, limits::WINDOW_LOG};

/// The fastest of zstd's positive levels. With a window of this size, the next ones made lines of a log no
/// smaller, and took twice the memory.
const LEVEL: i32 = 1;
/// Bytes of room that are reserved at a time, for output and for input.
const STEP: usize = 16 * 1024;

/// A compressor for what this side sends.
pub(crate) struct Compressor(Encoder<'static>);

impl Compressor {
    pub(crate) fn new() -> io::Result<Self> {
        let mut encoder = Encoder::new(LEVEL)?;
        encoder.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
        Ok(Self(encoder))
    }

    /// Compresses the pieces and flushes, so that a peer that has read the result can expand all of them.
    pub(crate) fn compress<'a>(
        &mut self,
        pieces: impl Iterator<Item = &'a Bytes>,
    ) -> io::Result<Bytes> {
        let mut out = Vec::new();
        for piece in pieces {
            let mut input = InBuffer::around(piece);
            while input.pos() < piece.len() {
                self.0.run(&mut input, &mut room(&mut out))?;
            }
        }
        while self.0.flush(&mut room(&mut out))? > 0 {}
        Ok(out.into())
    }
}

fn room(out: &mut Vec<u8>) -> OutBuffer<'_, Vec<u8>> {
    out.reserve(STEP);
    let end = out.len();
    OutBuffer::around_pos(out, end)
}

/// An expander for what the peer has compressed.
pub(crate) struct Expander {
    decoder: Decoder<'static>,
    input: BytesMut,
}

impl Expander {
    /// Returns an expander that begins with input that has already come.
    pub(crate) fn new(input: BytesMut) -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG))?;
        Ok(Self { decoder, input })
    }

    /// Returns the buffer to append input to, once [`Expander::expand`] has returned 0.
    pub(crate) fn input(&mut self) -> &mut BytesMut {
        self.input.reserve(STEP);
        &mut self.input
    }

    /// Appends at most `room` expanded bytes and returns their number; 0 when it needs more input. However
    /// much the input expands to, it takes no more room than this at once.
    ///
    /// # Errors
    /// [`ProtocolError::Compression`] when the input is no zstd stream, or one with a larger window than is allowed.
    pub(crate) fn expand(
        &mut self,
        out: &mut BytesMut,
        room: usize,
    ) -> Result<usize, ProtocolError> {
        let start = out.len();
        out.resize(start + room, 0);
        let count = self.run(out.get_mut(start..).unwrap_or_default());
        out.truncate(start + count.as_ref().copied().unwrap_or(0));
        count
    }

    fn run(&mut self, out: &mut [u8]) -> Result<usize, ProtocolError> {
        loop {
            let step = self.decoder.run_on_buffers(&self.input, out);
            let step = step.map_err(|error| ProtocolError::Compression(error.to_string()))?;
            self.input.advance(step.bytes_read);
            if step.bytes_written > 0 || self.input.is_empty() {
                return Ok(step.bytes_written);
            }
            if step.bytes_read == 0 {
                return Err(ProtocolError::Compression("it does not go on".to_owned()));
            }
        }
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

impl fmt::Debug for Expander {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expander").field("input", &self.input.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn compressed(compressor: &mut Compressor, pieces: &[Vec<u8>]) -> Bytes {
        let pieces: Vec<_> = pieces.iter().cloned().map(Bytes::from).collect();
        compressor.compress(pieces.iter()).unwrap()
    }

    /// Returns all that comes out, at most `room` bytes at a time.
    fn expanded(expander: &mut Expander, room: usize) -> Vec<u8> {
        let mut out = BytesMut::new();
        while let 1.. = expander.expand(&mut out, room).unwrap() {}
        out.to_vec()
    }

    fn expander(input: &[u8]) -> Expander {
        Expander::new(BytesMut::from(input)).unwrap()
    }

    proptest! {
        #[test]
        fn each_batch_comes_out_whole_however_it_is_cut(
            batches in vec(vec(vec(0..4_u8, 0..3000), 1..5), 1..5),
            room in 1..5000_usize,
            cut in 1..300_usize,
        ) {
            let mut compressor = Compressor::new().unwrap();
            let mut expander = expander(b"");
            for batch in batches {
                let mut out = Vec::new();
                for piece in compressed(&mut compressor, &batch).chunks(cut) {
                    expander.input().extend_from_slice(piece);
                    out.extend(expanded(&mut expander, room));
                }
                prop_assert_eq!(out, batch.concat());
            }
        }

        #[test]
        fn arbitrary_bytes_are_a_fault_or_nothing(bytes in vec(any::<u8>(), 0..2000)) {
            let mut expander = expander(&bytes);
            let mut out = BytesMut::new();
            while let Ok(1..) = expander.expand(&mut out, 4096) {
                prop_assert!(out.len() <= 1 << 30);
            }
        }
    }

    #[test]
    fn of_a_little_that_stands_for_much_only_what_was_asked_for_is_made() {
        let mut compressor = Compressor::new().unwrap();
        let bomb = compressed(&mut compressor, &[vec![0; 64 << 20]]);
        assert!(bomb.len() < 16 << 10, "{}", bomb.len());
        let mut expander = expander(&bomb);
        let (mut out, mut total) = (BytesMut::new(), 0);
        while let count @ 1.. = expander.expand(&mut out, 1000).unwrap() {
            assert!(count <= 1000 && out.len() == count && out.capacity() < 4096);
            total += count;
            out.clear();
        }
        assert_eq!(total, 64 << 20);
    }

    #[test]
    fn a_window_past_the_limit_is_a_fault() {
        let mut encoder = Encoder::new(LEVEL).unwrap();
        encoder.set_parameter(CParameter::WindowLog(WINDOW_LOG + 1)).unwrap();
        let bytes = compressed(&mut Compressor(encoder), &[vec![7; 1000]]);
        let fault = expander(&bytes).expand(&mut BytesMut::new(), 1000);
        assert!(matches!(fault, Err(ProtocolError::Compression(_))), "{fault:?}");
    }
}
