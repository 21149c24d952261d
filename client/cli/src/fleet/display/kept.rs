//! A stream of output that is kept until it can be shown.

use std::io::{self, BufRead, Read};

use super::store::{BLOCK, BlockId, Slot, Store};

/// The bytes of a stream: full blocks in the store, and those behind them, of which the first are in the
/// store's file if memory was short.
///
/// Whatever is no longer needed must be given back by [`Kept::clear`].
#[derive(Debug, Default)]
pub(super) struct Kept {
    blocks: Vec<BlockId>,
    spilled: Option<Slot>,
    gathered: Vec<u8>,
    length: u64,
}

/// The reason for which bytes could not be kept.
#[derive(Debug)]
pub(super) struct Full {
    /// The number of bytes that were kept.
    pub(super) taken: usize,
    pub(super) error: io::Error,
}

impl Kept {
    /// Returns how many bytes it has.
    pub(super) fn len(&self) -> u64 {
        self.length
    }

    /// Adds bytes at the end.
    ///
    /// # Errors
    /// [`Full`] when the store can't take them; what was kept before stays.
    pub(super) fn push(&mut self, store: &mut Store, bytes: &[u8]) -> Result<(), Full> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.begun() == BLOCK {
                let taken = bytes.len() - rest.len();
                self.seal(store).map_err(|error| Full { taken, error })?;
            }
            let room = BLOCK - self.begun();
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.gathered.extend_from_slice(now);
            self.length += now.len() as u64;
            store.gathered += now.len();
            rest = later;
        }
        if store.is_crowded() {
            let taken = bytes.len();
            self.spill(store).map_err(|error| Full { taken, error })?;
        }
        Ok(())
    }

    /// Returns how many bytes stand behind the last block.
    fn begun(&self) -> usize {
        self.spilled.as_ref().map_or(0, Slot::len) + self.gathered.len()
    }

    /// Moves what was gathered to the store's file. A block of it, however short, would take memory as a full
    /// one does.
    fn spill(&mut self, store: &mut Store) -> io::Result<()> {
        if !self.gathered.is_empty() {
            store.spill(&mut self.spilled, &self.gathered)?;
            store.gathered -= self.gathered.len();
            self.gathered = Vec::new();
        }
        Ok(())
    }

    /// Puts what stands behind the last block into the store, so that it is shared with equal streams.
    ///
    /// # Errors
    /// A failure when the store can't take it. It stays where it is then.
    pub(super) fn seal(&mut self, store: &mut Store) -> io::Result<()> {
        if self.begun() > 0 {
            self.blocks.push(store.adopt(&mut self.spilled, &self.gathered)?);
            store.gathered -= self.gathered.len();
            self.gathered = Vec::new();
        }
        Ok(())
    }

    /// Returns all blocks and the slot to the store; nothing is kept then.
    pub(super) fn clear(&mut self, store: &mut Store) {
        self.blocks.drain(..).for_each(|block| store.release(block));
        self.blocks.shrink_to_fit();
        store.release_slot(&mut self.spilled);
        store.gathered -= self.gathered.len();
        self.gathered = Vec::new();
        self.length = 0;
    }

    /// Returns a reader of all bytes, in their order.
    pub(super) fn reader<'a>(&'a self, store: &'a Store) -> Reader<'a> {
        Reader { kept: self, store, next: 0, buffer: Vec::new(), at: 0 }
    }
}

/// Reads a stream that was kept, block by block.
pub(super) struct Reader<'a> {
    kept: &'a Kept,
    store: &'a Store,
    /// The number of the next block; behind the last, the bytes that are no block yet.
    next: usize,
    buffer: Vec<u8>,
    at: usize,
}

