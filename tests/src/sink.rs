//! The sinks for a program's output: it is kept, or counted and hashed as it flows.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

/// Bytes that are kept of one stream at most; a test of more counts and hashes it.
const KEPT: u64 = 256 << 20;

/// The number of bytes in a stream, and their SHA-256.
#[derive(Clone, PartialEq, Eq)]
pub struct Tally {
    /// The number of bytes.
    pub bytes: u64,
    /// The SHA-256 in hexadecimal.
    pub sha256: String,
}

impl Tally {
    /// Counts and hashes these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, sha256: hex::encode(Sha256::digest(bytes)) }
    }

    /// Counts and hashes all that a reader returns.
    ///
    /// # Errors
    ///
    /// The errors of the reader.
    pub fn read(reader: impl Read) -> io::Result<Self> {
        Self::read_slowly(reader, None)
    }

    /// Counts and hashes as [`Tally::read`] does, at most `rate` bytes a second.
    ///
    /// # Errors
    ///
    /// The errors of the reader.
    pub fn read_slowly(mut reader: impl Read, rate: Option<u64>) -> io::Result<Self> {
        let began = Instant::now();
        let mut hash = Sha256::new();
        let mut bytes = 0;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let part = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => &buffer[..count],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            hash.update(part);
            bytes += part.len() as u64;
            if let Some(rate) = rate {
                let due = Duration::from_secs_f64(bytes as f64 / rate as f64);
                throttle(due.saturating_sub(began.elapsed()));
            }
        }
        Ok(Self { bytes, sha256: hex::encode(hash.finalize()) })
    }
}

impl std::fmt::Debug for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes, sha256 {}", self.bytes, self.sha256)
    }
}

#[expect(clippy::disallowed_methods, reason = "a slow reader is what the test asks for")]
fn throttle(pause: Duration) {
    std::thread::sleep(pause);
}

/// The sink of one output stream of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sink {
    /// Keeps the bytes (256 MiB at most; more fails the test).
    Keep,
    /// Counts and hashes the bytes.
    Hash,
    /// Counts and hashes the bytes, reading at most so many a second.
    HashSlowly(u64),
    /// Hands the pipe to the test: `RunningClient::stdout`, `RunningClient::stderr`.
    Pipe,
}

/// The output that a sink has taken.
#[derive(Debug, Clone)]
pub(crate) enum Caught {
    Kept(Vec<u8>),
    Hashed(Tally),
    Piped,
}

impl Sink {
    /// Reads `from` to its end.
    pub(crate) fn catch(self, from: impl Read) -> io::Result<Caught> {
        match self {
            Self::Keep => {
                let mut bytes = Vec::new();
                from.take(KEPT + 1).read_to_end(&mut bytes)?;
                if bytes.len() as u64 > KEPT {
                    return Err(io::Error::other("more than 256 MiB of output; use Sink::Hash"));
                }
                Ok(Caught::Kept(bytes))
            }
            Self::Hash => Tally::read(from).map(Caught::Hashed),
            Self::HashSlowly(rate) => Tally::read_slowly(from, Some(rate)).map(Caught::Hashed),
            Self::Pipe => Ok(Caught::Piped),
        }
    }
}
