//! The parts of a command's start, on whichever connection it is sent.

use std::time::SystemTime;

use rcmd_protocol::{
    frame::{Attach, OutputOffsets, Start, StartBody},
    ids::{Key, RequestDigest},
    limits::INTEGER,
};

/// A command's key and body, and the generation that was last used for them.
#[derive(Debug)]
pub(crate) struct StartSource {
    key: Key,
    body: StartBody,
    /// The digest of the request. Where nothing is ever started, `body` need not hold that request.
    digest: RequestDigest,
    /// The generation that was last used; none before the command is sent.
    generation: Option<u64>,
}

impl StartSource {
    /// Takes what was never sent.
    pub(crate) fn new(key: Key, body: StartBody) -> Self {
        Self { key, digest: body.digest(), body, generation: None }
    }

    /// Takes what was sent before, by whomever: `body` says what is asked for but the request, which
    /// `digest` stands for.
    pub(crate) fn sent_before(key: Key, digest: RequestDigest, body: StartBody) -> Self {
        Self { key, digest, body, generation: None }
    }

    /// Returns what is asked for.
    pub(crate) fn body(&self) -> &StartBody {
        &self.body
    }

    /// Returns the start for channel `ch`, with a generation above the last.
    pub(super) fn start(&mut self, ch: u32) -> Start {
        let generation = self.raise(0);
        Start { ch, key: self.key, generation, body: self.body.clone() }
    }

    /// Returns what takes the command up again on channel `ch`, with a generation above the last.
    pub(super) fn attach(&mut self, ch: u32, received: OutputOffsets) -> Attach {
        let generation = self.raise(0);
        Attach { ch, key: self.key, generation, digest: self.digest, received }
    }

    /// Raises the generation above another client's.
    pub(super) fn exceed(&mut self, other: u64) {
        self.raise(other);
    }

    /// Takes another key. Returns false without randomness.
    pub(super) fn renew_key(&mut self) -> bool {
        let key = Key::random();
        if let Ok(key) = key {
            self.key = key;
        }
        key.is_ok()
    }

    /// Microseconds since 1970 for the first, so that a later process goes before an earlier one.
    fn raise(&mut self, other: u64) -> u64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        let last = self.generation.unwrap_or_default();
        let next = now.max(last.saturating_add(1)).max(other.saturating_add(1)).min(INTEGER);
        *self.generation.insert(next)
    }
}