impl BufRead for Reader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at >= self.buffer.len() && self.next <= self.kept.blocks.len() {
            self.at = 0;
            match self.kept.blocks.get(self.next) {
                Some(block) => self.store.read(*block, &mut self.buffer)?,
                None => {
                    match &self.kept.spilled {
                        Some(slot) => self.store.read_slot(slot, &mut self.buffer)?,
                        None => self.buffer.clear(),
                    }
                    self.buffer.extend_from_slice(&self.kept.gathered);
                }
            }
            self.next += 1;
        }
        Ok(self.buffer.get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut bytes = self.fill_buf()?;
        let count = bytes.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::super::store::StoreLimits;
    use super::*;

    fn read(kept: &Kept, store: &Store) -> Vec<u8> {
        let mut bytes = Vec::new();
        kept.reader(store).read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_stream_comes_back_as_it_was_however_it_was_cut() {
        let mut store = Store::default();
        let bytes: Vec<u8> = (0..3 * BLOCK + 7).map(|at| (at % 251) as u8).collect();
        for piece in [1 + BLOCK / 3, BLOCK, 2 * BLOCK + 1, bytes.len()] {
            let mut kept = Kept::default();
            for piece in bytes.chunks(piece) {
                kept.push(&mut store, piece).unwrap();
            }
            assert_eq!((kept.len(), read(&kept, &store) == bytes), (bytes.len() as u64, true));
            kept.seal(&mut store).unwrap();
            assert!(read(&kept, &store) == bytes);
            kept.clear(&mut store);
            assert_eq!((kept.len(), store.len(), store.gathered), (0, 0, 0));
        }
        assert_eq!(read(&Kept::default(), &store), b"");
    }

    #[test]
    fn equal_streams_share_their_blocks() {
        let mut store = Store::default();
        let bytes: Vec<u8> = (0..5 * BLOCK + 1).map(|at| (at / BLOCK) as u8).collect();
        let mut streams: Vec<_> = (0..50).map(|_| Kept::default()).collect();
        for kept in &mut streams {
            kept.push(&mut store, &bytes).unwrap();
            kept.seal(&mut store).unwrap();
        }
        assert_eq!(store.len(), 6);
        streams.iter_mut().skip(1).for_each(|kept| kept.clear(&mut store));
        assert!(read(&streams[0], &store) == bytes);
    }

    #[test]
    fn what_a_full_store_does_not_take_is_told_and_nothing_before_is_lost() {
        let disk = BLOCK as u64;
        let limits = StoreLimits { memory: 0, gathered: usize::MAX, ..StoreLimits::default() };
        let mut store = Store::new(StoreLimits { disk, ..limits });
        let bytes: Vec<u8> = (0..4 * BLOCK).map(|at| (at / BLOCK) as u8).collect();
        let mut kept = Kept::default();
        let full = kept.push(&mut store, &bytes).unwrap_err();
        assert_eq!((full.taken, kept.len()), (2 * BLOCK, 2 * BLOCK as u64));
        assert!(read(&kept, &store) == bytes[..full.taken]);
        kept.clear(&mut store);
        kept.push(&mut store, &bytes[full.taken..]).unwrap();
        assert!(read(&kept, &store) == bytes[full.taken..]);
    }

    #[test]
    fn many_streams_that_gather_little_do_not_take_memory_without_bound() {
        let limits = StoreLimits { gathered: 1000, ..StoreLimits::default() };
        let mut store = Store::new(limits);
        let mut streams: Vec<_> = (0..100).map(|_| Kept::default()).collect();
        for (number, kept) in streams.iter_mut().enumerate() {
            kept.push(&mut store, &[number as u8; 100]).unwrap();
            assert!(store.gathered <= 1000, "{}", store.gathered);
        }
        for (number, kept) in streams.iter().enumerate() {
            assert_eq!(read(kept, &store), [number as u8; 100]);
        }
    }

    #[test]
    fn a_stream_that_comes_byte_by_byte_has_no_more_blocks_where_memory_is_short() {
        let limits = StoreLimits { memory: 0, gathered: 1000, ..StoreLimits::default() };
        let mut store = Store::new(limits);
        let mut idle = Kept::default();
        idle.push(&mut store, &[0; 1000]).unwrap();
        let bytes: Vec<u8> = (0..2 * BLOCK + 100).map(|at| (at % 251) as u8).collect();
        let mut streams = [Kept::default(), Kept::default()];
        for byte in &bytes {
            for kept in &mut streams {
                kept.push(&mut store, &[*byte]).unwrap();
                assert!(store.gathered <= 1000);
            }
        }
        assert_eq!((store.len(), store.on_disk()), (2, 4 * BLOCK as u64), "two are shared");
        for kept in &mut streams {
            assert_eq!((kept.blocks.len(), kept.gathered.capacity()), (2, 0));
            assert!(read(kept, &store) == bytes);
            kept.seal(&mut store).unwrap();
            assert!(read(kept, &store) == bytes);
        }
        assert_eq!(store.len(), 3);
        streams.iter_mut().for_each(|kept| kept.clear(&mut store));
        assert_eq!((store.len(), store.on_disk(), store.gathered), (0, 0, 1000));
    }
}
