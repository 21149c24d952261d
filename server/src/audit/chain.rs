//! The chain: each line ends in a hash over the one before it and its own bytes.
//!
//! ```text
//! hash of line n = SHA-256( hash of line n-1 | line n up to its `,"hash":` )
//! ```
//!
//! Before the first line there are 32 zero bytes.

use rcmd_protocol::ids::AuditHead;
use sha2::{Digest as _, Sha256};

/// The hash before the first line.
pub(super) const GENESIS: AuditHead = AuditHead { seq: 0, hash: [0; 32] };
/// Maximum bytes of a line with its newline. The largest request of the protocol takes less than 3
/// MiB, escaped.
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

/// Splits a line without its newline into the bytes that its hash covers, and the hash; returns
/// `None` if there is no hash.
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

/// Returns the hash of a line after `previous`.
pub(super) fn link(previous: &[u8; 32], body: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(previous).chain_update(body).finalize().into()
}

/// Returns the message that a checkpoint signs: number and hash of the record before it.
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
}
