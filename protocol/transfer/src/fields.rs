//! The fields of a message: whole numbers with the highest byte first, and bytes behind their length.

use crate::{
    facts::Time,
    failure::{Failure, FailureKind, TransferError},
    limits,
};

/// A message that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl From<Malformed> for TransferError {
    fn from(malformed: Malformed) -> Self {
        Self::Protocol(malformed.0)
    }
}

/// The fields of a message that are not read yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(Malformed("a message is shorter than its fields"))?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.take().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.take().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.take().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.take().map(u64::from_be_bytes)
    }

    /// Reads a byte that is 0 or 1.
    pub(crate) fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("a flag is neither 0 nor 1")),
        }
    }

    /// Reads permission bits, those for setuid, setgid and sticky among them.
    pub(crate) fn mode(&mut self) -> Result<u32, Malformed> {
        let mode = self.u32()?;
        if mode > 0o7777 { Err(Malformed("a mode has unknown bits")) } else { Ok(mode) }
    }

    pub(crate) fn time(&mut self) -> Result<Time, Malformed> {
        let (seconds, nanoseconds) = (self.take().map(i64::from_be_bytes)?, self.u32()?);
        if nanoseconds >= 1_000_000_000 {
            return Err(Malformed("a time has a second or more of nanoseconds"));
        }
        Ok(Time { seconds, nanoseconds })
    }

    pub(crate) fn digest(&mut self) -> Result<[u8; 32], Malformed> {
        self.take()
    }

    pub(crate) fn chunk_digest(&mut self) -> Result<[u8; 16], Malformed> {
        self.take()
    }

    fn kind(&mut self) -> Result<FailureKind, Malformed> {
        let number = usize::from(self.u8()?);
        let kind = number.checked_sub(1).and_then(|place| FailureKind::ALL.get(place));
        kind.copied().ok_or(Malformed("a kind of failure is not known here"))
    }

    /// Reads bytes behind a length of two bytes.
    pub(crate) fn bytes16(&mut self, most: usize) -> Result<&'a [u8], Malformed> {
        let length = usize::from(self.u16()?);
        self.bytes(length, most)
    }

    /// Reads bytes behind a length of four bytes.
    pub(crate) fn bytes32(&mut self, most: usize) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        self.bytes(length, most)
    }

    fn bytes(&mut self, length: usize, most: usize) -> Result<&'a [u8], Malformed> {
        if length > most {
            return Err(Malformed("a field is longer than its limit"));
        }
        let (bytes, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(Malformed("a field is longer than its message"))?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Reads an explanation.
    fn text(&mut self) -> Result<String, Malformed> {
        Ok(String::from_utf8_lossy(self.bytes16(limits::TEXT)?).into_owned())
    }

    /// Reads a failure: its kind and an explanation.
    pub(crate) fn failure(&mut self) -> Result<Failure, Malformed> {
        let kind = self.kind()?;
        Ok(Failure::new(kind, self.text()?))
    }

    /// Returns all that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Ends the reading of a message.
    ///
    /// # Errors
    /// Something is left.
    pub(crate) fn end(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed("a message is too long")) }
    }
}

/// The fields of a message that is being written, behind the byte of its kind.
#[derive(Debug, Default)]
pub(crate) struct Body(Vec<u8>);

impl Body {
    /// Begins a message anew, in the memory of the last one.
    pub(crate) fn begin(&mut self, kind: u8) {
        self.0.clear();
        self.0.push(kind);
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn flag(&mut self, value: bool) {
        self.0.push(u8::from(value));
    }

    pub(crate) fn time(&mut self, time: Time) {
        self.0.extend_from_slice(&time.seconds.to_be_bytes());
        self.u32(time.nanoseconds);
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn kind(&mut self, kind: FailureKind) {
        let place = FailureKind::ALL.iter().position(|one| *one == kind).unwrap_or_default();
        self.0.push(u8::try_from(place + 1).unwrap_or(u8::MAX));
    }

    /// Writes bytes behind a length of two bytes. What is past 65,535 is left out; nothing here is that long.
    pub(crate) fn bytes16(&mut self, bytes: &[u8]) {
        let bytes = bytes.get(..usize::from(u16::MAX)).unwrap_or(bytes);
        self.u16(u16::try_from(bytes.len()).unwrap_or(u16::MAX));
        self.raw(bytes);
    }

    /// Writes bytes behind a length of four bytes.
    pub(crate) fn bytes32(&mut self, bytes: &[u8]) {
        self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.raw(bytes);
    }

    /// Writes a failure: its kind and an explanation.
    pub(crate) fn failure(&mut self, failure: &Failure) {
        self.kind(failure.kind);
        self.text(&failure.message);
    }

    /// Writes an explanation, of which no more is sent than the other end takes.
    fn text(&mut self, text: &str) {
        let mut end = text.len().min(limits::TEXT);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.bytes16(text.get(..end).unwrap_or_default().as_bytes());
    }
}
