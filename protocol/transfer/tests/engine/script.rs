//! Messages as docs/transfer.md has them, written by hand.

pub(crate) fn message(kind: u8, fields: &[&[u8]]) -> Vec<u8> {
    let fields = fields.concat();
    let length = u32::try_from(fields.len() + 1).unwrap().to_be_bytes();
    [&length[..], &[kind], &fields].concat()
}

pub(crate) fn bytes16(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    [&length[..], bytes].concat()
}

/// The hello of a sender (1) or a receiver (2) that takes the other end's options.
pub(crate) fn hello(role: u8) -> Vec<u8> {
    message(1, &[b"rcft", &[0, 1, role, 0]])
}

/// The seconds of every time here.
pub(crate) const TIME_SECONDS: i64 = 0x6000_0000;

const MODE: [u8; 4] = 0o644_u32.to_be_bytes();
const TIME: [u8; 12] = [0, 0, 0, 0, 0x60, 0, 0, 0, 0, 0, 0, 0];

pub(crate) fn folder(name: &[u8]) -> Vec<u8> {
    message(2, &[&0o755_u32.to_be_bytes(), &TIME, &bytes16(name)])
}

pub(crate) fn leave() -> Vec<u8> {
    message(3, &[])
}

pub(crate) fn file(name: &[u8], size: u64) -> Vec<u8> {
    message(4, &[&MODE, &TIME, &size.to_be_bytes(), &[0, 0], &bytes16(name)])
}

/// An empty file that has further names.
pub(crate) fn file_with_more_names(name: &[u8]) -> Vec<u8> {
    message(4, &[&MODE, &TIME, &0_u64.to_be_bytes(), &[1, 0], &bytes16(name)])
}

/// A file of this content, which has further names and is compared by its digest.
pub(crate) fn file_to_compare(name: &[u8], content: &[u8]) -> Vec<u8> {
    let (size, digest) = (content.len() as u64, blake3::hash(content));
    let fields = [&size.to_be_bytes()[..], &[1, 1], digest.as_bytes(), &bytes16(name)].concat();
    message(4, &[&MODE, &TIME, &fields])
}

pub(crate) fn link(name: &[u8], target: &[u8]) -> Vec<u8> {
    message(5, &[&TIME, &bytes16(target), &bytes16(name)])
}

pub(crate) fn hard_link(name: &[u8], to: u64) -> Vec<u8> {
    message(6, &[&to.to_be_bytes(), &[0], &bytes16(name)])
}

pub(crate) fn begin(index: u64, offset: u64, size: u64) -> Vec<u8> {
    let numbers = [index, offset, size, size].map(u64::to_be_bytes).concat();
    message(8, &[&numbers, &MODE, &TIME])
}

pub(crate) fn data(content: &[u8]) -> Vec<u8> {
    message(10, &[content])
}

pub(crate) fn hole(length: u64) -> Vec<u8> {
    message(11, &[&length.to_be_bytes()])
}

pub(crate) fn packed(length: u32, frames: &[u8]) -> Vec<u8> {
    message(24, &[&length.to_be_bytes(), frames])
}

pub(crate) fn copy(offset: u64, length: u64) -> Vec<u8> {
    message(25, &[&offset.to_be_bytes(), &length.to_be_bytes()])
}

/// So many chunks of 8 KiB, each with the same digest.
pub(crate) fn known(index: u64, average: u32, offset: u64, chunks: usize) -> Vec<u8> {
    let chunk = [&8_192_u32.to_be_bytes()[..], &[7; 16]].concat();
    let (index, offset) = (index.to_be_bytes(), offset.to_be_bytes());
    message(48, &[&index, &average.to_be_bytes(), &offset, &chunk.repeat(chunks)])
}

pub(crate) fn end(digest: &[u8; 32]) -> Vec<u8> {
    message(12, &[digest, &[0]])
}

pub(crate) fn need(index: u64) -> Vec<u8> {
    message(32, &[&index.to_be_bytes()])
}

pub(crate) fn resume(index: u64, length: u64, step: u64, digests: usize) -> Vec<u8> {
    let numbers = [index, length, step].map(u64::to_be_bytes).concat();
    message(33, &[&numbers, &vec![7; 32 * digests]])
}

pub(crate) fn unchanged(index: u64) -> Vec<u8> {
    message(34, &[&index.to_be_bytes(), &[4, 0, 0, 0]])
}
