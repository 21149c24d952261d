//! Bounded pipes between the engine, which blocks on a thread of its own, and a host's streams.

use std::io::{self, Read, Write};

use bytes::{Buf as _, Bytes, BytesMut};
use rcmd_client::{ChildStderr, ChildStdin, ChildStdout};
use rcmd_protocol::limits::CHUNK;
use tokio::sync::mpsc;

use super::run::pace::Pace;

/// The pieces that wait in a pipe. Few: the credit of the stream has room for more, and no longer counts these.
const WAITING: usize = 4;

/// The bytes that a host may still write when the engine has ended, so that the end of its output can be verified.
const AFTER_THE_END: u64 = 1024 * 1024;

/// The bytes of what a host's program says to people that are kept.
const SAID: usize = 4 * 1024;

/// The engine's end of what a host writes.
#[derive(Debug)]
pub(super) struct PipeReader {
    pieces: mpsc::Receiver<Bytes>,
    rest: Bytes,
}

impl PipeReader {
    pub(super) fn new(pieces: mpsc::Receiver<Bytes>) -> Self {
        Self { pieces, rest: Bytes::new() }
    }
}

impl Read for PipeReader {
    /// Reads what has come, and waits for it. The end is that of the host's output, or of the link.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.rest = piece,
                None => return Ok(0),
            }
        }
        let count = self.rest.len().min(into.len());
        let (from, to) = (self.rest.get(..count), into.get_mut(..count));
        if let (Some(from), Some(to)) = (from, to) {
            to.copy_from_slice(from);
        }
        self.rest.advance(count);
        Ok(count)
    }
}

/// The engine's end of what a host reads. What the engine writes goes on in full pieces, the rest when the engine flushes
/// it: each piece is a frame, and one of a few bytes costs as much as a full one.
#[derive(Debug)]
pub(super) struct PipeWriter {
    pieces: mpsc::Sender<Bytes>,
    held: BytesMut,
}

impl PipeWriter {
    pub(super) fn new(pieces: mpsc::Sender<Bytes>) -> Self {
        Self { pieces, held: BytesMut::new() }
    }

    fn send(&mut self) -> io::Result<()> {
        let piece = if self.held.len() == CHUNK {
            std::mem::take(&mut self.held).freeze()
        } else {
            // A small piece in a large block would hold more memory than the credit counts.
            let piece = Bytes::copy_from_slice(&self.held);
            self.held.clear();
            piece
        };
        let sent = self.pieces.blocking_send(piece);
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = CHUNK.saturating_sub(self.held.len());
        let taken = bytes.get(..room).unwrap_or(bytes);
        // The block of the last full piece went with it.
        self.held.reserve(room);
        self.held.extend_from_slice(taken);
        if self.held.len() == CHUNK {
            self.send()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.held.is_empty() { Ok(()) } else { self.send() }
    }
}

/// Returns both ends of what a host writes.
pub(super) fn from_host() -> (mpsc::Sender<Bytes>, PipeReader) {
    let (sender, pieces) = mpsc::channel(WAITING);
    (sender, PipeReader::new(pieces))
}

/// Returns both ends of what a host reads.
pub(super) fn to_host() -> (PipeWriter, mpsc::Receiver<Bytes>) {
    let (pieces, receiver) = mpsc::channel(WAITING);
    (PipeWriter::new(pieces), receiver)
}

/// Brings what a host writes to the engine, up to its end, at a pace: a host sends more only when it has the credit of
/// what was taken away. When the engine has ended, little more is read and thrown away.
pub(super) async fn pump_in(stdout: Option<ChildStdout>, to: mpsc::Sender<Bytes>, pace: &Pace) {
    let Some(mut stdout) = stdout else { return };
    let mut is_heard = true;
    let mut unheard = 0;
    while let Some(chunk) = stdout.chunk().await {
        pace.take(chunk.bytes.len()).await;
        if is_heard {
            is_heard = to.send(chunk.bytes).await.is_ok();
        } else {
            unheard += chunk.bytes.len() as u64;
            if unheard > AFTER_THE_END {
                return;
            }
        }
    }
}

/// Brings what the engine writes to a host, at a pace, and ends its input with the engine.
pub(super) async fn pump_out(
    mut from: mpsc::Receiver<Bytes>,
    stdin: Option<ChildStdin>,
    pace: &Pace,
) {
    let Some(mut stdin) = stdin else { return };
    while let Some(mut piece) = from.recv().await {
        while !piece.is_empty() {
            let slice = piece.split_to(piece.len().min(pace.slice()));
            pace.take(slice.len()).await;
            if stdin.send(slice).await.is_err() {
                // The host reads no more. The engine learns it when it writes next.
                return;
            }
        }
    }
    stdin.finish().await;
}

/// Reads what the host's program says to people, and keeps the beginning.
pub(super) async fn hear(stderr: Option<ChildStderr>) -> String {
    let mut said = Vec::new();
    if let Some(mut stderr) = stderr {
        while let Some(chunk) = stderr.chunk().await {
            let room = SAID.saturating_sub(said.len()).min(chunk.bytes.len());
            said.extend_from_slice(chunk.bytes.get(..room).unwrap_or_default());
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn bytes_pass_in_order_however_they_are_cut_and_the_end_with_them() {
        let (mut writer, mut receiver) = to_host();
        let (sender, mut reader) = from_host();
        let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        let expected = content.clone();
        let writing =
            thread::spawn(move || writer.write_all(&content).and_then(|()| writer.flush()));
        let passing = thread::spawn(move || {
            while let Some(piece) = receiver.blocking_recv() {
                assert!(!piece.is_empty() && piece.len() <= CHUNK);
                sender.blocking_send(piece).unwrap();
            }
        });
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert!(read == expected);
        writing.join().unwrap().unwrap();
        passing.join().unwrap();
    }

    #[test]
    fn what_is_written_without_a_flush_goes_in_full_pieces() {
        let (mut writer, mut receiver) = to_host();
        let writing = thread::spawn(move || {
            for _ in 0..8 {
                writer.write_all(&[1; 4 * CHUNK + 5]).unwrap();
            }
            writer.flush().unwrap();
            writer.write_all(b"word").unwrap();
            writer.flush().unwrap();
            writer.flush().unwrap();
        });
        let mut lengths = Vec::new();
        while let Some(piece) = receiver.blocking_recv() {
            lengths.push(piece.len());
        }
        writing.join().unwrap();
        let mut expected = vec![CHUNK; 32];
        expected.extend([40, 4]);
        assert_eq!(lengths, expected);
    }

    #[test]
    fn a_writer_whose_host_is_gone_is_told() {
        let (mut writer, receiver) = to_host();
        drop(receiver);
        assert_eq!(writer.write(b"x").unwrap(), 1);
        assert_eq!(writer.flush().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        let error = writer.write_all(&[0; CHUNK]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(writer.write(b"").unwrap(), 0);
    }
}
