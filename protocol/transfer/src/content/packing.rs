//! Content in a smaller form: each piece of it as one zstd frame (RFC 8878), which stands for itself.

use zstd::bulk::{Compressor, Decompressor};

use crate::{
    failure::{Failure, FailureKind},
    fields::Malformed,
    limits,
};

/// The level of zstd that is its default: one processor packs some hundreds of megabytes a second by it, which is more
/// than the links have for which content is packed.
const LEVEL: i32 = 3;

/// A piece of fewer bytes is not worth packing.
const LEAST: usize = 64;

/// The part of a piece that must be saved: one of so many.
const SAVED: usize = 16;

/// The pieces at most that pass as they are behind one that could not be packed.
const SKIPPED: u32 = 31;

/// Packs content. What gets no smaller passes as it is, and the more often that happens, the more of what follows is
/// not tried.
pub(crate) struct Packer {
    compressor: Compressor<'static>,
    room: Vec<u8>,
    /// How many pieces passed as they are behind the last one that could not be packed, and how many still do.
    skipped: u32,
    left: u32,
}

impl Packer {
    pub(crate) fn new() -> Result<Self, Failure> {
        let compressor = Compressor::new(LEVEL);
        let compressor = compressor.map_err(|error| {
            Failure::new(FailureKind::Io, format!("cannot make a compressor: {error}"))
        })?;
        Ok(Self { compressor, room: vec![0; limits::DATA], skipped: 0, left: 0 })
    }

    /// Forgets what the file before was like.
    pub(crate) fn begin(&mut self) {
        (self.skipped, self.left) = (0, 0);
    }

    /// Returns a piece of content in its smaller form, or nothing if it is to pass as it is.
    pub(crate) fn pack(&mut self, content: &[u8]) -> Option<&[u8]> {
        if content.len() < LEAST {
            return None;
        }
        if self.left > 0 {
            self.left -= 1;
            return None;
        }
        let most = content.len() - content.len() / SAVED;
        let room = self.room.get_mut(..most)?;
        // That it has no room for the result is the only thing that can happen to it.
        match self.compressor.compress_to_buffer(content, room) {
            Ok(count) => {
                self.skipped = 0;
                self.room.get(..count)
            }
            Err(_) => {
                self.skipped = (2 * self.skipped + 1).min(SKIPPED);
                self.left = self.skipped;
                None
            }
        }
    }
}

/// Unpacks content, into room for one piece.
#[derive(Default)]
pub(crate) struct Unpacker {
    decompressor: Option<Decompressor<'static>>,
    room: Vec<u8>,
}

impl Unpacker {
    /// Returns the content of a piece, which must have exactly `length` bytes. No more than these are ever written,
    /// whatever the packed form says.
    pub(crate) fn unpack(&mut self, packed: &[u8], length: usize) -> Result<&[u8], Malformed> {
        const WRONG: Malformed = Malformed("packed content is not what it stands for");
        let decompressor = match &mut self.decompressor {
            Some(decompressor) => decompressor,
            none => none.insert(Decompressor::new().map_err(|_| WRONG)?),
        };
        self.room.resize(limits::DATA, 0);
        let room = self.room.get_mut(..length).ok_or(WRONG)?;
        match decompressor.decompress_to_buffer(packed, room) {
            Ok(count) if count == length => Ok(room),
            _ => Err(WRONG),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(count: usize) -> Vec<u8> {
        let mut noise = vec![0; count];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        noise
    }

    #[test]
    fn content_comes_out_as_it_went_in() {
        let (mut packer, mut unpacker) = (Packer::new().unwrap(), Unpacker::default());
        for count in [LEAST, 1_000, limits::DATA] {
            let content: Vec<u8> =
                b"a line of a log\n".iter().copied().cycle().take(count).collect();
            let packed = packer.pack(&content).unwrap().to_vec();
            assert!(packed.len() <= count / 2, "{count}: {}", packed.len());
            assert_eq!(unpacker.unpack(&packed, count).unwrap(), content);
        }
    }

    #[test]
    fn what_gets_no_smaller_passes_as_it_is_and_ever_more_of_it_is_not_tried() {
        let (mut packer, noise) = (Packer::new().unwrap(), noise(limits::DATA));
        let text = vec![b'x'; limits::DATA];
        assert_eq!(packer.pack(&noise), None);
        // One piece is not tried, then three, then seven.
        for skipped in [1, 3, 7, 15, 31, 31] {
            for _ in 0..skipped {
                assert_eq!(packer.pack(&text), None);
            }
            assert_eq!(packer.pack(&noise), None, "{skipped}");
        }
        packer.begin();
        assert!(packer.pack(&text).is_some());
        assert_eq!(packer.pack(b"short"), None);
    }

    #[test]
    fn nothing_but_the_announced_length_is_taken() {
        let (mut packer, mut unpacker) = (Packer::new().unwrap(), Unpacker::default());
        let content = vec![0; limits::DATA];
        let packed = packer.pack(&content).unwrap().to_vec();
        assert!(packed.len() < 100);
        for length in [0, 1, limits::DATA - 1, limits::DATA + 1, usize::MAX] {
            assert!(unpacker.unpack(&packed, length).is_err(), "{length}");
        }
        // Twice the content, in two frames, and in one that says nothing of its size.
        assert!(unpacker.unpack(&[&packed[..], &packed].concat(), limits::DATA).is_err());
        for wrong in [&b""[..], b"no zstd", &packed[..packed.len() - 1]] {
            assert!(unpacker.unpack(wrong, limits::DATA).is_err(), "{wrong:?}");
        }
        assert_eq!(unpacker.unpack(&packed, limits::DATA).unwrap(), content);
    }
}
