//! One end of a stream, driven by a peer that sends anything, beside a simple model that predicts the result.

use bytes::Bytes;
use rcmd_protocol::{
    digest::{Algorithm, StreamDigest, StreamHasher},
    frame::Stream,
    limits::{CHUNK, CREDIT},
    stream::{RecvStream, SendStream},
};

const ALGORITHM: Algorithm = Algorithm::Blake3;

fn digest(bytes: &[u8]) -> StreamDigest {
    let mut hasher = StreamHasher::new(ALGORITHM);
    hasher.update(bytes);
    hasher.finish()
}

/// Returns `base` itself in most cases, else an offset near it, or one far from anything.
fn near(base: u64, byte: u8) -> u64 {
    match byte {
        255 => u64::MAX,
        254 => base.saturating_add(CREDIT),
        253 => 0,
        128..=252 => base.saturating_add(u64::from(byte)).saturating_sub(190),
        _ => base,
    }
}

/// Drives a receiver by operations of three bytes.
pub(crate) fn incoming(data: &[u8]) {
    let mut stream = RecvStream::new(Stream::Stdin, ALGORITHM);
    let mut bytes: Vec<u8> = Vec::new();
    let (mut consumed, mut upto, mut got) = (0, CREDIT, 0);
    let mut end = None;
    for operation in data.chunks_exact(3).take(400) {
        let &[what, place, size] = operation else {
            return;
        };
        let received = bytes.len() as u64;
        match what % 6 {
            0 | 1 => {
                let scale = if what % 6 == 1 { 700 } else { 1 };
                let piece = vec![size ^ place; 1 + usize::from(size) * scale];
                let offset = near(received, place);
                let last = offset.saturating_add(piece.len() as u64);
                let new = last.saturating_sub(received).min(piece.len() as u64) as usize;
                let allowed = offset <= received && last <= upto && (new == 0 || end.is_none());
                match stream.data(offset, Bytes::from(piece)) {
                    Ok(taken) => {
                        assert!(allowed, "{offset} was taken at {received} of {upto}");
                        assert_eq!(taken.len(), new);
                        bytes.extend_from_slice(&taken);
                    }
                    Err(_) => assert!(!allowed, "{offset} was refused at {received} of {upto}"),
                }
            }
            2 => {
                let count = u64::from(size) * u64::from(place) * 16;
                stream.consume(count);
                consumed = received.min(consumed + count);
            }
            3 => {
                let window = match size % 2 {
                    0 => Some(stream.window(1)),
                    _ => stream.window_due(1),
                };
                let overdue =
                    received - got >= CREDIT / 4 || consumed + CREDIT - upto >= CREDIT / 4;
                assert!(window.is_some() || end.is_some() || !overdue);
                if let Some(window) = window {
                    assert_eq!((window.got, window.upto), (received, consumed + CREDIT));
                    assert!(window.got >= got && window.upto >= upto, "a window fell");
                    (got, upto) = (window.got, window.upto);
                }
            }
            _ => {
                let total = near(received, place);
                let said = if size % 4 == 0 { digest(b"another") } else { digest(&bytes) };
                let right = match end {
                    None => total == received && said == digest(&bytes),
                    Some(before) => before == (total, said),
                };
                assert_eq!(stream.end(total, said).is_ok(), right);
                if right {
                    end = Some((total, said));
                }
            }
        }
        assert_eq!(stream.received(), bytes.len() as u64);
        assert_eq!(stream.ended(), end);
    }
}

/// Drives a sender by operations of three bytes.
pub(crate) fn outgoing(data: &[u8]) {
    let mut stream = SendStream::new(Stream::Stdout, ALGORITHM);
    let mut log: Vec<(u8, u64)> = Vec::new();
    let (mut next, mut sent, mut got, mut upto) = (0, 0, 0, CREDIT);
    for operation in data.chunks_exact(3).take(400) {
        let &[what, place, size] = operation else {
            return;
        };
        let limit = upto.min(got + CREDIT).max(got);
        match what % 6 {
            0 | 1 => {
                let scale = if what % 6 == 1 { 500 } else { 1 };
                let room = limit.saturating_sub(log.len() as u64);
                assert_eq!(stream.room(), room);
                let length = (usize::from(size) * scale).min(room as usize);
                if stream.finished().is_none() {
                    log.extend(std::iter::repeat_n((size ^ place, u64::from(place / 8)), length));
                }
                let piece = Bytes::from(vec![size ^ place; length]);
                stream.append(piece, Some(u64::from(place / 8)));
            }
            2 => {
                let data = stream.next(1);
                assert_eq!(data.is_some(), next < limit.min(log.len() as u64));
                let Some(data) = data else { continue };
                let end = data.offset + data.payload.len() as u64;
                assert_eq!(data.offset, next);
                assert!(end <= limit && data.payload.len() <= CHUNK && !data.payload.is_empty());
                for (byte, said) in data.payload.iter().zip(&log[next as usize..end as usize]) {
                    assert_eq!((*byte, data.time), (said.0, Some(said.1)));
                }
                next = end;
                sent = sent.max(end);
            }
            3 => {
                let (claim, more) = (near(sent, place), near(upto, size));
                let right = claim <= sent;
                assert_eq!(stream.window(claim, more).is_ok(), right, "{claim} of {sent}");
                if right {
                    got = got.max(claim);
                    upto = upto.max(more);
                    next = next.max(claim);
                }
            }
            4 => {
                let claim = near(got, place);
                let resumed = stream.resume(claim);
                assert_eq!(resumed.is_ok(), claim <= sent, "{claim} of {sent}");
                if let Ok(offset) = resumed {
                    assert!(offset >= claim && offset <= claim.max(got));
                    got = got.max(claim);
                    next = offset;
                }
            }
            _ if size % 8 == 0 => {
                let bytes: Vec<u8> = log.iter().map(|(byte, _)| *byte).collect();
                assert_eq!(stream.finish(), digest(&bytes));
            }
            _ => {}
        }
        assert_eq!(stream.total(), log.len() as u64);
        assert_eq!(stream.is_drained(), next >= log.len() as u64);
        assert!(stream.retained() <= 2 * CREDIT);
    }
}
