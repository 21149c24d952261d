//! An honest channel that is seen to be served: what goes in comes back.

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{RawPeer, Start, frame};
use crate::World;

/// `cat` on a channel, to be asked again and again whether the server still serves it.
#[derive(Debug)]
pub struct Echo {
    /// The connection that it runs on. Frames of other channels are passed over.
    pub peer: RawPeer,
    ch: u64,
    sent: u64,
    digest: Sha256,
}

impl Echo {
    /// Starts an echo on a connection of its own.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    pub fn start(world: &World) -> Self {
        Self::on(RawPeer::greeted(world), 1)
    }

    /// Starts an echo on this connection and channel.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    pub fn on(mut peer: RawPeer, ch: u64) -> Self {
        let start = Start::exec(ch, &["cat"]).stdin();
        peer.send(&start.frame()).expect("a start is taken");
        let mut echo = Self { peer, ch, sent: 0, digest: Sha256::new() };
        echo.expect("started");
        echo
    }

    fn expect(&mut self, kind: &str) -> (serde_json::Value, Vec<u8>) {
        loop {
            let frame = self.peer.expect_frame(kind);
            if frame.0["ch"] == self.ch {
                return frame;
            }
        }
    }

    /// Sends a few bytes and waits until they have come back.
    ///
    /// # Panics
    ///
    /// When they don't.
    pub fn beat(&mut self) {
        self.beat_beside(&[]);
    }

    /// Beats as [`Echo::beat`] does, and asserts that these channels of the same connection get no
    /// frame meanwhile.
    ///
    /// # Panics
    ///
    /// When they get one.
    pub fn beat_beside(&mut self, silent: &[u64]) {
        let (ch, offset) = (self.ch, self.sent);
        let bytes = format!("beat at {offset}\n");
        let data = json!({"type": "data", "ch": ch, "stream": "stdin", "offset": offset});
        self.peer.send(&frame(&data, bytes.as_bytes())).expect("data is taken");
        self.digest.update(&bytes);
        self.sent += bytes.len() as u64;
        let mut back = Vec::new();
        while back.len() < bytes.len() {
            let (header, payload) = self.peer.read_frame().unwrap().expect("the echo");
            let of = header["ch"].as_u64().unwrap_or(0);
            assert!(!silent.contains(&of), "{header} came before what had been sent was echoed");
            if of == ch && header["type"] == "data" {
                back.extend(payload);
            }
        }
        assert_eq!(back, bytes.as_bytes());
        let (got, upto) = (self.sent, self.sent + (1 << 20));
        let window =
            json!({"type": "window", "ch": ch, "stream": "stdout", "got": got, "upto": upto});
        self.peer.send(&frame(&window, &[])).expect("a window is taken");
    }

    /// Ends the input, takes the exit and gives the connection back.
    ///
    /// # Panics
    ///
    /// When `cat` ended otherwise.
    pub fn end(mut self) -> RawPeer {
        let digest = format!("sha256:{}", hex::encode(self.digest.clone().finalize()));
        let end = json!({
            "type": "end", "ch": self.ch, "stream": "stdin", "total": self.sent, "digest": digest,
        });
        self.peer.send(&frame(&end, &[])).expect("an end is taken");
        let (exit, _) = self.expect("exit");
        assert_eq!(exit["code"], 0, "{exit}");
        assert_eq!(exit["stdout_bytes"], self.sent, "{exit}");
        let done = json!({"type": "done", "ch": self.ch});
        self.peer.send(&frame(&done, &[])).expect("done is taken");
        self.peer
    }
}
