//! The standard input of a process: the bytes that its client sent and that are not written yet.

use std::{collections::VecDeque, io};

use bytes::{Buf as _, Bytes, BytesMut};

use crate::{admission::budget::Share, process::io::WriteEnd};

/// The size in bytes below which pieces are joined, so that single bytes from a client take no more
/// memory than their number.
const SMALL: usize = 4096;

/// The standard input of a process. Bytes may be added before there is a process.
///
/// The pipe is closed only by [`InputWriter::end`], by the command itself, or when the input is
/// discarded with the process: a lost connection is not an end of file.
#[derive(Debug)]
pub(in crate::job) struct InputWriter {
    queue: VecDeque<Bytes>,
    tail: BytesMut,
    held: usize,
    share: Share,
    pipe: Option<WriteEnd>,
    has_ended: bool,
}

/// The result of a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Written {
    /// This number of bytes was written.
    Bytes(usize),
    /// The command has closed its end of the pipe.
    Closed,
}

impl InputWriter {
    pub(in crate::job) fn new(share: Share) -> Self {
        Self {
            queue: VecDeque::new(),
            tail: BytesMut::new(),
            held: 0,
            share,
            pipe: None,
            has_ended: false,
        }
    }

    pub(super) fn connect(&mut self, pipe: Option<WriteEnd>) {
        self.pipe = pipe;
        self.close_if_over();
    }

    /// Adds bytes to be written.
    pub(in crate::job) fn push(&mut self, bytes: Bytes) {
        self.held += bytes.len();
        if bytes.len() < SMALL {
            self.tail.extend_from_slice(&bytes);
        } else {
            self.gather();
            self.queue.push_back(bytes);
        }
        self.share.set(self.held);
    }

    fn gather(&mut self) {
        if !self.tail.is_empty() {
            self.queue.push_back(self.tail.split().freeze());
        }
    }

    /// Ends the input after the bytes added so far.
    pub(in crate::job) fn end(&mut self) {
        self.has_ended = true;
        self.close_if_over();
    }

    fn close_if_over(&mut self) {
        if self.has_ended && self.held == 0 {
            self.pipe = None;
        }
    }

    pub(super) fn wants(&self) -> bool {
        self.pipe.is_some() && self.held > 0
    }

    /// Writes to the pipe once.
    ///
    /// # Cancel safety
    /// Cancel safe: bytes are taken only when this returns.
    pub(super) async fn write(&mut self) -> Written {
        if self.queue.is_empty() {
            self.gather();
        }
        let (Some(pipe), Some(front)) = (&mut self.pipe, self.queue.front_mut()) else {
            return Written::Bytes(0);
        };
        match pipe.write(front).await {
            Ok(count) => {
                front.advance(count);
                if front.is_empty() {
                    self.queue.pop_front();
                }
                self.held -= count;
                self.share.set(self.held);
                self.close_if_over();
                Written::Bytes(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Written::Bytes(0),
            Err(_) => {
                self.discard();
                Written::Closed
            }
        }
    }

    /// Drops the pipe and all bytes that wait for it.
    pub(in crate::job) fn discard(&mut self) {
        self.pipe = None;
        self.queue.clear();
        self.tail = BytesMut::new();
        self.held = 0;
        self.share.set(0);
    }
}
