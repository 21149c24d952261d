//! Every limit of a transfer. What comes from the other end is held to them before memory is taken for it.

/// The bytes of one message's name or link target at most; a name that a file system takes has 255.
pub(crate) const NAME: usize = 4_096;

/// The bytes of a name that a file may have.
pub(crate) const FILE_NAME: usize = 255;

/// The bytes of one explanation.
pub(crate) const TEXT: usize = 1_024;

/// The bytes of content in one message.
pub(crate) const DATA: usize = 256 * 1024;

/// Returns the bytes of the room that a file of this size is read into, a part at a time. Memory for a whole message
/// costs more to get than a small file to read.
pub(crate) fn room_for(size: u64) -> usize {
    usize::try_from(size).map_or(DATA, |size| size.clamp(1, DATA))
}

/// The bytes of one hole in one message: reading it takes time, and what is to end is looked for between messages.
pub(crate) const HOLE: u64 = 1024 * 1024 * 1024;

/// The bytes of one range in one message that is copied from the file that is replaced.
pub(crate) const COPY: u64 = 64 * 1024 * 1024;

/// The average length, in bytes, of the chunks that a file is compared by, at least and at most: a power of two.
pub(crate) const CHUNK_LEAST: u32 = 8 * 1024;
/// See [`CHUNK_LEAST`].
pub(crate) const CHUNK_MOST: u32 = 1024 * 1024;

/// The chunks that are told of one file, of all files whose content has not come, and in one message.
pub(crate) const CHUNKS: u64 = 131_072;
/// See [`CHUNKS`].
pub(crate) const CHUNKS_TOGETHER: u64 = 2 * CHUNKS;
/// See [`CHUNKS`].
pub(crate) const CHUNKS_IN_MESSAGE: usize = 8_192;

/// The size, in bytes, of the smallest file that chunks are told of, and how much larger than the new one it may be.
pub(crate) const COMPARED: u64 = 64 * 1024;
/// See [`COMPARED`].
pub(crate) const COMPARED_TIMES: u64 = 16;

/// The digests of chunks that wait at the sender until their files' turn comes. Those of one file may be on their way
/// while the sender has not heard that an earlier one failed.
pub(crate) const DIGESTS: u64 = CHUNKS_TOGETHER + 2 * CHUNKS;

/// The bytes of a message without content: a path of the greatest depth, or the digests of a partial file.
pub(crate) const MESSAGE: usize = 384 * 1024;

/// The bytes that are collected before they are written to the stream. With fewer than a window of entries both ends
/// work at the same time.
pub(crate) const BATCH: usize = 32 * 1024;

/// The depth of folders below the one that a transfer begins with.
pub(crate) const DEPTH: usize = 1_024;

/// The entries that the sender has named and the receiver has not settled.
pub(crate) const WINDOW: usize = 4_096;

/// The bytes of answers that wait for the sender: of each entry within the window at most two, which have an explanation
/// at most; the digests of all parts that may be offered; and what folders tell.
pub(crate) const ANSWERS: usize = 16 * 1024 * 1024;

/// The folders that one end has open at once, besides those that a transfer begins with.
pub(crate) const OPEN_FOLDERS: usize = 64;

/// The partial files that are open at once because their length was offered to the sender.
pub(crate) const OFFERS: usize = 32;

/// The parts whose digests the sender keeps until it comes to them. A receiver that gives one up may offer another.
pub(crate) const PARTS: usize = 4 * OFFERS;

/// The names that a walk holds in all its folders together, and those that it may have of any folder.
pub(crate) const LISTED: usize = 131_072;
/// See [`LISTED`].
pub(crate) const LISTED_AT_LEAST: usize = 64;

/// The files of several names that are remembered until all their names were met.
pub(crate) const LINKED: usize = 131_072;

/// The bytes of the attributes of one entry, with what they take in memory.
pub(crate) const ATTRIBUTES: usize = 128 * 1024;

/// The attributes of users that one entry has.
pub(crate) const ATTRIBUTE_COUNT: usize = 1_024;

/// The bytes of the attributes of entries that are not settled.
pub(crate) const ATTRIBUTES_HELD: usize = 8 * 1024 * 1024;

/// The entries of one access list.
pub(crate) const ACL_ENTRIES: usize = 512;

/// The bytes of the name of a user or a group.
pub(crate) const ACCOUNT_NAME: usize = 255;

/// The size, in bytes, from which on a file is written under a name of its own, so that a later try can go on with it.
pub(crate) const LARGE: u64 = 256 * 1024;

/// The digests of a partial file that are sent, and the smallest range that one is of, in bytes.
pub(crate) const RANGES: u64 = 4_096;
/// See [`RANGES`].
pub(crate) const RANGE: u64 = 1024 * 1024;

/// The size, in bytes, up to which a file is read whose system does not say how large it is.
pub(crate) const UNSIZED: usize = 16 * 1024 * 1024;

/// The age, in seconds, after which a partial file is nobody's any more: 7 days.
pub(crate) const PARTIAL_AGE: i64 = 7 * 24 * 60 * 60;

/// The partial files of one folder that are looked at.
pub(crate) const PARTIALS: usize = 1_024;

/// The names that are remembered for deletion, of all folders that are not left yet.
pub(crate) const REMEMBERED: usize = 4_000_000;

/// What is deleted at most unless the caller says how much: this, or half of what is there.
pub(crate) const DELETED: u64 = 1_000;

/// The entries that a deletion may name.
pub(crate) const DELETIONS: usize = 1_000_000;

/// The patterns of a transfer, the bytes of one, and those of all.
pub(crate) const RULES: usize = 4_096;
/// See [`RULES`].
pub(crate) const RULE: usize = 4_096;
/// See [`RULES`].
pub(crate) const RULES_TOGETHER: usize = 256 * 1024;
