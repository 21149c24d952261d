//! Blocks of output: each content once, in memory up to a budget, then in one unnamed file.
//!
//! Hosts mostly answer alike. A block that another host wrote already costs nothing more, and so fifty
//! equal outputs of 100 MiB take the room of one. The file is unlinked from the beginning: nothing of it
//! is left behind, however the program ends.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::env;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// The longest block, in bytes.
pub(super) const BLOCK: usize = 64 * 1024;

/// How much a store holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoreLimits {
    /// Bytes of blocks in memory; what comes after them goes to the file.
    pub(super) memory: usize,
    /// Bytes of the file.
    pub(super) disk: u64,
    /// Bytes that all streams together gather before their block is full; past them blocks are short.
    pub(super) gathered: usize,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self { memory: 32 << 20, disk: 16 << 30, gathered: 32 << 20 }
    }
}

/// A block, by the BLAKE3 digest of its content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct BlockId([u8; 32]);

/// Where a block is.
#[derive(Debug)]
enum Place {
    Memory(Box<[u8]>),
    Slot { number: u64, length: usize },
}

#[derive(Debug)]
struct Block {
    uses: usize,
    place: Place,
}

/// All blocks of a run.
#[derive(Debug, Default)]
pub(super) struct Store {
    limits: StoreLimits,
    blocks: HashMap<BlockId, Block>,
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

    /// Returns whether what a stream has gathered has to go although its block is not full.
    pub(super) fn is_crowded(&self) -> bool {
        self.gathered > self.limits.gathered
    }

    /// Adds a block of at most [`BLOCK`] bytes, or a use of the equal one that is there.
    ///
    /// # Errors
    /// When the file can't take it, or would be larger than its limit. Nothing has changed then.
    pub(super) fn put(&mut self, bytes: &[u8]) -> io::Result<BlockId> {
        let id = BlockId(*blake3::hash(bytes).as_bytes());
        if let Some(block) = self.blocks.get_mut(&id) {
            block.uses += 1;
            return Ok(id);
        }
        let place = if self.held + bytes.len() <= self.limits.memory {
            self.held += bytes.len();
            Place::Memory(bytes.into())
        } else {
            Place::Slot { number: self.write(bytes)?, length: bytes.len() }
        };
        self.blocks.insert(id, Block { uses: 1, place });
        Ok(id)
    }

    /// Writes a block into a slot of the file and returns the slot's number.
    fn write(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let number = self.free.last().copied().unwrap_or(self.slots);
        if (number + 1) * BLOCK as u64 > self.limits.disk {
            let most = self.limits.disk >> 20;
            return Err(io::Error::other(format!("more than {most} MiB of output is kept")));
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(create()?),
        };
        file.write_all_at(bytes, number * BLOCK as u64)?;
        if self.free.pop().is_none() {
            self.slots += 1;
        }
        Ok(number)
    }

    /// Puts the content of a block in place of what `into` holds.
    ///
    /// # Errors
    /// When the file can't be read.
    pub(super) fn read(&self, id: BlockId, into: &mut Vec<u8>) -> io::Result<()> {
        into.clear();
        match self.blocks.get(&id).map(|block| &block.place) {
            Some(Place::Memory(bytes)) => into.extend_from_slice(bytes),
            Some(Place::Slot { number, length }) => {
                into.resize(*length, 0);
                let file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
                file.read_exact_at(into, number * BLOCK as u64)?;
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        }
        Ok(())
    }

    /// Takes back one use of a block; without any it is gone.
    pub(super) fn release(&mut self, id: BlockId) {
        let Entry::Occupied(mut entry) = self.blocks.entry(id) else { return };
        entry.get_mut().uses -= 1;
        if entry.get().uses == 0 {
            match entry.remove().place {
                Place::Memory(bytes) => self.held -= bytes.len(),
                Place::Slot { number, .. } => self.free.push(number),
            }
        }
    }

    /// Returns the bytes of the file.
    #[cfg(test)]
    pub(super) fn on_disk(&self) -> u64 {
        (self.slots - self.free.len() as u64) * BLOCK as u64
    }

    /// Returns how many blocks there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }
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
        Store::new(StoreLimits { memory: 2 * BLOCK, disk, gathered: 0 })
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
        assert!(error.to_string().contains("output is kept"), "{error}");
        assert_eq!((store.len(), store.put(&block(3)).unwrap()), (4, ids[3]));
        store.release(ids[2]);
        store.put(&block(9)).unwrap();
    }
}
