//! The writing half of a connection: frames are gathered, and written as few slices.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    sync::Arc,
};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::{ConnectionError, Shared};
use crate::{compression::Compressor, error::ProtocolError, frame::Frame};

/// Bytes that the writer gathers before it writes to the socket.
const BATCH: usize = 256 * 1024;
/// Payloads shorter than this are copied behind their header instead of being written as slices of their own.
const COPY: usize = 1024;

/// The writing half of a connection.
#[derive(Debug)]
pub struct Writer<W> {
    stream: W,
    shared: Arc<Shared>,
    /// The compressor, once this side has sent `compress`.
    compressor: Option<Box<Compressor>>,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    pub(super) fn new(stream: W, shared: Arc<Shared>) -> Self {
        Self { stream, shared, compressor: None }
    }

    /// Sends the queued frames until the sender is closed, then closes the stream.
    ///
    /// # Errors
    /// Fails when the link breaks, or when the peer leaves too many frames unread.
    ///
    /// # Cancel safety
    /// Not cancel safe: a frame may have been written in part. Drop the future only with the connection.
    pub async fn run(mut self) -> Result<(), ConnectionError> {
        let mut batch = Batch::default();
        loop {
            let mut compress = false;
            let closing = self.shared.queue(|queue| {
                while batch.size < BATCH && !compress {
                    let Some(frame) = queue.outbox.pop() else {
                        break;
                    };
                    batch.push(&frame)?;
                    compress = matches!(frame, Frame::Compress);
                }
                Ok::<_, ProtocolError>(queue.closing)
            })?;
            if let Some(compressor) = &mut self.compressor {
                batch.compress(compressor)?;
            }
            let written = tokio::select! {
                biased;
                () = self.shared.flooded.notified() => return Err(ProtocolError::Flood.into()),
                written = batch.write(&mut self.stream) => written?,
            };
            if compress {
                self.compressor = Some(Box::new(Compressor::new()?));
            }
            if written {
                continue;
            }
            if closing {
                self.stream.shutdown().await?;
                return Ok(());
            }
            tokio::select! {
                () = self.shared.flooded.notified() => return Err(ProtocolError::Flood.into()),
                () = self.shared.wake.notified() => {}
            }
        }
    }
}

/// A batch of frames on their way to the socket, as few slices as possible.
#[derive(Default)]
struct Batch {
    slices: VecDeque<Bytes>,
    headers: BytesMut,
    size: usize,
}

impl Batch {
    fn push(&mut self, frame: &Frame) -> Result<(), ProtocolError> {
        let before = self.headers.len();
        frame.encode_header(&mut self.headers)?;
        let payload = frame.payload_bytes().cloned().unwrap_or_default();
        self.size += self.headers.len() - before + payload.len();
        if payload.len() < COPY {
            self.headers.extend_from_slice(&payload);
        } else {
            self.slices.push_back(self.headers.split().freeze());
            self.slices.push_back(payload);
        }
        Ok(())
    }

    /// Compresses the batch in place and flushes the encoder, so the peer can decode everything sent so far.
    fn compress(&mut self, compressor: &mut Compressor) -> io::Result<()> {
        if self.size == 0 {
            return Ok(());
        }
        self.slices.push_back(self.headers.split().freeze());
        let compressed = compressor.compress(self.slices.iter())?;
        self.size = compressed.len();
        self.slices = VecDeque::from([compressed]);
        Ok(())
    }

    /// Writes the batch, or flushes the stream if it is empty. Returns whether anything was written.
    async fn write<W: AsyncWrite + Unpin>(&mut self, stream: &mut W) -> io::Result<bool> {
        const SLICES: usize = 64;
        if self.size == 0 {
            return stream.flush().await.map(|()| false);
        }
        if !self.headers.is_empty() {
            self.slices.push_back(self.headers.split().freeze());
        }
        while !self.slices.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            for (slot, bytes) in slices.iter_mut().zip(&self.slices) {
                *slot = IoSlice::new(bytes);
                count += 1;
            }
            let mut written =
                stream.write_vectored(slices.get(..count).unwrap_or_default()).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            while let Some(front) = self.slices.front_mut() {
                let part = front.len().min(written);
                front.advance(part);
                written -= part;
                if !front.is_empty() {
                    break;
                }
                self.slices.pop_front();
            }
        }
        self.size = 0;
        // An idle connection need not keep a block that held a large batch of headers.
        self.headers = BytesMut::new();
        Ok(true)
    }
}
