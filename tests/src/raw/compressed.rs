//! A few compressed bytes that stand for very many frames.

use std::io;
use std::time::Duration;

use rcmd_protocol::connection::Role;
use rcmd_protocol::frame::Frame;
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use super::{Dial, RawPeer, frame};

/// Pings that compress well, as bytes to be sent after both hellos.
#[derive(Debug)]
pub struct CompressedPings {
    /// The bytes that begin the compression, to be sent once.
    pub begin: Vec<u8>,
    /// [`CompressedPings::EACH`] pings, to be sent again and again.
    pub again: Vec<u8>,
}

impl CompressedPings {
    /// The number of pings in [`CompressedPings::again`].
    pub const EACH: u64 = 8000;

    /// Compresses them.
    ///
    /// # Panics
    ///
    /// When they can't be made.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it does much, and can fail")]
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let (near, mut far) = tokio::io::duplex(16 << 20);
            let patience = Duration::from_secs(60);
            let (_reader, writer, sender) = rcmd_protocol::io::split(near, Role::Client, patience);
            tokio::spawn(writer.run());
            let mut came = Vec::new();
            let mut pieces = Vec::new();
            sender.send(Frame::Compress);
            for _ in 0..3 {
                for _ in 0..Self::EACH {
                    sender.send(Frame::Ping { number: 7 });
                }
                let before = came.len();
                // What was sent is in the stream's buffer once everybody else has run.
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                let mut piece = vec![0; 1 << 20];
                let count = far.read(&mut piece).await.expect("what was sent");
                came.extend_from_slice(&piece[..count]);
                pieces.push(before..came.len());
            }
            let last = pieces[2].clone();
            Self { begin: came[..last.start].to_vec(), again: came[last].to_vec() }
        })
    }

    /// Connects a peer whose server agrees to compress.
    ///
    /// # Errors
    ///
    /// When there is no connection.
    ///
    /// # Panics
    ///
    /// When the server does not agree.
    pub fn connect(dial: &Dial) -> io::Result<RawPeer> {
        let mut peer = dial.connect()?;
        let hello = json!({"type": "hello", "agent": "test", "capabilities": ["zstd"]});
        peer.send(&frame(&hello, &[]))?;
        peer.expect_frame("compress");
        Ok(peer)
    }
}
