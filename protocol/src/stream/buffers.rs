//! Blocks of memory that are filled, cut into pieces, and filled again once nobody holds a piece.
//!
//! For a new block the kernel clears a page for every 4 KiB, and the processor's cache needs new room; a
//! block that was used a moment ago costs neither.

use bytes::BytesMut;

/// The most blocks that are kept: enough for a stream's whole credit in chunks that are half full. There are
/// never more than were held at one time, since a new block is made only when none is free.
const MOST: usize = 32;

/// A pool of blocks of one size that are used again.
#[derive(Debug)]
pub struct BufferPool {
    size: usize,
    /// The empty rest of each block that was filled, which keeps the block from being freed.
    used: Vec<BytesMut>,
}

impl BufferPool {
    /// Returns an empty pool of blocks of `size` bytes.
    pub const fn new(size: usize) -> Self {
        Self { size, used: Vec::new() }
    }

    /// Moves the contents of `block` to another block, with room for more. Of the blocks that nobody holds any
    /// more it takes the one that was used last, which is the likeliest to be in the cache.
    pub fn renew(&mut self, block: &mut BytesMut) {
        let free = self.used.iter_mut().rposition(|block| block.try_reclaim(self.size));
        let mut fresh = match free {
            Some(at) => self.used.remove(at),
            None => BytesMut::with_capacity(self.size),
        };
        fresh.extend_from_slice(block);
        let mut used = std::mem::replace(block, fresh);
        used.clear();
        if used.capacity() > 0 {
            if self.used.len() >= MOST {
                self.used.remove(0);
            }
            self.used.push(used);
        }
    }

    /// Forgets all blocks. Each is freed with its last piece.
    pub fn clear(&mut self) {
        self.used = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 1024;

    #[test]
    fn a_block_is_used_again_once_its_last_piece_is_gone() {
        let mut blocks = BufferPool::new(SIZE);
        let mut block = BytesMut::new();
        blocks.renew(&mut block);
        let first = block.as_ptr();
        block.resize(SIZE - 10, 1);
        let piece = block.split().freeze();
        block.extend_from_slice(b"begun");
        blocks.renew(&mut block);
        assert_ne!(block.as_ptr(), first);
        assert_eq!(block, "begun");
        assert_eq!(piece, [1; SIZE - 10].as_slice());
        drop(piece);
        blocks.renew(&mut block);
        assert_eq!((block.as_ptr(), &block[..]), (first, b"begun".as_slice()));
        assert!(block.capacity() >= SIZE);
    }

    #[test]
    fn held_blocks_are_not_remembered_without_end() {
        let mut blocks = BufferPool::new(SIZE);
        let mut block = BytesMut::new();
        let mut held = Vec::new();
        for byte in 0..100 {
            blocks.renew(&mut block);
            block.resize(SIZE, byte);
            held.push(block.split().freeze());
            assert!(blocks.used.len() <= MOST);
        }
        for (byte, piece) in held.iter().enumerate() {
            assert!(piece.iter().all(|&other| usize::from(other) == byte));
        }
    }
}
