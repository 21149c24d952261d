//! The chain: each line ends with a hash over the line before it and its own bytes.
//!
//! ```text
//! hash of line n = SHA-256( hash of line n-1 | line n up to its `,"hash":` )
//! ```
//!
//! The hash before the first line is 32 zero bytes.

use std::io::{self, BufRead};

use rcmd_protocol::ids::AuditHead;
use sha2::{Digest as _, Sha256};

/// The hash before the first line.
pub(super) const GENESIS: AuditHead = AuditHead { seq: 0, hash: [0; 32] };
/// The maximum bytes of a line without its newline: nothing longer is written, and readers keep
/// nothing longer in memory. A record of the largest request takes less than 3 MiB in its worst
/// encoding.
pub const LINE_LIMIT: usize = 4 << 20;

const KEY: &[u8] = b",\"hash\":\"";
const CLOSE: &[u8] = b"\"}";
const TAIL: usize = KEY.len() + 64 + CLOSE.len();

/// Completes a line: adds the hash as the last member of the JSON object, and a newline.
pub(super) fn close(previous: &[u8; 32], line: &mut Vec<u8>) -> [u8; 32] {
    line.pop();
    let hash = link(previous, line);
    let mut digits = [0; 64];
    // The length is right, and nothing else can fail.
    let _ = hex::encode_to_slice(hash, &mut digits);
    for part in [KEY, &digits, CLOSE, b"\n"] {
        line.extend_from_slice(part);
    }
    hash
}

/// Splits a line without its newline into the bytes that its hash covers, and the hash. Returns
/// `None` if it does not end with a hash.
pub(super) fn open(line: &[u8]) -> Option<(&[u8], [u8; 32])> {
    let (body, tail) = line.split_at_checked(line.len().checked_sub(TAIL)?)?;
    let digits = tail.strip_prefix(KEY)?.strip_suffix(CLOSE)?;
    if digits.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut hash = [0; 32];
    hex::decode_to_slice(digits, &mut hash).ok()?;
    Some((body, hash))
}

/// Returns the hash of a line that follows the hash `previous`.
pub(super) fn link(previous: &[u8; 32], body: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(previous).chain_update(body).finalize().into()
}

/// A line that is longer than [`LINE_LIMIT`], as earlier versions wrote some. It is checked without
/// being kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct LongLine {
    /// The number of its bytes, without a newline.
    pub(super) bytes: u64,
    /// True if it ends with a newline.
    pub(super) is_whole: bool,
    /// The SHA-256 of all its bytes.
    pub(super) sha256: [u8; 32],
    /// The hash that it ends with, if that is its own after the line before it.
    fits: Option<[u8; 32]>,
}

impl LongLine {
    /// Reads the rest of a line whose beginning `start` was already read, and which follows the
    /// hash `previous`.
    ///
    /// # Errors
    /// If it can't be read.
    pub(super) fn read(
        start: &[u8],
        reader: &mut impl BufRead,
        previous: &[u8; 32],
    ) -> io::Result<Self> {
        let mut hashes = Hashes::new(previous);
        hashes.update(start);
        let is_whole = loop {
            let read = match reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            let end = read.iter().position(|&byte| byte == b'\n');
            let part = read.get(..end.unwrap_or(read.len())).unwrap_or_default();
            hashes.update(part);
            let used = part.len() + usize::from(end.is_some());
            let ended = used == 0;
            reader.consume(used);
            if end.is_some() || ended {
                break end.is_some();
            }
        };
        Ok(hashes.finish(is_whole))
    }

    /// Returns the hash of the line, if the line is whole and follows the one before it.
    pub(super) fn link(&self) -> Option<[u8; 32]> {
        self.fits.filter(|_| self.is_whole)
    }
}

/// The hashes of a line that is read in parts; its end is kept back, because no hash covers it.
struct Hashes {
    bytes: u64,
    all: Sha256,
    body: Sha256,
    tail: Vec<u8>,
}

impl Hashes {
    fn new(previous: &[u8; 32]) -> Self {
        let body = Sha256::new().chain_update(previous);
        Self { bytes: 0, all: Sha256::new(), body, tail: Vec::new() }
    }

    fn update(&mut self, part: &[u8]) {
        self.bytes += part.len() as u64;
        self.all.update(part);
        self.tail.extend_from_slice(part);
        let body = self.tail.len().saturating_sub(TAIL);
        self.body.update(self.tail.drain(..body).as_slice());
    }

    fn finish(self, is_whole: bool) -> LongLine {
        let link: [u8; 32] = self.body.finalize().into();
        let fits = open(&self.tail).is_some_and(|(_, stated)| stated == link);
        LongLine {
            bytes: self.bytes,
            is_whole,
            sha256: self.all.finalize().into(),
            fits: fits.then_some(link),
        }
    }
}

/// Returns the message that a checkpoint signs: the number and the hash of the record before it.
pub(super) fn checkpoint(head: &AuditHead) -> Vec<u8> {
    let mut message = b"rcmd audit checkpoint 1\n".to_vec();
    message.extend_from_slice(&head.seq.to_be_bytes());
    message.extend_from_slice(&head.hash);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_line_opens_as_what_it_was() {
        let mut line = br#"{"seq":1}"#.to_vec();
        let hash = close(&GENESIS.hash, &mut line);
        let line = line.strip_suffix(b"\n").unwrap();
        assert_eq!(open(line), Some((&br#"{"seq":1"#[..], hash)));
        assert_eq!(link(&GENESIS.hash, br#"{"seq":1"#), hash);
        assert!(serde_json::from_slice::<serde_json::Value>(line).is_ok());
        for cut in 0..line.len() {
            assert_eq!(open(&line[..cut]), None);
        }
    }

    #[test]
    fn a_line_is_checked_as_it_passes_by_in_pieces_of_any_size() {
        let mut line = br#"{"seq":1,"event":"attempt"}"#.to_vec();
        let hash = close(&GENESIS.hash, &mut line);
        let text = line.strip_suffix(b"\n").unwrap();
        for (start, piece) in (0..line.len()).flat_map(|start| [(start, 1), (start, 50)]) {
            let mut reader = io::BufReader::with_capacity(piece, &line[start..]);
            let read = LongLine::read(&line[..start], &mut reader, &GENESIS.hash).unwrap();
            assert_eq!((read.bytes, read.link()), (text.len() as u64, Some(hash)));
            assert_eq!(read.sha256[..], Sha256::digest(text)[..]);
        }
        let read = |line: &[u8], previous| LongLine::read(b"", &mut &line[..], previous).unwrap();
        assert_eq!(read(&line, &[1; 32]).link(), None);
        let torn = read(text, &GENESIS.hash);
        assert!(!torn.is_whole && torn.link().is_none());
    }
}
