//! Blocks of output: each content once, in memory up to a budget, then in one unnamed file.
//!
//! Hosts mostly answer alike. A block that another host wrote already costs nothing more, and so fifty
//! equal outputs of 100 MiB take the room of one. What has no room in memory before its block is full
//! waits in the file, too: memory does not grow by how small the pieces are that hosts write. The file is
//! unlinked from the beginning: nothing of it is left behind, however the program ends.

use std::collections::HashMap;
use std::env;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// The longest block, in bytes.
pub(super) const BLOCK: usize = 64 * 1024;

/// The limits of a store.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoreLimits {
    /// Bytes of blocks in memory; what comes after them goes to the file.
    pub(super) memory: usize,
    /// Bytes of the file.
    pub(super) disk: u64,
    /// Bytes that all streams together gather before their block is full; what is past them goes to the file.
    pub(super) gathered: usize,
    /// Uses of blocks, each of which takes memory of whoever uses it.
    pub(super) uses: usize,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self { memory: 32 << 20, disk: 16 << 30, gathered: 32 << 20, uses: 4 << 20 }
    }
}

/// A block, by its place among all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BlockId(u32);

/// The BLAKE3 digest of a block's content.
type Digest = [u8; 32];

/// A part of the file, for the bytes of one stream that are no block yet.
#[derive(Debug)]
pub(super) struct Slot {
    number: u64,
    length: usize,
}

impl Slot {
    /// Returns how many bytes it has.
    pub(super) fn len(&self) -> usize {
        self.length
    }
}

/// The place of a block.
#[derive(Debug)]
enum Place {
    Memory(Box<[u8]>),
    Slot(Slot),
}

#[derive(Debug)]
struct Block {
    digest: Digest,
    uses: usize,
    place: Place,
}

/// All blocks of a run.
#[derive(Debug, Default)]
pub(super) struct Store {
    limits: StoreLimits,
    ids: HashMap<Digest, BlockId>,
    /// The blocks by their IDs; none where a block is gone.
    blocks: Vec<Option<Block>>,
    /// The IDs of blocks that are gone, to be used again.
    unused: Vec<BlockId>,
    /// Uses of all blocks together.
    uses: usize,
    /// Bytes in memory.
    held: usize,
    /// Bytes that streams have gathered and not put here; they keep the count.
    pub(super) gathered: usize,
    file: Option<File>,
    /// Slots of the file: how many there are, and those that are free again.
    slots: u64,
    free: Vec<u64>,
}

