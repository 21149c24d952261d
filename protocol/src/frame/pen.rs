//! A header as it is written: one field after the other.

use bytes::{BufMut as _, BytesMut};
use serde::Serialize;

use crate::frame::Kind;

/// Bytes of room that are made at once: what the longest header of `data` and `window` needs.
pub(crate) const ROOM: usize = 192;

/// A writer of one header.
pub(crate) struct Pen<'a>(&'a mut BytesMut);

impl<'a> Pen<'a> {
    /// Begins the header of a frame of this type.
    pub(crate) fn begin(out: &'a mut BytesMut, kind: Kind) -> Self {
        out.reserve(ROOM);
        let mut pen = Self(out);
        pen.put("{\"type\":\"");
        pen.put(kind.as_str());
        pen.put("\"");
        pen
    }

    /// Appends text as it is.
    pub(crate) fn put(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    /// Appends a field whose value is an integer.
    pub(crate) fn number(&mut self, name: &str, value: u64) {
        self.key(name);
        self.put(itoa::Buffer::new().format(value));
    }

    /// Appends a field.
    ///
    /// # Errors
    /// Fails when the value can't be written as JSON.
    pub(crate) fn field(&mut self, name: &str, value: &impl Serialize) -> serde_json::Result<()> {
        self.key(name);
        serde_json::to_writer((&mut *self.0).writer(), value)
    }

    fn key(&mut self, name: &str) {
        self.put(",\"");
        self.put(name);
        self.put("\":");
    }

    /// Ends the header.
    pub(crate) fn end(mut self) {
        self.put("}");
    }
}
