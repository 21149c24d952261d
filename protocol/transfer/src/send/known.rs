//! What the receiver has of a file that it replaces.

use std::collections::HashMap;

use crate::{
    content::chunks::{Chunk, ChunkDigest, Cutter},
    failure::TransferError,
};

/// Where the receiver finds chunks: each has an offset and a length.
pub(super) type Found = HashMap<ChunkDigest, (u64, u32)>;

/// The chunks that the receiver has told of one file.
pub(super) struct Known {
    average: u32,
    cutter: Option<Cutter>,
    found: Found,
    /// How many digests these are, of which only so many are held at once.
    pub(super) digests: u64,
}

impl Known {
    pub(super) fn new(average: u32) -> Self {
        Self { average, cutter: None, found: Found::new(), digests: 0 }
    }

    /// Adds a part of the file.
    pub(super) fn add(
        &mut self,
        average: u32,
        offset: u64,
        chunks: &[Chunk],
    ) -> Result<(), TransferError> {
        if average != self.average {
            return Err(TransferError::Protocol("the chunks of one file have two averages"));
        }
        let mut offset = offset;
        for (length, digest) in chunks {
            self.digests += 1;
            // Where a chunk stands several times, the first place is as good as any.
            self.found.entry(*digest).or_insert((offset, *length));
            offset = offset
                .checked_add(u64::from(*length))
                .ok_or(TransferError::Protocol("the chunks of a file lie behind the end of any"))?;
        }
        Ok(())
    }

    /// Returns what cuts the file here, and where its chunks are found there.
    pub(super) fn parts(&mut self) -> (&mut Cutter, &Found) {
        let average = self.average;
        (self.cutter.get_or_insert_with(|| Cutter::new(average)), &self.found)
    }
}
