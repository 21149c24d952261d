//! The standard input of a job: from the client to the pipe.

use std::{collections::VecDeque, io};

use bytes::{Buf as _, Bytes, BytesMut};
use rcmd_protocol::{
    digest::{Algorithm, StreamDigest},
    error::ProtocolError,
    frame::{Stream, Window},
    stream::{EndError, RecvStream},
};

use crate::{admission::budget::Share, process::io::WriteEnd};

/// Pieces below this are gathered, so that a client that sends single bytes costs bytes.
const SMALL: usize = 4096;

/// The standard input of a job.
///
/// Its pipe is closed by [`Input::end`] alone, or when the command closes it: a connection that
/// breaks is no end of file.
#[derive(Debug)]
pub(super) struct Input {
    incoming: RecvStream,
    queue: VecDeque<Bytes>,
    tail: BytesMut,
    held: usize,
    share: Share,
    pipe: Option<WriteEnd>,
    wanted: bool,
    /// The command has closed its end; what comes is dropped.
    stopped: bool,
}

impl Input {
    pub(super) fn new(wanted: bool, algorithm: Algorithm, share: Share) -> Self {
        Self {
            incoming: RecvStream::new(Stream::Stdin, algorithm),
            queue: VecDeque::new(),
            tail: BytesMut::new(),
            held: 0,
            share,
            pipe: None,
            wanted,
            stopped: false,
        }
    }

    pub(super) fn connect(&mut self, pipe: Option<WriteEnd>) {
        self.pipe = pipe;
        self.close_if_over();
    }

    /// Takes bytes of the client.
    pub(super) fn data(&mut self, offset: u64, bytes: Bytes) -> Result<(), ProtocolError> {
        if !self.wanted {
            return Err(ProtocolError::Unexpected {
                frame: "data",
                why: "the start asked for no stdin",
            });
        }
        let bytes = self.incoming.data(offset, bytes)?;
        if self.stopped {
            self.incoming.consume(bytes.len() as u64);
            return Ok(());
        }
        self.held += bytes.len();
        if bytes.len() < SMALL {
            self.tail.extend_from_slice(&bytes);
        } else {
            self.gather();
            self.queue.push_back(bytes);
        }
        self.share.set(self.held);
        Ok(())
    }

    fn gather(&mut self) {
        if !self.tail.is_empty() {
            self.queue.push_back(self.tail.split().freeze());
        }
    }

    /// Takes the end of the stream.
    pub(super) fn end(&mut self, total: u64, digest: StreamDigest) -> Result<(), EndError> {
        if !self.wanted {
            let why = "the start asked for no stdin";
            return Err(ProtocolError::Unexpected { frame: "end", why }.into());
        }
        self.incoming.end(total, digest)?;
        self.close_if_over();
        Ok(())
    }

    fn close_if_over(&mut self) {
        if self.incoming.ended().is_some() && self.held == 0 {
            self.pipe = None;
        }
    }

    pub(super) fn wants(&self) -> bool {
        self.pipe.is_some() && self.held > 0
    }

    /// Writes once to the pipe. True when the command has closed its end just now.
    ///
    /// # Cancel safety
    /// Nothing is lost: bytes are taken only when this returns.
    pub(super) async fn write(&mut self) -> bool {
        if self.queue.is_empty() {
            self.gather();
        }
        let (Some(pipe), Some(front)) = (&mut self.pipe, self.queue.front_mut()) else {
            return false;
        };
        match pipe.write(front).await {
            Ok(count) => {
                front.advance(count);
                if front.is_empty() {
                    self.queue.pop_front();
                }
                self.held -= count;
                self.share.set(self.held);
                self.incoming.consume(count as u64);
                self.close_if_over();
                false
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => false,
            Err(_) => {
                self.discard();
                true
            }
        }
    }

    /// Drops the pipe and all that waits for it.
    pub(super) fn discard(&mut self) {
        self.pipe = None;
        self.stopped = true;
        self.queue.clear();
        self.tail = BytesMut::new();
        self.incoming.consume(self.held as u64);
        self.held = 0;
        self.share.set(0);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    pub(super) fn window_due(&mut self, ch: u32) -> Option<Window> {
        self.incoming.window_due(ch).filter(|_| self.wanted)
    }

    pub(super) fn window(&mut self, ch: u32) -> Option<Window> {
        self.wanted.then(|| self.incoming.window(ch))
    }

    pub(super) fn received(&self) -> u64 {
        self.incoming.received()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.incoming.ended().is_some()
    }
}