impl Store {
    /// Returns an empty store with these limits.
    #[cfg(test)]
    pub(super) fn new(limits: StoreLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Returns whether what a stream has gathered has to leave memory although its block is not full.
    pub(super) fn is_crowded(&self) -> bool {
        self.gathered > self.limits.gathered
    }

    /// Adds a block of at most [`BLOCK`] bytes, or a use of the equal one that is there.
    ///
    /// # Errors
    /// A failure when the file can't take it, or a limit is reached. Nothing has changed then.
    pub(super) fn put(&mut self, bytes: &[u8]) -> io::Result<BlockId> {
        let digest = *blake3::hash(bytes).as_bytes();
        if let Some(id) = self.reuse(&digest)? {
            return Ok(id);
        }
        if self.held + bytes.len() <= self.limits.memory {
            self.held += bytes.len();
            return Ok(self.insert(digest, Place::Memory(bytes.into())));
        }
        let mut slot = None;
        self.spill(&mut slot, bytes)?;
        let place = slot.map_or_else(|| Place::Memory(Box::default()), Place::Slot);
        Ok(self.insert(digest, place))
    }

    /// Writes bytes of a stream to the file, behind those in its slot; it gets one if it has none. A slot has
    /// room for [`BLOCK`] bytes.
    ///
    /// # Errors
    /// A failure when the file can't take them. Nothing has changed then.
    pub(super) fn spill(&mut self, slot: &mut Option<Slot>, bytes: &[u8]) -> io::Result<()> {
        let (number, length) = match slot {
            Some(slot) => (slot.number, slot.length),
            None => (self.free.last().copied().unwrap_or(self.slots), 0),
        };
        if (number + 1) * BLOCK as u64 > self.limits.disk {
            let most = self.limits.disk >> 20;
            let message = format!("the limit of {most} MiB for kept output is reached");
            return Err(io::Error::other(message));
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(create()?),
        };
        file.write_all_at(bytes, number * BLOCK as u64 + length as u64)?;
        if slot.is_none() && self.free.pop().is_none() {
            self.slots += 1;
        }
        *slot = Some(Slot { number, length: length + bytes.len() });
        Ok(())
    }

    /// Makes a block of what is in a stream's slot and the rest of it, together at most [`BLOCK`] bytes. The
    /// slot is taken then.
    ///
    /// # Errors
    /// A failure when the file can't be read or can't take it, or a limit is reached. Nothing is lost then.
    pub(super) fn adopt(&mut self, slot: &mut Option<Slot>, rest: &[u8]) -> io::Result<BlockId> {
        let Some(begun) = slot else { return self.put(rest) };
        let mut bytes = Vec::new();
        self.read_slot(begun, &mut bytes)?;
        bytes.extend_from_slice(rest);
        let digest = *blake3::hash(&bytes).as_bytes();
        if let Some(id) = self.reuse(&digest)? {
            self.release_slot(slot);
            return Ok(id);
        }
        self.spill(slot, rest)?;
        let place = slot.take().map_or_else(|| Place::Memory(Box::default()), Place::Slot);
        Ok(self.insert(digest, place))
    }

    /// Adds a use of the block with this content, if there is one.
    ///
    /// # Errors
    /// A failure when there may be no further use of any block.
    fn reuse(&mut self, digest: &Digest) -> io::Result<Option<BlockId>> {
        if self.uses >= self.limits.uses {
            let most = (self.limits.uses * BLOCK) >> 20;
            let message = format!(
                "the limit of {most} MiB for kept output, equal parts counted each time, is reached"
            );
            return Err(io::Error::other(message));
        }
        let Some(&id) = self.ids.get(digest) else { return Ok(None) };
        if let Some(block) = self.block(id) {
            block.uses += 1;
            self.uses += 1;
        }
        Ok(Some(id))
    }

    fn insert(&mut self, digest: Digest, place: Place) -> BlockId {
        let block = Some(Block { digest, uses: 1, place });
        // Each block has a use, and there are fewer uses than numbers.
        let new = BlockId(u32::try_from(self.blocks.len()).unwrap_or(u32::MAX));
        let id = self.unused.pop().unwrap_or(new);
        match self.blocks.get_mut(index(id)) {
            Some(unused) => *unused = block,
            None => self.blocks.push(block),
        }
        self.ids.insert(digest, id);
        self.uses += 1;
        id
    }

    fn block(&mut self, id: BlockId) -> Option<&mut Block> {
        self.blocks.get_mut(index(id))?.as_mut()
    }

    /// Puts the content of a block in place of what `into` holds.
    ///
    /// # Errors
    /// A failure when the file can't be read.
    pub(super) fn read(&self, id: BlockId, into: &mut Vec<u8>) -> io::Result<()> {
        match self.blocks.get(index(id)).and_then(Option::as_ref).map(|block| &block.place) {
            Some(Place::Memory(bytes)) => {
                into.clear();
                into.extend_from_slice(bytes);
                Ok(())
            }
            Some(Place::Slot(slot)) => self.read_slot(slot, into),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Puts the content of a slot in place of what `into` holds.
    ///
    /// # Errors
    /// A failure when the file can't be read.
    pub(super) fn read_slot(&self, slot: &Slot, into: &mut Vec<u8>) -> io::Result<()> {
        into.clear();
        into.resize(slot.length, 0);
        let file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        file.read_exact_at(into, slot.number * BLOCK as u64)
    }

    /// Takes back one use of a block. After the last one its room is free.
    pub(super) fn release(&mut self, id: BlockId) {
        let Some(block) = self.block(id) else { return };
        block.uses -= 1;
        let is_unused = block.uses == 0;
        self.uses -= 1;
        if !is_unused {
            return;
        }
        let Some(block) = self.blocks.get_mut(index(id)).and_then(Option::take) else { return };
        self.ids.remove(&block.digest);
        self.unused.push(id);
        match block.place {
            Place::Memory(bytes) => self.held -= bytes.len(),
            Place::Slot(slot) => self.free.push(slot.number),
        }
    }

    /// Takes back a stream's slot.
    pub(super) fn release_slot(&mut self, slot: &mut Option<Slot>) {
        self.free.extend(slot.take().map(|slot| slot.number));
    }

    /// Returns the bytes of the file.
    #[cfg(test)]
    pub(super) fn on_disk(&self) -> u64 {
        (self.slots - self.free.len() as u64) * BLOCK as u64
    }

    /// Returns how many blocks there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }
}

/// Returns the place of a block among all.
fn index(id: BlockId) -> usize {
    usize::try_from(id.0).unwrap_or(usize::MAX)
}

/// Makes an unnamed file where much room is expected: /tmp is often memory.
fn create() -> io::Result<File> {
    let chosen = env::var_os("TMPDIR").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    match chosen {
        Some(folder) => tempfile::tempfile_in(folder),
        None => tempfile::tempfile_in(Path::new("/var/tmp")).or_else(|_| tempfile::tempfile()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two blocks in memory, two in the file.
    fn small() -> Store {
        let disk = 2 * BLOCK as u64;
        Store::new(StoreLimits { memory: 2 * BLOCK, disk, gathered: 0, ..StoreLimits::default() })
    }

    fn block(byte: u8) -> Vec<u8> {
        vec![byte; BLOCK]
    }

    #[test]
    fn equal_blocks_are_kept_once_and_go_with_their_last_use() {
        let mut store = small();
        let ids = [1, 2, 1, 1].map(|byte| store.put(&block(byte)).unwrap());
        assert_eq!((ids[0], store.len(), store.held), (ids[2], 2, 2 * BLOCK));
        store.release(ids[0]);
        store.release(ids[0]);
        let mut read = Vec::new();
        store.read(ids[0], &mut read).unwrap();
        assert_eq!(read, block(1));
        store.release(ids[0]);
        assert_eq!((store.len(), store.held), (1, BLOCK));
        assert!(store.read(ids[0], &mut read).is_err());
        store.release(ids[0]);
        assert_eq!(store.len(), 1, "what is gone can't go again");
    }

    #[test]
    fn past_the_memory_blocks_are_on_disk_and_their_room_is_used_again() {
        let mut store = small();
        let mut read = Vec::new();
        store.put(&block(1)).unwrap();
        store.put(&block(2)).unwrap();
        for byte in 3..20 {
            let id = store.put(&block(byte)).unwrap();
            let short = store.put(&[byte]).unwrap();
            assert_eq!(store.on_disk(), 2 * BLOCK as u64);
            store.read(id, &mut read).unwrap();
            assert_eq!(read, block(byte));
            store.read(short, &mut read).unwrap();
            assert_eq!(read, [byte]);
            store.release(id);
            store.release(short);
        }
        assert_eq!((store.on_disk(), store.slots), (0, 2));
    }

    #[test]
    fn a_full_disk_is_an_error_and_changes_nothing() {
        let mut store = small();
        let ids: Vec<_> = (0..4).map(|byte| store.put(&block(byte)).unwrap()).collect();
        let error = store.put(&block(9)).unwrap_err();
        assert!(error.to_string().contains("kept output is reached"), "{error}");
        assert_eq!((store.len(), store.put(&block(3)).unwrap()), (4, ids[3]));
        store.release(ids[2]);
        store.put(&block(9)).unwrap();
    }

    #[test]
    fn what_streams_spill_is_written_in_turn_and_becomes_a_block_like_any_other() {
        let mut store = small();
        let (mut one, mut other) = (None, None);
        for _ in 0..3 {
            store.spill(&mut one, b"ab").unwrap();
            store.spill(&mut other, b"abc").unwrap();
        }
        assert_eq!(store.on_disk(), 2 * BLOCK as u64);
        assert!(store.spill(&mut None, b"x").is_err(), "there is no further slot");
        let mut read = Vec::new();
        store.read_slot(other.as_ref().unwrap(), &mut read).unwrap();
        assert_eq!(read, b"abcabcabc");
        let id = store.adopt(&mut one, b"!").unwrap();
        store.read(id, &mut read).unwrap();
        assert_eq!((one.is_none(), &read[..]), (true, &b"ababab!"[..]));
        assert_eq!(store.put(b"ababab!").unwrap(), id, "equal content is one block");
        store.release_slot(&mut other);
        store.spill(&mut other, b"ababab").unwrap();
        assert_eq!(store.adopt(&mut other, b"!").unwrap(), id);
        assert_eq!((store.len(), store.on_disk()), (1, BLOCK as u64), "its slot is free again");
        (0..3).for_each(|_| store.release(id));
        assert_eq!((store.len(), store.on_disk(), store.uses), (0, 0, 0));
    }

    #[test]
    fn blocks_are_used_so_often_and_no_more() {
        let mut store = Store::new(StoreLimits { uses: 3, ..StoreLimits::default() });
        let ids: Vec<_> = [1, 1, 2].iter().map(|byte| store.put(&[*byte]).unwrap()).collect();
        let error = store.put(&[1]).unwrap_err();
        assert!(error.to_string().contains("counted each time"), "{error}");
        store.release(ids[2]);
        assert_eq!(store.put(&[1]).unwrap(), ids[0]);
    }
}
