//! Messages on a stream of bytes: four bytes of length, one of kind, and the fields.

use std::io::{self, Read, Write};

use crate::{failure::TransferError, fields::Body, limits};

/// The kind of a message that carries content.
pub(crate) const DATA: u8 = 10;

/// The bytes before a message's fields.
const HEAD: usize = 5;

/// Reads messages. It holds one buffer, whatever the other end announces.
pub(crate) struct MessageReader<R> {
    inner: R,
    buffer: Vec<u8>,
    /// What is in the buffer and not taken yet lies between these.
    begin: usize,
    end: usize,
}

impl<R: Read> MessageReader<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, buffer: vec![0; 2 * limits::MESSAGE], begin: 0, end: 0 }
    }

    /// Returns whether the next message is here as a whole, so that reading it does not wait.
    pub(crate) fn is_ready(&self) -> bool {
        self.length().is_ok_and(|length| length.is_some_and(|one| self.begin + one <= self.end))
    }

    /// Returns the kind and the fields of the next message, or nothing at the end of the stream.
    ///
    /// # Errors
    /// The stream fails, ends within a message, or a message is longer than its kind may be.
    pub(crate) fn next(&mut self) -> Result<Option<(u8, &[u8])>, TransferError> {
        let length = loop {
            match self.length()? {
                Some(length) if self.begin + length <= self.end => break length,
                _ => {}
            }
            if !self.fill()? {
                return Ok(None);
            }
        };
        let message = self.buffer.get(self.begin..self.begin + length).unwrap_or_default();
        self.begin += length;
        match message.get(HEAD - 1..).and_then(<[u8]>::split_first) {
            Some((kind, fields)) => Ok(Some((*kind, fields))),
            None => Err(TransferError::Protocol("a message has no kind")),
        }
    }

    /// Returns the length of the next message with its head, if the head is here.
    fn length(&self) -> Result<Option<usize>, TransferError> {
        let held = self.buffer.get(self.begin..self.end).unwrap_or_default();
        let Some((head, _)) = held.split_first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let [a, b, c, d, kind] = *head;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        let most = if kind == DATA { limits::DATA + 1 } else { limits::MESSAGE };
        match length {
            0 => Err(TransferError::Protocol("a message is empty")),
            _ if length > most => {
                Err(TransferError::Protocol("a message is longer than its limit"))
            }
            _ => Ok(Some(HEAD - 1 + length)),
        }
    }

    /// Reads what the stream has. Returns false at its end.
    fn fill(&mut self) -> Result<bool, TransferError> {
        if self.begin == self.end {
            (self.begin, self.end) = (0, 0);
        } else if self.begin + HEAD + limits::MESSAGE > self.buffer.len() {
            self.buffer.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
        }
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        loop {
            match self.inner.read(room) {
                Ok(0) if self.begin == self.end => return Ok(false),
                Ok(0) => return Err(TransferError::Lost(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => {
                    self.end += count;
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(TransferError::Lost(error)),
            }
        }
    }
}

/// Writes messages, many at once.
pub(crate) struct MessageWriter<W> {
    inner: W,
    buffer: Vec<u8>,
    used: usize,
}

impl<W: Write> MessageWriter<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, buffer: vec![0; limits::BATCH + limits::MESSAGE + HEAD], used: 0 }
    }

    /// Writes a message, now or with later ones.
    ///
    /// # Errors
    /// The stream fails.
    pub(crate) fn send(&mut self, body: &Body) -> Result<(), TransferError> {
        let bytes = body.as_bytes();
        if bytes.len() > limits::MESSAGE {
            return Err(TransferError::Protocol("a message of ours is longer than its limit"));
        }
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
        self.append(&length);
        self.append(bytes);
        self.flush_if_full()
    }

    /// Writes a message with the content that a function puts into the room that it gets, and returns how much that
    /// was. Where it puts none, nothing is written.
    ///
    /// # Errors
    /// The stream fails. The function's own error is the inner one.
    pub(crate) fn send_data<E>(
        &mut self,
        most: usize,
        read: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<Result<usize, E>, TransferError> {
        let begin = self.used + HEAD;
        let most = most.min(limits::DATA);
        let room = self.buffer.get_mut(begin..begin + most).unwrap_or_default();
        let count = match read(room) {
            Ok(0) => return Ok(Ok(0)),
            Ok(count) => count.min(most),
            Err(error) => return Ok(Err(error)),
        };
        let length = u32::try_from(count + 1).unwrap_or(u32::MAX).to_be_bytes();
        self.append(&length);
        self.append(&[DATA]);
        self.used += count;
        self.flush_if_full()?;
        Ok(Ok(count))
    }

    fn append(&mut self, bytes: &[u8]) {
        if let Some(room) = self.buffer.get_mut(self.used..self.used + bytes.len()) {
            room.copy_from_slice(bytes);
            self.used += bytes.len();
        }
    }

    fn flush_if_full(&mut self) -> Result<(), TransferError> {
        // There is always room for one message more.
        if self.used >= limits::BATCH { self.write_out() } else { Ok(()) }
    }

    /// Writes all that was sent, and has the stream hold back nothing of it. To be called before this end waits.
    ///
    /// # Errors
    /// The stream fails.
    pub(crate) fn flush(&mut self) -> Result<(), TransferError> {
        self.write_out()?;
        self.inner.flush().map_err(TransferError::Lost)
    }

    /// Writes all that was sent to the stream, which may collect it.
    fn write_out(&mut self) -> Result<(), TransferError> {
        let bytes = self.buffer.get(..self.used).unwrap_or_default();
        let written = self.inner.write_all(bytes);
        self.used = 0;
        written.map_err(TransferError::Lost)
    }
}
