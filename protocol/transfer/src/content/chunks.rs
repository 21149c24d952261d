//! Files cut into chunks where their content says so: what two versions of a file have in common has the same chunks in
//! both, wherever it stands in them.

use fastcdc::v2020::FastCDC;

use crate::limits;

/// What is told of a chunk: the first half of its BLAKE3 digest. Two chunks that have the same by chance or by intent
/// are found out by the digest of the whole file.
pub(crate) type ChunkDigest = [u8; 16];

/// A chunk of a file: its length and digest.
pub(crate) type Chunk = (u32, ChunkDigest);

/// The chunks that a file is to be cut into, about: the larger it is, the longer they are.
const WANTED: u64 = 65_536;

/// How much shorter and longer than the average a chunk may be.
const SPREAD: usize = 4;

/// Returns the average length of the chunks of a file of this size, in bytes: a power of two.
pub(crate) fn average_for(size: u64) -> u32 {
    let average = (size / WANTED).clamp(limits::CHUNK_LEAST.into(), limits::CHUNK_MOST.into());
    u32::try_from(average.next_power_of_two()).unwrap_or(limits::CHUNK_MOST)
}

/// Returns whether an average is one that files may be cut by.
pub(crate) fn is_average(average: u32) -> bool {
    average.is_power_of_two() && (limits::CHUNK_LEAST..=limits::CHUNK_MOST).contains(&average)
}

/// Returns how many chunks of a file of this size are told of at most.
pub(crate) fn most_for(size: u64) -> u64 {
    let least = u64::from(average_for(size)) / 4;
    (size / least + 1).min(limits::CHUNKS)
}

/// Returns what is told of a chunk.
pub(crate) fn digest_of(chunk: &[u8]) -> ChunkDigest {
    let digest = blake3::hash(chunk);
    digest.as_bytes().first_chunk().copied().unwrap_or_default()
}

/// Cuts what is read into chunks. It holds a few of them, whatever the file's size.
pub(crate) struct Cutter {
    average: usize,
    room: Vec<u8>,
    /// What was read and not cut yet lies between these.
    begin: usize,
    end: usize,
    has_ended: bool,
}

impl Cutter {
    /// Returns a cutter for chunks of this average length.
    pub(crate) fn new(average: u32) -> Self {
        let average = usize::try_from(average).unwrap_or(usize::MAX);
        let room = vec![0; 4 * SPREAD * average];
        Self { average, room, begin: 0, end: 0, has_ended: false }
    }

    /// Begins with another part of a file.
    pub(crate) fn begin(&mut self) {
        (self.begin, self.end, self.has_ended) = (0, 0, false);
    }

    /// Returns the next chunk, or nothing behind the last one. A function reads into the room that it gets, and returns
    /// how much it has read: 0 at the end.
    ///
    /// # Errors
    /// Those of the function.
    pub(crate) fn next<E>(
        &mut self,
        mut read: impl FnMut(&mut [u8]) -> Result<usize, E>,
    ) -> Result<Option<&[u8]>, E> {
        let longest = SPREAD * self.average;
        if self.end - self.begin < longest && !self.has_ended {
            self.room.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
            while self.end < self.room.len() && !self.has_ended {
                let count = read(self.room.get_mut(self.end..).unwrap_or_default())?;
                self.has_ended = count == 0;
                self.end = (self.end + count).min(self.room.len());
            }
        }
        let held = self.room.get(self.begin..self.end).unwrap_or_default();
        if held.is_empty() {
            return Ok(None);
        }
        let cutter = FastCDC::new(held, self.average / SPREAD, self.average, longest);
        let (_, length) = cutter.cut(0, held.len());
        let length = length.clamp(1, held.len());
        self.begin += length;
        Ok(held.get(..length))
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, convert::Infallible};

    use super::*;

    fn noise(count: usize, seed: &[u8]) -> Vec<u8> {
        let mut noise = vec![0; count];
        let mut hasher = blake3::Hasher::new();
        hasher.update(seed).finalize_xof().fill(&mut noise);
        noise
    }

    /// Returns the chunks of a content that is read in pieces of so many bytes.
    fn chunks(content: &[u8], average: u32, piece: usize) -> Vec<Vec<u8>> {
        let (mut cutter, mut rest, mut found) = (Cutter::new(average), content, Vec::new());
        let mut read = |room: &mut [u8]| {
            let count = rest.len().min(room.len()).min(piece);
            room[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
            Ok::<_, Infallible>(count)
        };
        while let Ok(Some(chunk)) = cutter.next(&mut read) {
            found.push(chunk.to_vec());
        }
        found
    }

    #[test]
    fn chunks_are_the_whole_content_and_keep_their_lengths_however_it_is_read() {
        let average = limits::CHUNK_LEAST;
        for content in [noise(1_000_000, b"a"), vec![0; 500_001], vec![1], Vec::new()] {
            let cut = chunks(&content, average, usize::MAX);
            assert_eq!(cut.concat(), content);
            assert_eq!(chunks(&content, average, 777), cut);
            // The last one is what is left.
            for chunk in cut.iter().rev().skip(1) {
                assert!(chunk.len() >= average as usize / 4 && chunk.len() <= average as usize * 4);
            }
        }
    }

    #[test]
    fn what_is_pushed_on_by_an_insertion_has_the_same_chunks() {
        let old = noise(1_000_000, b"b");
        let new = [&old[..300_000], b"inserted", &old[300_000..]].concat();
        let before: HashSet<_> =
            chunks(&old, limits::CHUNK_LEAST, usize::MAX).into_iter().collect();
        let after = chunks(&new, limits::CHUNK_LEAST, usize::MAX);
        let other: usize =
            after.iter().filter(|chunk| !before.contains(*chunk)).map(Vec::len).sum();
        assert!(other < 100_000, "{other} of {} bytes have other chunks", new.len());
    }

    #[test]
    fn larger_files_have_longer_chunks_and_none_has_too_many() {
        let averages = [0, 1 << 20, 1 << 30, 2 << 30, 64 << 30, u64::MAX].map(average_for);
        assert_eq!(averages, [8 << 10, 8 << 10, 16 << 10, 32 << 10, 1 << 20, 1 << 20]);
        assert!(averages.into_iter().all(is_average));
        for wrong in [0, 1, 4_096, 8_193, 3 << 12, 2 << 20, u32::MAX] {
            assert!(!is_average(wrong), "{wrong}");
        }
        assert_eq!(most_for(1 << 20), 513);
        assert_eq!(most_for(u64::MAX), limits::CHUNKS);
    }
}
