//! Digests of whole streams.

use std::fmt;

use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::ids::Hex;

/// An algorithm for the digests of streams.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// BLAKE3, 256 bits: the default, two to four times as fast as SHA-256.
    Blake3,
    /// SHA-256 (FIPS 180-4), which every server supports.
    Sha256,
}

impl Algorithm {
    /// The algorithms that this implementation can check, best first.
    pub const ALL: [Self; 2] = [Self::Blake3, Self::Sha256];

    /// Returns the name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blake3 => "blake3",
            Self::Sha256 => "sha256",
        }
    }

    /// Returns the algorithm with this name on the wire; `None` if it is not known here.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    /// Returns the first algorithm of a peer's list that is known here; SHA-256 if the list is empty, `None` if
    /// it names none that is known.
    pub fn choose(offered: &[String]) -> Option<Self> {
        if offered.is_empty() {
            return Some(Self::Sha256);
        }
        offered.iter().find_map(|name| Self::parse(name))
    }
}

/// The digest of a stream, with its algorithm: `blake3:…` or `sha256:…` as text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StreamDigest {
    algorithm: Algorithm,
    bytes: [u8; 32],
}

impl StreamDigest {
    /// Returns the algorithm by which the digest was computed.
    pub fn algorithm(self) -> Algorithm {
        self.algorithm
    }

    /// Reads `ALGORITHM:HEX`, with lower-case digits; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, digits) = text.split_once(':')?;
        let algorithm = Algorithm::parse(name)?;
        if digits.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).ok()?;
        Some(Self { algorithm, bytes })
    }
}

impl fmt::Display for StreamDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.algorithm.as_str())?;
        f.write_str(":")?;
        Hex(&self.bytes).fmt(f)
    }
}

impl fmt::Debug for StreamDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for StreamDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Bytes of short pieces that are gathered before they are hashed: BLAKE3 is six times slower on pieces of
/// 1,000 bytes than on pieces of 16 KiB.
const GATHER: usize = 16 * 1024;

/// A hasher that computes a stream's digest, piece by piece.
pub struct StreamHasher {
    state: State,
    gathered: Vec<u8>,
}

enum State {
    // Boxed: a BLAKE3 state is 1.9 KiB, and every idle stream would carry it.
    Blake3(Box<blake3::Hasher>),
    Sha256(Sha256),
}

impl StreamHasher {
    /// Returns a hasher to which no bytes have been added.
    pub fn new(algorithm: Algorithm) -> Self {
        let state = match algorithm {
            Algorithm::Blake3 => State::Blake3(Box::default()),
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
        };
        Self { state, gathered: Vec::new() }
    }

    /// Adds the next bytes of the stream.
    pub fn update(&mut self, bytes: &[u8]) {
        if self.gathered.len() + bytes.len() < GATHER {
            self.gathered.extend_from_slice(bytes);
            return;
        }
        self.flush();
        if bytes.len() < GATHER {
            self.gathered.extend_from_slice(bytes);
        } else {
            self.feed(bytes);
        }
    }

    /// Returns the digest of all bytes added so far.
    pub fn finish(&mut self) -> StreamDigest {
        self.flush();
        match &self.state {
            State::Blake3(hasher) => {
                StreamDigest { algorithm: Algorithm::Blake3, bytes: hasher.finalize().into() }
            }
            State::Sha256(hasher) => StreamDigest {
                algorithm: Algorithm::Sha256,
                bytes: hasher.clone().finalize().into(),
            },
        }
    }

    fn flush(&mut self) {
        let gathered = std::mem::take(&mut self.gathered);
        self.feed(&gathered);
        self.gathered = gathered;
        self.gathered.clear();
    }

    fn feed(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Blake3(hasher) => {
                hasher.update(bytes);
            }
            State::Sha256(hasher) => hasher.update(bytes),
        }
    }
}

impl fmt::Debug for StreamHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamHasher").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_size_give_the_digest_of_the_whole() {
        let whole: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0] ^ 0x5a).collect();
        for algorithm in Algorithm::ALL {
            let mut at_once = StreamHasher::new(algorithm);
            at_once.update(&whole);
            for size in [1, 7, 1000, GATHER - 1, GATHER, GATHER + 1, 65_536] {
                let mut pieces = StreamHasher::new(algorithm);
                whole.chunks(size).for_each(|piece| pieces.update(piece));
                assert_eq!(pieces.finish(), at_once.finish(), "{algorithm:?} by {size}");
            }
        }
    }

    #[test]
    fn digests_of_nothing_are_the_published_ones() {
        assert_eq!(
            StreamHasher::new(Algorithm::Blake3).finish().to_string(),
            "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
        );
        assert_eq!(
            StreamHasher::new(Algorithm::Sha256).finish().to_string(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn the_first_known_algorithm_of_a_list_is_chosen() {
        let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(Algorithm::choose(&[]), Some(Algorithm::Sha256));
        assert_eq!(Algorithm::choose(&list(&["x", "blake3", "sha256"])), Some(Algorithm::Blake3));
        assert_eq!(Algorithm::choose(&list(&["md5"])), None);
    }
}
